"""Four ways to write a text: greedy, beam, nucleus sampling and contrastive search.

All take a decoder and a prefix (B, P, D) of B texts and return one list of `Written` per text, the best first. A batch
gives what its members give alone.

Legend: B texts, R rows, V vocabulary, D width.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.generate.reader import Reader
from aural.nn.causal import CausalDecoder


class Limits(Config):
    """The end of a text: one of the stop ids, which is not part of it, or the number of tokens `max_tokens`."""

    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 40
    stop_ids: tuple[int, ...] = ()
    temperature: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Divides the log-probabilities before they are normalized again."""


class Written(Config):
    """The tokens of a text without the stop token, and what the decoder thinks of them.

    log_likelihood: the sum of the log-probabilities of the tokens, the stop token included. stopped: whether the text
    ended by a stop token and not by the limit.
    """

    ids: tuple[int, ...]
    log_likelihood: float
    stopped: bool

    @property
    def mean_log_likelihood(self) -> float:
        """Return the log-likelihood per token, the stop token included."""
        return self.log_likelihood / max(len(self.ids) + self.stopped, 1)


class _Rows:
    """The tokens written so far in each row, their log-likelihood, and which rows have ended."""

    def __init__(self, count: int, limits: Limits, device: torch.device) -> None:
        self.stops = torch.tensor(limits.stop_ids, dtype=torch.long, device=device)
        self.ids = torch.zeros(count, 0, dtype=torch.long, device=device)
        self.total = torch.zeros(count, device=device)
        self.length = torch.zeros(count, dtype=torch.long, device=device)  # with the stop token
        self.ended = torch.zeros(count, dtype=torch.bool, device=device)

    def select(self, rows: Tensor) -> None:
        for name in ("ids", "total", "length", "ended"):
            setattr(self, name, getattr(self, name)[rows])

    def add(self, tokens: Tensor, log_probs: Tensor) -> None:
        """Add one token (R,) with its log-probability (R,) to the rows that have not ended."""
        live = ~self.ended
        self.total = self.total + torch.where(live, log_probs, log_probs.new_zeros(()))
        self.length = self.length + live
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)
        self.ended = self.ended | torch.isin(tokens, self.stops)

    def written(self, row: int) -> Written:
        stopped = bool(self.ended[row])
        ids = self.ids[row, : int(self.length[row]) - stopped]
        return Written(ids=tuple(ids.tolist()), log_likelihood=float(self.total[row]), stopped=stopped)


@torch.inference_mode()
def greedy(
    decoder: CausalDecoder, prefix: Tensor, limits: Limits | None = None, *, mask: Tensor | None = None
) -> list[list[Written]]:
    """Take the most probable token at each step."""
    limits = limits or Limits()
    reader, rows = Reader(decoder, prefix, mask), _Rows(len(prefix), limits, prefix.device)
    for _ in range(limits.max_tokens):
        log_probs, tokens = _tempered(reader, limits).max(-1)
        rows.add(tokens, log_probs)
        if bool(rows.ended.all()):
            break
        reader.push(tokens)
    return [[rows.written(row)] for row in range(len(prefix))]


@torch.inference_mode()
def beam(
    decoder: CausalDecoder,
    prefix: Tensor,
    limits: Limits | None = None,
    *,
    width: int = 5,
    length_power: float = 1.0,
    mask: Tensor | None = None,
) -> list[list[Written]]:
    """Keep the `width` best texts at each step, by log-likelihood divided by length ** `length_power`.

    A text that has ended keeps its place as long as its score is among the best. With length_power 1 and the stop
    token counted this is the beam search of ClipCap and msclap (CLAPWrapper._generate_beam); with 0 the log-likelihood
    itself is maximized, which favors short texts.
    """
    if not 1 <= width <= 1024:
        raise ConfigError(f"width {width} is not from 1 to 1024")
    limits, count = limits or Limits(), len(prefix)
    reader, rows = Reader(decoder, prefix, mask), _Rows(count, limits, prefix.device)
    first = torch.arange(count, device=prefix.device)[:, None]
    held = 1  # rows per text
    for _ in range(limits.max_tokens):
        log_probs = _tempered(reader, limits)  # (B held, V)
        vocabulary = log_probs.shape[1]
        log_probs[rows.ended] = -torch.inf
        log_probs[rows.ended, 0] = 0.0  # an ended text has one continuation, itself
        lengths = (rows.length + ~rows.ended).clamp_min(1).to(log_probs.dtype) ** length_power
        totals = rows.total[:, None] + log_probs
        scores = (totals / lengths[:, None]).view(count, held * vocabulary)
        keep = min(width, held * vocabulary)
        best = scores.topk(keep, dim=-1).indices  # (B, keep)
        source = (first * held + best // vocabulary).flatten()
        tokens = (best % vocabulary).flatten()
        chosen = log_probs[source, tokens]
        rows.select(source)
        rows.add(tokens, chosen)
        held = keep
        if bool(rows.ended.all()):
            break
        reader.push(tokens, source)
    texts = [[rows.written(text * held + i) for i in range(held)] for text in range(count)]
    return [sorted(text, key=lambda one: -_score(one, length_power)) for text in texts]


def _score(one: Written, length_power: float) -> float:
    return one.log_likelihood / float(max(len(one.ids) + one.stopped, 1) ** length_power)


@torch.inference_mode()
def nucleus(
    decoder: CausalDecoder,
    prefix: Tensor,
    limits: Limits | None = None,
    *,
    generator: torch.Generator,
    p: float = 0.9,
    count: int = 1,
    mask: Tensor | None = None,
) -> list[list[Written]]:
    """Draw `count` texts per prefix from the smallest set of tokens whose probability is at least `p`.

    Holtzman et al. 2020, "The curious case of neural text degeneration", section 3.1. Every text has a generator
    that is seeded from `generator`, so that a text does not depend on its batch as long as its place in it is equal.
    """
    if not 0 < p <= 1:
        raise ConfigError(f"p {p} is not above 0 and at most 1")
    if count < 1:
        raise ConfigError(f"count {count} is not at least 1")
    limits = limits or Limits()
    repeated = torch.arange(len(prefix), device=prefix.device).repeat_interleave(count)
    reader, rows = Reader(decoder, prefix, mask), _Rows(len(repeated), limits, prefix.device)
    reader.select(repeated)
    seeds = torch.randint(2**62, (len(repeated),), generator=generator).tolist()
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    for _ in range(limits.max_tokens):
        log_probs = _tempered(reader, limits)
        chances = in_nucleus(log_probs.exp(), p).cpu()
        tokens = torch.cat(
            [torch.multinomial(row, 1, generator=draw) for row, draw in zip(chances, draws, strict=True)]
        )
        tokens = tokens.to(prefix.device)
        rows.add(tokens, log_probs.gather(1, tokens[:, None])[:, 0])
        if bool(rows.ended.all()):
            break
        reader.push(tokens)
    drawn = [rows.written(row) for row in range(len(repeated))]
    texts = [drawn[at : at + count] for at in range(0, len(drawn), count)]
    return [sorted(text, key=lambda one: -one.mean_log_likelihood) for text in texts]


def in_nucleus(probs: Tensor, p: float) -> Tensor:
    """Return probabilities (R, V) with those outside the nucleus set to 0, normalized again.

    >>> in_nucleus(torch.tensor([[0.5, 0.3, 0.2]]), 0.6).tolist()[0][2]
    0.0
    """
    ordered, places = probs.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered  # probability of the tokens ahead of each
    kept = torch.where(before < p, ordered, ordered.new_zeros(()))
    return torch.zeros_like(probs).scatter(-1, places, kept / kept.sum(-1, keepdim=True))


@torch.inference_mode()
def contrastive(
    decoder: CausalDecoder,
    prefix: Tensor,
    limits: Limits | None = None,
    *,
    k: int = 4,
    penalty: float = 0.6,
    mask: Tensor | None = None,
) -> list[list[Written]]:
    """Take, of the `k` most probable tokens, the one that is probable and unlike what was written before.

    The score of a token v is (1 - penalty) p(v) - penalty max cos(h_v, h_j) over the states h_j of the tokens written
    so far (Su et al. 2022, "A contrastive framework for neural text generation", equation 5). States of the prefix are
    not compared, because vectors in place of tokens have no words to repeat. penalty 0 is `greedy`.
    """
    if not 0 <= penalty <= 1:
        raise ConfigError(f"penalty {penalty} is not from 0 to 1")
    if k < 1:
        raise ConfigError(f"k {k} is not at least 1")
    limits, count = limits or Limits(), len(prefix)
    reader, rows = Reader(decoder, prefix, mask), _Rows(count, limits, prefix.device)
    first = torch.arange(count, device=prefix.device)
    seen: list[Tensor] = []  # unit states (B, D) of the tokens written
    for _ in range(limits.max_tokens):
        log_probs, tokens = _tempered(reader, limits).topk(k, dim=-1)  # (B, k)
        reader.push(tokens.flatten(), first.repeat_interleave(k))
        states = normalize(reader.state.float(), dim=-1).view(count, k, -1)
        alike = torch.zeros_like(log_probs)
        if seen:
            alike = torch.einsum("bkd,sbd->bks", states, torch.stack(seen)).amax(-1)
        best = ((1 - penalty) * log_probs.exp() - penalty * alike).argmax(-1)
        rows.add(tokens[first, best], log_probs[first, best])
        if bool(rows.ended.all()):
            break
        seen.append(states[first, best])
        reader.select(first * k + best)
    return [[rows.written(row)] for row in range(count)]


def _tempered(reader: Reader, limits: Limits) -> Tensor:
    """Return the log-probabilities (R, V) of the next token at the temperature."""
    if limits.temperature == 1:
        return reader.log_probs.clone()
    return (reader.log_probs / limits.temperature).log_softmax(-1)
