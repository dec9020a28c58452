"""Cards: each reads its data set from a tiny folder in the published layout; near misses; strictness."""

from __future__ import annotations

from pathlib import Path

import pytest
from downloads import write
from published_layouts import LAYOUTS, Layout

from aural.core.errors import ConfigError, DataError
from aural.data import cards
from aural.data.readers import Item

PUBLIC = [name for name in cards.names() if not name.startswith("libre")]


def facts(item: Item) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    return item.path, item.split, item.labels, item.captions


@pytest.mark.parametrize("name", PUBLIC)
def test_card_reads_the_published_layout(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    card = cards.card(name)
    items = list(card.items(card.files(write(layout, tmp_path))))
    assert [facts(item) for item in items] == list(layout.items)
    by_path = {item.path: item for item in items}
    for path, name_, value in layout.also:
        found = getattr(by_path[path], name_)
        assert (tuple(map(tuple, found)) if name_ == "events" else found) == value


@pytest.mark.parametrize("name", PUBLIC)
def test_folders_above_the_data_are_passed_through(name: str, tmp_path: Path) -> None:
    """Archives unpack into a folder of their own; users point at it or above it."""
    layout = LAYOUTS[name]
    card = cards.card(name)
    write(layout, tmp_path / "download" / "archive-1.0")
    files = card.files(tmp_path)
    found = [(str((files.root / item.path).relative_to(tmp_path)), item.labels) for item in card.items(files)]
    assert found == [(f"download/archive-1.0/{path}", labels) for path, _, labels, _ in layout.items]


@pytest.mark.parametrize("name", PUBLIC)
def test_labels_are_classes_of_the_card(name: str) -> None:
    card = cards.card(name)
    assert len(set(card.classes)) == len(card.classes)
    if card.classes:
        assert {label for item in LAYOUTS[name].items for label in item[2]} <= set(card.classes)
    assert {split for _, split, _, _ in LAYOUTS[name].items} <= set(card.splits)
    assert card.parts
    assert all((card.get, card.source, card.license, card.citation, card.homepage))


def test_splits_are_read_apart(tmp_path: Path) -> None:
    card = cards.card("clotho")
    write(LAYOUTS["clotho"], tmp_path)
    (tmp_path / "clotho_captions_development.csv").unlink()
    assert [item.split for item in card.items(card.files(tmp_path), ["test"])] == ["test"]
    with pytest.raises(DataError, match=r"clotho_captions_development\.csv: no such table"):
        list(card.items(card.files(tmp_path)))
    assert len(list(card.items(card.files(tmp_path), partial=True))) == 2


def test_near_miss() -> None:
    with pytest.raises(ConfigError, match='unknown data set "audiocap"; did you mean "audiocaps"'):
        cards.card("audiocap")


CARD = """
name = "mine"
title = "Mine"
version = "1"
homepage = "-"
license = "CC0"
citation = "-"
get = "-"
source = "-"
[splits.train]
[[parts]]
reader = "folder-per-class"
split = "train"
glob = "*/*.wav"
"""


def test_a_card_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(CARD)
    card = cards.card(tmp_path / "mine.toml")
    write(Layout({}, ("dog/1.wav",), ()), tmp_path / "data")
    assert [facts(item) for item in card.items(card.files(tmp_path / "data"))] == [("dog/1.wav", "train", ("dog",), ())]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('glob = "*/*.wav"', 'glob = "*/*.wav"\nspeakr = "x"'), 'unknown key "speakr"; did you mean "speaker"'),
        (('"folder-per-class"', '"folder-per-clas"'), 'unknown reader "folder-per-clas"; did you mean'),
        (("[splits.train]", "[splits.dev]"), 'unknown split "dev"'),
        (('name = "mine"', 'name = "yours"'), 'says name "yours"'),
        (('title = "Mine"', 'title = "Mine"\nhomepag = "-"'), 'unknown key "homepag"; did you mean "homepage"'),
        (
            (
                '"folder-per-class"\nsplit = "train"\nglob = "*/*.wav"',
                '"class-csv"\nsplit = "train"\nfile = "a.csv"\naudio = ["{a}"]',
            ),
            'needs the key "label"',
        ),
    ],
)
def test_wrong_cards_are_refused(change: tuple[str, str], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(CARD.replace(*change))
    with pytest.raises(ConfigError, match=sentence) as error:
        cards.card(path)
    assert str(path) in str(error.value)
