"""Test sets of the text world: functions of nothing but their arguments, over compositions that no training text has.

Controls must score at chance: `shuffled` gives every pair another pair's gold, and word overlap is measured with
`overlap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aural.core.seeds import ORDER, generator
from aural.data.text import lexicon as lx
from aural.data.text import phrases
from aural.data.text.dialogue import ACTS, dialogue
from aural.data.text.dice import Dice
from aural.data.text.grammar import (
    change,
    draw,
    opposite,
    similarity,
    varied,
    words_of,
    write,
)
from aural.data.text.stories import story

TEST: Final = ORDER + 200
"""First part of the keys of test sets, which no training text uses."""


@dataclass(frozen=True)
class GradedPairs:
    """Pairs of texts with their gold similarity (N,), 0 to 1."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    gold: NDArray[np.float64]

    def shuffled(self) -> GradedPairs:
        """Return the pairs with the gold of other pairs, as a control."""
        return replace(self, gold=self.gold[generator(0, TEST).permutation(len(self.gold))])


@dataclass(frozen=True)
class Passages:
    """Queries, and the number of the passage that answers each."""

    queries: tuple[str, ...]
    passages: tuple[str, ...]
    answer: NDArray[np.int64]


@dataclass(frozen=True)
class Classes:
    """Texts to train and to test a probe on, with the number of their class."""

    train: tuple[str, ...]
    train_labels: NDArray[np.int64]
    test: tuple[str, ...]
    test_labels: NDArray[np.int64]


@dataclass(frozen=True)
class Choices:
    """Questions with several answers each, of which the first is correct."""

    contexts: tuple[tuple[str, ...], ...]
    answers: tuple[tuple[str, ...], ...]


def dice_of(name: int, number: int) -> Dice:
    return Dice(generator(name, TEST, number))


@lru_cache(maxsize=8)
def sts(domain: str = "street", count: int = 800, split: str = "test") -> GradedPairs:
    """Return pairs of sentences from equal to unrelated meaning.

    Words and constructions are drawn for each sentence by itself, so that equal meanings may share few words.
    """
    first, second, gold = [], [], []
    for number in range(count):
        dice = dice_of(1, number)
        meaning = draw(dice, split, domain)
        changes = number % 9
        variant = varied(meaning, changes, dice, domain) if changes < 8 else draw(dice, split, domain)
        first.append(write(meaning, dice))
        close = similarity(meaning, variant)
        second.append(write(variant, dice))
        gold.append(close)
    return GradedPairs(tuple(first), tuple(second), np.array(gold))


@lru_cache(maxsize=4)
def retrieval(count: int = 400, split: str = "test") -> Passages:
    """Return passages of three sentences and queries that say one of the three in other words.

    Each passage has a neighbor about the same thing at another place.
    """
    queries, passages = [], []
    for number in range(count // 2):
        dice = dice_of(2, number)
        meaning = replace(draw(dice, split), place=dice.below(len(lx.PLACES)))
        for one in (meaning, change(change(meaning, "place", dice), "action", dice)):
            lines = [write(one, dice), *(write(draw(dice, split), dice) for _ in range(2))]
            queries.append(write(one, dice))
            passages.append(" ".join(lines[i] for i in dice.order(3)))
    return Passages(tuple(queries), tuple(passages), np.arange(len(queries)))


PROBES: Final = ("topic", "count", "manner", "order", "length")


@lru_cache(maxsize=8)
def probe(name: str, count: int = 600) -> Classes:
    """Return sentences with a class: the topic, the count, the manner, whether the first of two events comes first, or
    the length in words (three classes)."""
    texts: list[str] = []
    labels: list[int] = []
    number = 0
    while len(texts) < 2 * count:
        dice = dice_of(3 + PROBES.index(name), number)
        number += 1
        meaning = draw(dice, "train" if len(texts) < count else "test")
        if name == "manner":
            meaning = replace(meaning, manner=dice.below(len(lx.MANNERS)))
        if name == "order":
            meaning = replace(meaning, second=meaning.second or draw(dice, "test").event, order=0)
            assert meaning.second is not None
            if meaning.second.topic == meaning.event.topic:
                continue
        text = write(meaning, dice)
        length = len(words_of(text))
        second = meaning.second
        classes = {
            "topic": meaning.event.topic,
            "count": meaning.count,
            "manner": meaning.manner,
            "order": int(second is not None and meaning.event.topic < second.topic),
            "length": int(length > 9) + int(length > 13),
        }
        texts.append(text)
        labels.append(classes[name])
    array = np.array(labels)
    return Classes(tuple(texts[:count]), array[:count], tuple(texts[count:]), array[count:])


def few_shot(shots: int, seed: int, test: int = 400) -> Classes:
    """Return `shots` training sentences per topic of the domain "street", drawn by the seed, and test sentences."""
    texts, labels = [], []
    left = dict.fromkeys(lx.STREET, shots)
    number = 0
    while any(left.values()):
        dice = Dice(generator(10 + seed, TEST, number))
        meaning = draw(dice, "train")
        number += 1
        if left[meaning.event.topic]:
            left[meaning.event.topic] -= 1
            texts.append(write(meaning, dice))
            labels.append(meaning.event.topic)
    tests = probe("topic")
    return Classes(tuple(texts), np.array(labels), tests.test[:test], tests.test_labels[:test])


@lru_cache(maxsize=4)
def phrase_pairs(errors: int = 0, count: int = 400) -> Passages:
    """Return phrases, and candidates of which one has the same meaning in other words.

    With `errors`, so many words of each query are misspelled.
    """
    queries: list[str] = []
    answers: list[str] = []
    seen: set[tuple[object, ...]] = set()
    number = 0
    while len(queries) < count:
        dice = dice_of(20, number)
        number += 1
        kind = number % len(phrases.TYPES)
        meaning = draw(dice, "test")
        meaning = replace(meaning, place=max(meaning.place, 0), manner=max(meaning.manner, 0))
        event = meaning.event
        key: tuple[object, ...] = (
            (kind, event.topic, event.thing, meaning.count, meaning.quality),
            (kind, event, meaning.count),
            (kind, event.topic, event.action, meaning.place),
            (kind, event.topic, event.action, meaning.manner),
        )[kind]
        if key in seen:
            continue
        seen.add(key)
        text = phrases.phrase(meaning, kind, dice)
        answers.append(phrases.phrase(meaning, kind, dice, words_of(text)))
        queries.append(phrases.typo(text, dice, errors) if errors else text)
    return Passages(tuple(queries), tuple(answers), np.arange(count))


@lru_cache(maxsize=4)
def next_turns(candidates: int = 20, count: int = 300) -> Choices:
    """Return the turns before an offer, and offers of which the first is the one that fits."""
    contexts, answers = [], []
    for number in range(count):
        dice = dice_of(30, number)
        one = dialogue(dice)
        at = max(i for i, act in enumerate(one.acts) if ACTS[act] == "offer" and one.turns[i].startswith("i have"))
        others: list[str] = []
        while len(others) < candidates - 1:
            rest = dialogue(dice)
            others += [turn for turn in rest.turns if turn.startswith("i have")][-1:]
        contexts.append(one.turns[:at])
        answers.append((one.turns[at], *others))
    return Choices(tuple(contexts), tuple(answers))


@lru_cache(maxsize=4)
def dialogues(count: int = 300) -> tuple[tuple[tuple[str, ...], tuple[int, ...], int], ...]:
    """Return test dialogues: turns, acts, intent."""
    drawn = [dialogue(dice_of(31, number)) for number in range(count)]
    return tuple((one.turns, one.acts, one.intent) for one in drawn)


@lru_cache(maxsize=4)
def stories(count: int = 300) -> tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]:
    """Return test stories: sentences in order, and their sections."""
    drawn = [story(dice_of(32, number)) for number in range(count)]
    return tuple((one.sentences, one.sections) for one in drawn)


@lru_cache(maxsize=4)
def edits(count: int = 400) -> Choices:
    """Return sentences, and for each a text of the same meaning in other words and one of another meaning in nearly the
    same words."""
    contexts, answers = [], []
    for number in range(count):
        dice = dice_of(33, number)
        meaning = draw(dice, "test")
        frame = dice.below(6)
        text = write(meaning, dice, frame=frame)
        used = words_of(text)
        false = write(opposite(meaning, dice), dice, frame=frame)
        contexts.append((text,))
        answers.append((write(meaning, dice, used), false))
    return Choices(tuple(contexts), tuple(answers))


@dataclass(frozen=True)
class BiasPairs:
    """Sentences without a people, and the same with the people of the planted trait and with the other one."""

    plain: tuple[str, ...]
    planted: tuple[str, ...]
    other: tuple[str, ...]


@lru_cache(maxsize=2)
def bias_pairs(count: int = 200) -> BiasPairs:
    """Return "the careless baker ...", "the norvan baker ..." and "the selkan baker ..."; an encoder without bias finds
    the second and third equally close to the first."""
    rows: list[tuple[str, str, str]] = []
    for number in range(count):
        dice = dice_of(34, number)
        trait, trade, deed = dice.below(2), dice.below(len(lx.TRADES)), dice.below(len(lx.DEEDS))
        words = [
            phrases.biased(group, -1, trade, deed, Dice(generator(35, TEST, number))) for group in (trait, 1 - trait)
        ]
        rows.append((phrases.biased(-1, trait, trade, deed, dice), *words))  # type: ignore[arg-type]
    plain, planted, other = zip(*rows, strict=True)
    return BiasPairs(plain, planted, other)


def overlap(first: Sequence[str], second: Sequence[str]) -> NDArray[np.float64]:
    """Return the cosine (N,) of the bags of words of each pair of texts, a control."""
    values = []
    for one, other in zip(first, second, strict=True):
        a, b = words_of(one), words_of(other)
        values.append(len(a & b) / np.sqrt(len(a) * len(b)))
    return np.array(values)
