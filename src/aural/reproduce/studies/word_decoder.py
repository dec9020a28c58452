"""A small causal decoder that learned English about sounds from text alone: the frozen language model of studies.

Its training texts are written by a grammar about events that were drawn, not heard: captions, captions after a list of
names ("hint"), and captions with a question and its answer. So the decoder writes captions, copies names from a hint,
and answers questions about what it has read, before any bridge is trained. It is trained once and then frozen.

Legend: N texts, L tokens, R rows, P prefix positions, W width, V words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from aural.data.simulate.hypotheses import CLASSES, FORMS
from aural.data.simulate.questions import COUNT_WORDS
from aural.nn.causal import Cache
from aural.nn.decoder import Decoder, DecoderConfig
from aural.reproduce.shared import shared_arrays
from aural.reproduce.short_captions import HEADS, JOINTS, TOGETHER, caption_of, with_word
from aural.reproduce.studies.scene_pair import Training
from aural.reproduce.study import StudyContext
from aural.train.draw import ITEM, generator

VERSION: Final = 1
POSITIONS: Final = 96
PAD, END, HINT, SAY, ASK, REPLY = range(6)
MARKS: Final = ("<pad>", "<end>", "<hint>", "<say>", "<ask>", "<reply>")
WORD: Final = re.compile(r"[a-z0-9'’-]+|[,?]")


SIZES: Final = DecoderConfig(vocab_size=2, positions=POSITIONS, dim=128, depth=4, heads=4)


@dataclass(frozen=True)
class Reading(Training):
    """Sizes of the decoder and of its training on texts."""

    steps: int = 3000
    texts: int = 20_000
    decoder: DecoderConfig = SIZES
    """The sizes of the decoder; its vocabulary is that of the texts."""
    entailment: bool = False
    """Whether texts also say that sounds are heard together, and hypotheses about them are answered."""


SMOKE: Final = Reading(
    texts=40, steps=2, batch=8, decoder=DecoderConfig(vocab_size=2, positions=POSITIONS, dim=16, depth=3, heads=2)
)


class Drawn(NamedTuple):
    """A caption about drawn events, a hint with their names, and questions with answers that the caption decides."""

    caption: str
    hint: str
    questions: tuple[tuple[str, str], ...]


def draw_text(
    phrases: Mapping[str, Sequence[str]],
    names: Mapping[str, str],
    rng: np.random.Generator,
    *,
    entailment: bool = False,
) -> Drawn:
    """Draw one to three classes and write about them. phrases, names: what classes may be called, and usually are.

    entailment: a third of the captions of several sounds says that they are heard together, and two hypotheses about
    two of them are among the questions.
    """
    labels = list(phrases)
    chosen = [labels[i] for i in rng.permutation(len(labels))[: int(rng.integers(1, 4))]]
    counts = [int(rng.integers(1, 5)) if rng.random() < 0.3 else 0 for _ in chosen]
    said = [phrases[label][int(rng.integers(len(phrases[label])))] for label in chosen]
    loud = len(chosen) == 2 and rng.random() < 0.5
    words = [("loud", "quiet"), ("quiet", "loud")][int(rng.integers(2))] if loud else ()
    shown = [with_word(*pair) for pair in zip(words, said, strict=True)] if loud else list(said)
    shown = [f"{one} {COUNT_WORDS[count - 1]}" if count else one for one, count in zip(shown, counts, strict=True)]
    caption = caption_of(shown, JOINTS[int(rng.integers(len(JOINTS)))], HEADS[int(rng.integers(len(HEADS)))])
    called = [names[label] for label in chosen]
    other = labels[int(rng.integers(len(labels)))]
    mixed = [called[i] for i in rng.permutation(len(called))]
    hint = mixed + ([names[other]] if rng.random() < 0.4 else [])
    asked = [(f"is there {called[int(rng.integers(len(called)))]}?", "yes")]
    asked += [] if other in chosen else [(f"is there {names[other]}?", "no")]
    for one, count in zip(called, counts, strict=True):
        asked += [(f"how many times is {one} heard?", COUNT_WORDS[count - 1])] if count else []
    if len(called) > 1:
        first, second = sorted(int(i) for i in rng.permutation(len(called))[:2])
        pair = (called[first], called[second]) if rng.random() < 0.5 else (called[second], called[first])
        asked.append((f"which is heard first, {pair[0]} or {pair[1]}?", called[first]))
        if loud:
            asked.append((f"which is louder, {pair[0]} or {pair[1]}?", called[words.index("loud")]))
    if entailment and len(called) > 1:
        together = rng.random() < 1 / 3
        if together:
            caption = caption_of(shown, TOGETHER, "")
            asked = [one for one in asked if not one[0].startswith("which is heard first")]
        asked += _hypotheses(called, words, together, rng)
    return Drawn(caption, " , ".join(hint), tuple(asked))


def _hypotheses(
    called: Sequence[str], words: Sequence[str], together: bool, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Return a hypothesis about the order and one about the levels of two sounds, with their classes.

    words: "loud" or "quiet" per sound, or none.
    """
    first, second = (int(i) for i in rng.permutation(len(called))[:2])
    follows, neutral, contradicts = CLASSES
    before = neutral if together else follows if first < second else contradicts
    louder = neutral if not words else follows if words[first] == "loud" else contradicts
    pair = called[first], called[second]
    return [(FORMS["before"].format(*pair), before), (FORMS["louder"].format(*pair), louder)]


class Words:
    """A vocabulary of words; `encode` gives ids, `text` the words of ids."""

    def __init__(self, texts: Iterable[str]) -> None:
        words = sorted({word for text in texts for word in WORD.findall(text.lower())})
        self.words = [*MARKS, *words]
        self.number = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; words that the vocabulary does not have are left out."""
        return [self.number[word] for word in WORD.findall(text.lower()) if word in self.number]

    def text(self, ids: Sequence[int]) -> str:
        """Return the words of ids without marks, with punctuation after the word before it."""
        return re.sub(r" ([,?])", r"\1", " ".join(self.words[i] for i in ids if i >= len(MARKS)))


class Padded(NamedTuple):
    """Token ids (R, L), 1 on tokens (R, L), and 1 on tokens that are to be predicted (R, L)."""

    ids: Tensor
    mask: Tensor
    target: Tensor


def padded(rows: Sequence[tuple[Sequence[int], Sequence[int]]], device: torch.device) -> Padded:
    """Join what is given and what is to be predicted of each row, and pad on the right."""
    width = max(len(given) + len(wanted) for given, wanted in rows)
    table = np.zeros((3, len(rows), width), np.int64)
    for n, (given, wanted) in enumerate(rows):
        length = len(given) + len(wanted)
        table[0, n, :length] = [*given, *wanted]
        table[1, n, :length] = 1
        table[2, n, len(given) : length] = 1
    return Padded(*torch.from_numpy(table).to(device))


@dataclass(frozen=True)
class WordDecoder:
    """The decoder with its vocabulary."""

    decoder: Decoder
    words: Words

    @property
    def device(self) -> torch.device:
        return self.decoder.tokens.weight.device

    def digest(self) -> str:
        """Return a checksum of all weights."""
        checksum = hashlib.sha256()
        for _, tensor in sorted(self.decoder.state_dict().items()):
            checksum.update(tensor.detach().cpu().numpy().tobytes())
        return checksum.hexdigest()

    def token_losses(self, prefix: Tensor | None, batch: Padded, cache: Cache | None = None) -> Tensor:
        """Return the negative log-probability (R, L) of the tokens to predict, 0 elsewhere.

        prefix: (R, P, W) or None. cache: what the decoder has heard, on the left of everything.
        """
        vectors = self.decoder.embed(batch.ids)
        before = 0
        if prefix is not None:
            vectors = torch.cat([prefix, vectors], dim=1)
            before = prefix.shape[1]
        heard = 0 if cache is None else max(keys.shape[2] for keys, _ in getattr(cache, "layers"))  # noqa: B009
        mask = torch.cat([batch.mask.new_ones(len(batch.mask), before + heard), batch.mask], dim=1)
        logits = self.decoder(vectors, mask, cache)[:, before:]
        losses = cross_entropy(logits[:, :-1].transpose(1, 2).float(), batch.ids[:, 1:], reduction="none")
        return torch.nn.functional.pad(losses * batch.target[:, 1:], (1, 0))


def learn_words(
    context: StudyContext, phrases: Mapping[str, Sequence[str]], names: Mapping[str, str], reading: Reading
) -> WordDecoder:
    """Return the frozen decoder: trained on texts by the first study, read from the cache by the others."""
    reading = replace(SMOKE, entailment=reading.entailment) if context.smoke else reading
    device = torch.device("cpu" if context.device == "auto" else context.device)
    drawn = [
        draw_text(phrases, names, generator(0, ITEM, 9, n), entailment=reading.entailment) for n in range(reading.texts)
    ]
    plain = [text for one in phrases.values() for text in one]
    extra = "is there? how many times is heard? which is heard first, or louder, yes no faint before than entailment"
    extra += " neutral contradiction loud quiet then and after that followed by " + " ".join(COUNT_WORDS)
    words = Words([*plain, *names.values(), extra, *(one.caption for one in drawn)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Decoder(reading.decoder.model_copy(update={"vocab_size": len(words)})).to(device)
    learned = WordDecoder(decoder, words)

    def compute() -> dict[str, NDArray[Any]]:
        rows = [(row[:1], row[1:]) for row in _sequences(drawn, words)]
        _train(learned, rows, reading)
        return {name: tensor.detach().cpu().numpy() for name, tensor in decoder.state_dict().items()}

    key = repr((VERSION, reading, sorted(phrases.items()), sorted(names.items())))
    stored = shared_arrays(context, "word-decoder", key, compute)
    decoder.load_state_dict({name: torch.from_numpy(array) for name, array in stored.items()})
    decoder.requires_grad_(False).eval()
    return learned


def _sequences(drawn: Sequence[Drawn], words: Words) -> list[list[int]]:
    """Return a caption after a hint or alone, and two captions with up to three questions and answers, in turn."""
    sequences = []
    for n, one in enumerate(drawn):
        caption = [SAY, *words.encode(one.caption)]
        if n % 4 == 0:
            hint = [HINT, *words.encode(one.hint)] if n % 3 else []
            sequences.append([*hint, *caption, END])
        elif n % 4 == 1:
            sequences.append([HINT, *words.encode(one.hint), *caption, END])
        else:
            row = list(caption)
            for k in generator(0, ITEM, 17, n).permutation(len(one.questions))[:3]:
                question, answer = one.questions[k]
                row += [ASK, *words.encode(question), REPLY, *words.encode(answer), END]
            sequences.append(row[:POSITIONS])
    return sequences


def _train(learned: WordDecoder, rows: list[tuple[list[int], list[int]]], reading: Reading) -> None:
    optimizer = torch.optim.AdamW(learned.decoder.parameters(), lr=reading.lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, reading.lr, max(2, reading.steps), pct_start=0.05)
    rng = generator(0, ITEM, 10)
    for _ in range(reading.steps):
        batch = padded([rows[int(i)] for i in rng.integers(len(rows), size=reading.batch)], learned.device)
        losses = learned.token_losses(None, batch)
        optimizer.zero_grad()
        (losses.sum() / batch.target.sum()).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned.decoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
