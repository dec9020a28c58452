"""Scores of single toggles: perfect vectors score 1, vectors without meaning score at chance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch

from aural.data.text import held_out
from aural.data.text.grammar import words_of
from aural.data.text.world import examples_of
from aural.reproduce import toggle_scores
from aural.reproduce.card import claims
from aural.reproduce.sentence_scores import SCORES
from aural.train.sentences import TOGGLES

CHANCE = {"discourse-coherence": 0.5, "intent": 1 / 6}
"""Not of the tasks position, section and order: fixed sentences of openings and endings give them away."""


def noise(text: str, width: int = 16) -> np.ndarray:
    return np.random.default_rng(crc32(text.encode())).standard_normal(width).astype(np.float32)


class Model:
    """An encoder that looks its vectors up; texts without an entry get noise."""

    def __init__(self, table: dict[str, np.ndarray] | None = None) -> None:
        self.table = table or {}
        self.toggles: list[Any] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self.table.get(text, noise(text)) for text in texts])


@pytest.mark.parametrize(("name", "chance"), CHANCE.items())
def test_vectors_without_meaning_are_near_chance(name: str, chance: float) -> None:
    values = SCORES[name](Model(), 0)
    assert float(values.mean()) == pytest.approx(chance, abs=0.1)


def test_duplicates_by_vectors_of_the_meaning_and_by_noise() -> None:
    options = {"kind": "sentence", "split": "test", "size": toggle_scores.OF_DUPLICATES,
               "duplicates": toggle_scores.COPIES}  # fmt: skip
    world = examples_of(json.dumps(options))
    table = {}
    for place in range(toggle_scores.OF_DUPLICATES):
        example = world.example(place)
        table[example.text] = noise(str(example.duplicate if example.duplicate >= 0 else place), 64)
    assert float(SCORES["duplicates"](Model(table), 0).mean()) > 0.99
    assert float(SCORES["duplicates"](Model(), 0).mean()) == pytest.approx(0.5, abs=0.1)


def test_translations_by_vectors_of_the_meaning_and_by_noise() -> None:
    world = examples_of(json.dumps({"kind": "sentence", "split": "test", "size": toggle_scores.TRANSLATED}))
    examples = [world.example(place) for place in range(toggle_scores.TRANSLATED)]
    table = {}
    for example in examples:
        meaning = noise(example.translations[0], 64)
        table |= dict.fromkeys([example.text, *example.translations], meaning)
    for name in ("translations", "toy-to-toy"):
        assert float(SCORES[name](Model(table), 0).mean()) > 0.97
        assert float(SCORES[name](Model(), 0).mean()) < 0.03


def test_kendall_of_gold_order_and_of_noise() -> None:
    world = examples_of(json.dumps({"kind": "sentence", "split": "test", "size": toggle_scores.LISTS}))
    table = {}
    for place in range(toggle_scores.LISTS):
        example = world.example(place)
        for text, gold in example.ranked:
            table[text] = np.array([gold, np.sqrt(1 - gold**2)], np.float32)
        table[example.text] = np.array([1.0, 0.0], np.float32)
    assert float(SCORES["kendall"](Model(table), 0).mean()) > 0.9
    assert float(SCORES["kendall"](Model(), 0).mean()) == pytest.approx(0, abs=0.1)


def test_context_of_vectors_that_follow_the_story() -> None:
    table = {}
    for number, (sentences, _) in enumerate(held_out.stories()):
        for place, sentence in enumerate(sentences):
            angle = 2 * np.pi * place / 40
            table[sentence] = np.concatenate([noise(str(number), 64), 5 * np.array([np.cos(angle), np.sin(angle)])])
    model = Model({text: vector.astype(np.float32) for text, vector in table.items()})
    assert float(SCORES["context"](model, 0).mean()) > 0.3
    noisy = Model({text: noise(text, 66) for text in table})
    assert float(SCORES["context"](noisy, 0).mean()) < 0.1


def test_neighbors_with_other_words_and_coherent_topics() -> None:
    texts, topics = toggle_scores.held_out_phrases()
    of_topic = Model(
        {text: noise(str(topic), 32) + 0.05 * noise(text, 32) for text, topic in zip(texts, topics, strict=True)}
    )
    assert float(SCORES["topic-coherence"](of_topic, 0).mean()) > 0.9
    assert float(SCORES["topic-coherence"](Model(), 0).mean()) < 0.4
    by_words = Model({text: np.sum([noise(word) for word in sorted(words_of(text))], axis=0) for text in texts})
    assert SCORES["other-words"](by_words, 0).mean() < SCORES["other-words"](Model(), 0).mean()


def test_the_trained_share_of_a_locked_encoder_is_its_prompt() -> None:
    encoder = torch.nn.Linear(9, 11)  # 110 numbers
    prompt = torch.nn.ParameterDict({"prompt": torch.nn.Parameter(torch.zeros(2, 5))})
    model: Any = SimpleNamespace(encoder=encoder, toggles=prompt, config=SimpleNamespace(locked=True))
    assert SCORES["trained-share"](model, 0).tolist() == pytest.approx([10 / 120])
    model.config.locked = False
    assert SCORES["trained-share"](model, 0).tolist() == [1.0]
    assert SCORES["used-parameters"](model, 0).tolist() == pytest.approx([120 / 1e6])


def test_every_toggle_is_named_by_a_card() -> None:
    named = " ".join(
        change for card in claims("sentence-vectors") for arm in card.options["arms"].values() for change in arm
    )
    assert [name for name in TOGGLES if f"name: {name}" not in named] == []
