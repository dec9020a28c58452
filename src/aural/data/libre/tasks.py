"""Select the clips of a test task on the free corpus, count them, and check that none is a training clip.

Task cards are defined in `aural.evaluate.cards`; this module only reads the fields that select clips.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from aural.core.errors import DataError
from aural.data.manifest import Manifest, Row


class ClipSelection(Protocol):
    """The part of a task card that selects clips and their classes."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> Mapping[str, Sequence[str]]:
        """Accepted values per column."""
        ...

    @property
    def by(self) -> str:
        """Column that contains the true label, or "folder" or "file" for a part of the clip's path below its source."""
        ...

    @property
    def classes(self) -> Mapping[str, Sequence[str]]:
        """Values of `by` per class; the key is the text for the prompt."""
        ...


def clips(card: ClipSelection, manifest: Manifest) -> list[tuple[Row, str]]:
    """Return (row, class) of every clip of a task. For retrieval the class is "".

    Raises:
        DataError: a selected clip is a training clip.
    """
    values = {value: name for name, accepted in card.classes.items() for value in accepted}
    selected = []
    for row in manifest.filter(None, **card.columns):
        if not card.classes:
            selected.append((row, ""))
        elif (value := truth(row, card.by)) in values:
            selected.append((row, values[value]))
    trained = [row.path for row, _ in selected if row.split in ("train", "valid")]
    if trained:
        raise DataError(f"task {card.name}: {trained[0]} is a training clip; correct `columns` in the task card")
    return selected


def truth(row: Row, by: str) -> str:
    """Return the value of the column `by`, or a part of the path if `by` is "file" or "folder".

    "file" is the path below the source without suffix, and "folder" is the folder of that path.
    """
    if by not in ("file", "folder"):
        return str(getattr(row, by))
    below = row.path.removeprefix(f"clips/{row.source}/").rpartition(".")[0]
    return below if by == "file" else below.rpartition("/")[0]


def measure(card: ClipSelection, manifest: Manifest) -> tuple[int, dict[str, int], float]:
    """Return (number of clips, clips per class, chance) of a task on a manifest.

    Chance is 1 / classes for classification and 10 / clips (recall at 10) for retrieval.
    """
    chosen = clips(card, manifest)
    counts = dict.fromkeys(card.classes, 0)
    for _, name in chosen:
        if name:
            counts[name] += 1
    if not card.classes:
        return len(chosen), {}, 10 / len(chosen) if chosen else 0.0
    return len(chosen), counts, 1 / len(counts)


def words_in_training(card: ClipSelection, rows: Iterable[Row]) -> list[str]:
    """Return the classes of the card that a training caption mentions. A task of unseen classes must have none."""
    training = [row for row in rows if row.split in ("train", "valid")]
    texts = {text.lower() for r in training for text in (r.caption_short, r.caption_detailed, *r.captions)}
    return [
        name
        for name, values in card.classes.items()
        if any(re.search(rf"\b{re.escape(value.lower())}", text) for value in values for text in texts)
    ]
