"""Test the task cards of the corpus, the selection of their clips, and the error for training clips."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from aural.core.errors import DataError
from aural.core.weights import weight_card
from aural.data.libre.cards import taxonomy
from aural.data.libre.tasks import clips, measure, truth, words_in_training
from aural.data.manifest import Row, from_rows
from aural.evaluate.cards import TaskCard, corpus_cards

CARD = {
    "name": "t",
    "version": "1",
    "title": "t",
    "kind": "zero-shot-single-label",
    "dimension": "awareness",
    "aspect": "sounds",
    "dataset": "libre",
    "metric": "accuracy",
    "license": "x",
    "citation": "x",
    "columns": {"source": ["scratch"]},
    "classes": {"a dog": ["dog"], "a cat or a lion": ["cat", "big cat"]},
}


def rows(split: str) -> list[Row]:
    names = ["dog", "cat", "big cat", "cow"]
    return [
        Row(path=f"clips/scratch/Animal/{n}.flac", source="scratch", split=split, class_name=n, caption_short=f"A {n}.")
        for n in names
    ]


def test_clips_counts_and_chance(tmp_path: Path) -> None:
    card = TaskCard.parse(CARD, "t")
    manifest = from_rows(rows("eval-only"), tmp_path)
    assert [(row.class_name, name) for row, name in clips(card, manifest)] == [
        ("dog", "a dog"),
        ("cat", "a cat or a lion"),
        ("big cat", "a cat or a lion"),
    ]
    assert measure(card, manifest) == (3, {"a dog": 1, "a cat or a lion": 2}, 0.5)


def test_a_training_clip_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Animal/dog.flac is a training clip"):
        clips(TaskCard.parse(CARD, "t"), from_rows(rows("train"), tmp_path))


def test_truth_from_the_path() -> None:
    row = rows("test")[0]
    assert (truth(row, "folder"), truth(row, "file"), truth(row, "class_name")) == ("Animal", "Animal/dog", "dog")


def test_words_in_training() -> None:
    card = TaskCard.parse(CARD | {"classes": {"cow": ["cow"], "zebra": ["horse"]}}, "t")
    assert words_in_training(card, rows("train")) == ["cow"]
    assert words_in_training(card, rows("test")) == []


def test_the_fixed_tasks() -> None:
    cards = {card.name.removeprefix("libre-"): card for card in corpus_cards()}
    assert len(cards["scratch-folders"].classes) == 8
    assert len(cards["gcompris-instruments"].classes) == 26
    assert len(cards["gcompris-farm"].classes) == 9
    assert len(cards["drum-type"].classes) >= 8
    assert len(cards["spoken-language"].classes) >= 6
    assert len(cards["retrieval"].captions) == 3
    for name in ("unseen-sounds", "unseen-instruments"):
        assert {value for some in cards[name].classes.values() for value in some} <= taxonomy().unseen


def test_transfer_names_nothing_that_the_tagger_knows() -> None:
    """No word of its classes is a word of YAMNet's 521 class names."""
    card = next(card for card in corpus_cards() if card.name == "libre-transfer")
    config = json.loads((weight_card("yamnet").bundled() / "config.json").read_text(encoding="utf-8"))
    heard = set(re.findall("[a-z]+", " ".join(config["options"]["classes"]).lower()))
    words = {word for values in card.classes.values() for value in values for word in value.split()}
    assert len(words) == 11
    assert not words & (heard | {word.rstrip("s") for word in heard})


def test_the_cards_contain_measured_counts() -> None:
    cards = {card.name.removeprefix("libre-"): card for card in corpus_cards()}
    assert cards["retrieval"].clips >= 300
    assert all(card.clips > 0 and 0 < card.chance < 1 for card in cards.values())
