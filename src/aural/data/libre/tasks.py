"""Task cards: what is asked of which clips, fixed before any training. One format for this corpus and public sets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from aural.core.catalog import package_folder
from aural.core.config import Config
from aural.core.errors import DataError
from aural.data.manifest import Manifest, Row


class TaskCard(Config):
    """A task: `columns` filter the manifest, `by` names the column that holds the truth, `classes` its values."""

    renamed_keys: ClassVar = {"licence": "license"}

    name: str
    version: str  # a correction is a new version beside the old
    title: str
    kind: Literal["zero-shot-single-label", "zero-shot-multi-label", "retrieval", "captioning"]
    dataset: str
    metric: str  # "accuracy", "recall@10" ...
    license: str
    citation: str
    columns: dict[str, list[str]] = Field(default_factory=dict)  # column -> accepted values
    by: str = "class_name"  # a column, or "folder" or "file" of the clip's path below its source
    prompt: str = "This is a sound of {}."
    classes: dict[str, list[str]] = Field(default_factory=dict)  # words for the prompt -> values of `by`
    captions: list[str] = Field(default_factory=list)  # retrieval: the columns that hold a clip's captions
    clips: int = 0  # measured counts
    chance: float = 0.0
    notes: str = ""


def task_cards(folder: Path | None = None) -> list[TaskCard]:
    """The corpus's cards in order of name."""
    return [TaskCard.read(path) for path in sorted((folder or package_folder("tasks")).glob("libre-*.toml"))]


def clips(card: TaskCard, manifest: Manifest) -> list[tuple[Row, str]]:
    """(row, class) of every clip of a task; for retrieval the class is ""."""
    values = {value: name for name, some in card.classes.items() for value in some}
    found = []
    for row in manifest.filter(None, **card.columns):
        if not card.classes:
            found.append((row, ""))
        elif (value := truth(row, card.by)) in values:
            found.append((row, values[value]))
    trained = [row.path for row, _ in found if row.split in ("train", "valid")]
    if trained:
        raise DataError(f"task {card.name}: {trained[0]} is a training clip; correct the card's columns")
    return found


def truth(row: Row, by: str) -> str:
    """The value of a column, or the clip's "file" (path below its source, without suffix) or that file's "folder"."""
    if by not in ("file", "folder"):
        return str(getattr(row, by))
    below = row.path.removeprefix(f"clips/{row.source}/").rpartition(".")[0]
    return below if by == "file" else below.rpartition("/")[0]


def measure(card: TaskCard, manifest: Manifest) -> tuple[int, dict[str, int], float]:
    """(clips, clips per class, chance) as they are in a manifest."""
    chosen = clips(card, manifest)
    counts = dict.fromkeys(card.classes, 0)
    for _, name in chosen:
        if name:
            counts[name] += 1
    if not card.classes:
        return len(chosen), {}, 10 / len(chosen) if chosen else 0.0
    return len(chosen), counts, 1 / len(counts)


def words_in_training(card: TaskCard, rows: Iterable[Row]) -> list[str]:
    """Classes of the card that a training caption names: for tasks of unseen classes there must be none."""
    training = [row for row in rows if row.split in ("train", "valid")]
    texts = {text.lower() for r in training for text in (r.caption_short, r.caption_detailed, *r.captions)}
    return [
        name
        for name, values in card.classes.items()
        if any(re.search(rf"\b{re.escape(value.lower())}", text) for value in values for text in texts)
    ]
