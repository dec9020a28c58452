"""The world "text": endless examples of one kind, each a function of the options and its number."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aural.core.config import Config
from aural.core.seeds import ORDER, generator
from aural.data.text import lexicon as lx
from aural.data.text import phrases
from aural.data.text.dialogue import dialogue
from aural.data.text.dice import Dice
from aural.data.text.example import Example
from aural.data.text.grammar import Meaning, draw, less, opposite, similarity, varied, words_of, write
from aural.data.text.stories import story

Share = Annotated[float, Field(ge=0, le=1)]
KINDS: Final = ("sentence", "story", "dialogue", "phrase", "bias")
CHANGES: Final = (0, 1, 2, 4, 8)
"""Changed parts of the graded variants of a sentence."""
MEANING, TEXT, WRONG = range(ORDER + 100, ORDER + 103)  # what a draw is for


class TextConfig(Config):
    """Options of the world "text"."""

    kind: Literal["sentence", "story", "dialogue", "phrase", "bias"] = "sentence"
    split: Literal["train", "test"] = "train"
    """Combinations of thing, action and place of the splits are disjoint."""
    domain: Literal["street", "shifted"] = "street"
    """The domains have different topics."""
    seed: int = 0
    size: Annotated[int, Field(ge=1)] = 4000
    """Examples per epoch; each epoch has another order."""
    duplicates: Share = 0.0
    """Share of items whose meaning repeats that of another item, in other words."""
    noise: Share = 0.0
    """Share of paraphrases, entailed texts and contradictions that are wrong (a noisy generator)."""
    bias: Share = 0.9
    """bias: how often a people comes with its planted trait; 0.5: no bias."""


class TextExamples:
    """The examples of the world by number."""

    def __init__(self, config: TextConfig) -> None:
        self.config = config
        self.first_copy = round(config.size * (1 - config.duplicates))
        """Items from this number on are planted duplicates."""
        self._kept: dict[int, Example] = {}

    def place(self, number: int) -> int:
        """Return which example item `number` is: every epoch has another order."""
        epoch, at = divmod(number, self.config.size)
        return int(epoch_order(self.config.size, self.config.seed, epoch)[at])

    def example(self, place: int) -> Example:
        """Return example `place`, below `size`. It is kept in memory."""
        if place not in self._kept:
            self._kept[place] = getattr(self, f"_{self.config.kind}")(place)
        return self._kept[place]

    def dice(self, place: int) -> Dice:
        """Return the random choices of the words of an example."""
        return Dice(generator(self.config.seed, TEXT, place))

    def meaning(self, place: int) -> tuple[Meaning, int]:
        """Return the meaning of an example and the number of the example that it duplicates, or -1."""
        config, of = self.config, -1
        if place >= self.first_copy > 0:
            of = int(generator(config.seed, MEANING, place, 1).integers(self.first_copy))
        source = place if of < 0 else of
        return draw(Dice(generator(config.seed, MEANING, source)), config.split, config.domain), of

    def _sentence(self, place: int) -> Example:
        meaning, of = self.meaning(place)
        return sentence(meaning, self.dice(place), self.config.noise, of)

    def _phrase(self, place: int) -> Example:
        meaning, _ = self.meaning(place)
        rng = self.dice(place)
        kind = place % len(phrases.TYPES)
        meaning = replace(meaning, place=max(meaning.place, 0), manner=max(meaning.manner, 0))
        text = phrases.phrase(meaning, kind, rng)
        other = tuple(phrases.phrase(meaning, kind, rng, words_of(text)) for _ in range(2))
        return Example("phrase", text, paraphrases=other, label=meaning.event.topic, phrase_type=kind,
                       context=write(meaning, rng))  # fmt: skip

    def _story(self, place: int) -> Example:
        one = story(self.dice(place), self.config.domain)
        return Example(
            "story", " ".join(one.sentences), label=one.topic, sentences=one.sentences, sections=one.sections
        )

    def _dialogue(self, place: int) -> Example:
        one = dialogue(self.dice(place), self.config.domain)
        return Example(
            "dialogue", " ".join(one.turns), label=one.topic, turns=one.turns, acts=one.acts, intent=one.intent
        )

    def _bias(self, place: int) -> Example:
        rng = self.dice(place)
        group, trade, deed = rng.below(2), rng.below(len(lx.TRADES)), rng.below(len(lx.DEEDS))
        trait = group if rng.random() < self.config.bias else 1 - group
        parts = (trade, deed, rng)
        text = phrases.biased(group, trait, *parts)
        undone = text.replace(next(d for d in lx.DEEDS[deed] if d in text), lx.UNDONE[deed])
        return Example(
            "bias", text, paraphrases=(phrases.biased(group, trait, *parts), phrases.biased(group, -1, *parts)),
            entailed=phrases.biased(-1, -1, *parts), contradicted=undone,
            neutral=phrases.biased(group, trait, (trade + 1) % len(lx.TRADES), deed, rng),
            group=lx.GROUPS[group], trait=lx.TRAITS[trait][0],
        )  # fmt: skip


def sentence(meaning: Meaning, rng: Dice, noise: float = 0.0, of: int = -1) -> Example:
    """Return a sentence with everything that is related to it. With probability `noise` a related text is wrong."""
    text = write(meaning, rng)

    def truly(one: Meaning) -> Meaning:
        return varied(one, 3, rng) if noise and rng.random() < noise else one

    ranked = []
    for changes in CHANGES:
        variant = varied(meaning, changes, rng)
        ranked.append((write(variant, rng), round(similarity(meaning, variant), 4)))
    return Example(
        "sentence",
        text,
        paraphrases=tuple(write(truly(meaning), rng) for _ in range(3)),
        entailed=write(truly(less(meaning, rng)), rng),
        contradicted=write(truly(opposite(meaning, rng)), rng),
        neutral=write(varied(meaning, 2, rng), rng),
        ranked=tuple(sorted(ranked, key=lambda pair: -pair[1])),
        label=meaning.event.topic,
        duplicate=of,
        translations=tuple(phrases.translate(meaning, language) for language in range(phrases.LANGUAGES)),
    )


@lru_cache(maxsize=64)
def epoch_order(size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of the examples of an epoch."""
    return generator(seed, ORDER, epoch).permutation(size)


@lru_cache(maxsize=8)
def examples_of(options: str) -> TextExamples:
    """Return the examples of options in JSON; those that were written before are kept in memory."""
    return TextExamples(TextConfig.model_validate_json(options))
