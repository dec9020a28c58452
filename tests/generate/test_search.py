"""Every search equals a short reference on logits written by hand, a batch equals its members, and limits hold."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from aural.core.errors import ConfigError
from aural.generate.reader import Reader
from aural.generate.rerank import hybrid_order
from aural.generate.search import Limits, Written, beam, contrastive, greedy, in_nucleus, nucleus

VOCABULARY, STOP = 5, 4
LIMITS = Limits(max_tokens=4, stop_ids=(STOP,))


class Table:
    """A decoder whose next token depends on the last one alone: row i of `logits` follows token i."""

    def __init__(self, logits: torch.Tensor, states: torch.Tensor | None = None) -> None:
        self.logits = logits
        self.states = torch.eye(len(logits)) if states is None else states

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return one_hot(ids, len(self.logits)).float()

    def read(self, vectors, mask, cache=None):
        assert mask.shape[1] == (0 if cache is None else len(cache.read[0])) + vectors.shape[1]
        last = vectors[:, -1].argmax(-1)
        read = vectors.argmax(-1).tolist()
        if cache is not None:
            read = [before + new for before, new in zip(cache.read, read, strict=True)]
        return Step(self.logits[last], self.states[last], Rows(read))


class Rows:
    """A cache that remembers which tokens each row has read."""

    def __init__(self, read):
        self.read = read

    def select(self, rows):
        return Rows([list(self.read[row]) for row in rows.tolist()])


class Step:
    def __init__(self, logits, state, cache):
        self.logits, self.state, self.cache = logits, state, cache


def table(seed: int) -> Table:
    return Table(2 * torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(seed)))


def prefix(*tokens: int) -> torch.Tensor:
    return one_hot(torch.tensor(tokens)[:, None], VOCABULARY).float()


def all_texts(one: Table, start: int, limits: Limits) -> list[tuple[tuple[int, ...], float]]:
    """Return every possible text with its log-likelihood, stop token included in the ids."""
    log_probs = one.logits.log_softmax(-1)
    texts = []
    for length in range(1, limits.max_tokens + 1):
        for ids in itertools.product(range(VOCABULARY), repeat=length):
            if STOP in ids[:-1] or (ids[-1] != STOP and length < limits.max_tokens):
                continue
            texts.append((ids, sum(float(log_probs[a, b]) for a, b in itertools.pairwise((start, *ids)))))
    return texts


def likelihood(one: Table, start: int, written: Written) -> float:
    ids = (start, *written.ids, *((STOP,) if written.stopped else ()))
    return sum(float(one.logits.log_softmax(-1)[a, b]) for a, b in itertools.pairwise(ids))


@pytest.mark.parametrize("seed", range(5))
def test_greedy_follows_the_highest_logit(seed: int) -> None:
    one = table(seed)
    ids, last = [], 0
    while len(ids) < LIMITS.max_tokens and last != STOP:
        last = int(one.logits[last].argmax())
        ids.append(last)
    ((written,),) = greedy(one, prefix(0), LIMITS)
    assert written.ids == tuple(i for i in ids if i != STOP)
    assert written.stopped == (ids[-1] == STOP)
    assert written.log_likelihood == pytest.approx(likelihood(one, 0, written), abs=1e-5)


@pytest.mark.parametrize("power", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_beam_as_wide_as_all_texts_has_the_best_of_them(seed: int, power: float) -> None:
    one = table(seed)
    best = max(all_texts(one, 1, LIMITS), key=lambda text: text[1] / len(text[0]) ** power)
    ((first, *_),) = beam(one, prefix(1), LIMITS, width=VOCABULARY**3, length_power=power)
    assert first.ids == tuple(i for i in best[0] if i != STOP)
    assert first.log_likelihood == pytest.approx(best[1], abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("width", [1, 2, 3])
def test_beam_equals_a_loop_over_lists(seed: int, width: int) -> None:
    one = table(seed)
    log_probs = one.logits.log_softmax(-1)
    texts: list[tuple[tuple[int, ...], float]] = [((2,), 0.0)]
    for _ in range(LIMITS.max_tokens):
        grown = [text for text in texts if text[0][-1] == STOP]
        for ids, total in texts:
            if ids[-1] != STOP:
                grown += [((*ids, token), total + float(log_probs[ids[-1], token])) for token in range(VOCABULARY)]
        texts = sorted(grown, key=lambda text: -text[1] / (len(text[0]) - 1))[:width]
    (found,) = beam(one, prefix(2), LIMITS, width=width)
    assert [one.ids for one in found] == [tuple(i for i in ids[1:] if i != STOP) for ids, _ in texts]
    assert [one.log_likelihood for one in found] == pytest.approx([total for _, total in texts], abs=1e-5)


def test_a_beam_of_one_is_greedy() -> None:
    for seed in range(10):
        one = table(seed)
        assert beam(one, prefix(3), LIMITS, width=1)[0] == greedy(one, prefix(3), LIMITS)[0]


def test_the_nucleus_is_the_smallest_set_that_reaches_p() -> None:
    probs = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.97, 0.01, 0.01, 0.01]])
    torch.testing.assert_close(in_nucleus(probs, 0.69), torch.tensor([[0.0, 4 / 7, 0.0, 3 / 7], [1.0, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(in_nucleus(probs, 1.0), probs)


def test_nucleus_draws_by_probability() -> None:
    one = Table(torch.log(torch.tensor([[0.5, 0.3, 0.2]]).expand(3, 3)))
    limits = Limits(max_tokens=1)
    (texts,) = nucleus(one, one_hot(torch.tensor([[0]]), 3).float(), limits, generator=seeded(0), p=0.7, count=4000)
    share = np.mean([written.ids == (0,) for written in texts])
    assert {written.ids for written in texts} == {(0,), (1,)}
    assert share == pytest.approx(5 / 8, abs=3 * math.sqrt(5 / 8 * 3 / 8 / 4000))


def test_nucleus_is_repeated_by_its_seed() -> None:
    one = table(0)
    drawn = [nucleus(one, prefix(0, 1), LIMITS, generator=seeded(seed), p=1.0, count=8) for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("penalty", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_contrastive_equals_its_formula(seed: int, penalty: float) -> None:
    states = torch.randn(VOCABULARY, 3, generator=seeded(seed + 100))
    one = Table(table(seed).logits, states)
    unit = states / states.norm(dim=1, keepdim=True)
    probs, ids, last = one.logits.softmax(-1), [], 0
    while len(ids) < LIMITS.max_tokens and last != STOP:
        tried = probs[last].topk(3).indices.tolist()
        alike = [max((float(unit[v] @ unit[j]) for j in ids), default=0.0) for v in tried]
        score = [(1 - penalty) * float(probs[last, v]) - penalty * a for v, a in zip(tried, alike, strict=True)]
        last = tried[int(np.argmax(score))]
        ids.append(last)
    ((written,),) = contrastive(one, prefix(0), LIMITS, k=3, penalty=penalty)
    assert written.ids == tuple(i for i in ids if i != STOP)
    if penalty == 0:
        assert [written] == greedy(one, prefix(0), LIMITS)[0]


@pytest.mark.parametrize("search", [greedy, beam, contrastive])
def test_a_batch_gives_what_its_members_give_alone(search) -> None:
    for seed in range(5):
        one = table(seed)
        assert search(one, prefix(0, 1, 2), LIMITS) == [search(one, prefix(i), LIMITS)[0] for i in range(3)]


def test_the_reader_selects_the_cache_too() -> None:
    reader = Reader(table(0), prefix(0, 1))
    reader.push(torch.tensor([2, 3, 3]), torch.tensor([1, 0, 1]))
    assert reader._cache.read == [[1, 2], [0, 3], [1, 3]]


def test_temperature_sharpens_and_flattens() -> None:
    one = Table(torch.log(torch.tensor([[0.5, 0.3, 0.2]]).expand(3, 3)))
    ((written,),) = greedy(one, one_hot(torch.tensor([[0]]), 3).float(), Limits(max_tokens=1, temperature=0.5))
    assert math.exp(written.log_likelihood) == pytest.approx(0.25 / 0.38, abs=1e-6)


def test_hybrid_order_mixes_standard_scores() -> None:
    likely, fits = [-1.0, -2.0, -3.0], [0.0, 0.9, 0.3]
    first = [(x - np.mean(likely)) / np.std(likely) for x in likely]
    second = [(x - np.mean(fits)) / np.std(fits) for x in fits]
    by_hand = np.argsort([-(0.3 * a + 0.7 * b) for a, b in zip(first, second, strict=True)])
    assert hybrid_order(likely, fits, weight=0.7).tolist() == by_hand.tolist()
    assert hybrid_order([-1.0, -1.0], [0.2, 0.2]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: beam(table(0), prefix(0), width=0), "width"),
        (lambda: nucleus(table(0), prefix(0), generator=seeded(0), p=0.0), "p 0"),
        (lambda: nucleus(table(0), prefix(0), generator=seeded(0), count=0), "count"),
        (lambda: contrastive(table(0), prefix(0), penalty=1.5), "penalty"),
        (lambda: contrastive(table(0), prefix(0), k=0), "k 0"),
        (lambda: hybrid_order([-1.0], [0.1, 0.2]), "belong together"),
        (lambda: hybrid_order([-1.0], [0.1], weight=2.0), "weight"),
    ],
)
def test_wrong_numbers_are_named(call, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        call()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
