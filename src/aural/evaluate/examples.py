"""The clips of a task with their truth: labels, captions, events and hypotheses.

Legend: N clips, K classes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.data import cards as datasets
from aural.data.libre.tasks import truth
from aural.data.manifest import Row
from aural.evaluate.cards import Table, TaskCard
from aural.evaluate.data_root import Corpus, DataRoot
from aural.evaluate.kinds import KINDS, TaskKind


@dataclass(frozen=True)
class Examples:
    """The clips of one task: their numbers in the corpus and their truth."""

    corpus: Corpus
    numbers: NDArray[np.int64]
    """(N,) into corpus.rows"""
    classes: tuple[str, ...] = ()
    targets: NDArray[np.uint8] | None = None
    """(N, K) of 0 and 1"""
    folds: tuple[str, ...] = ()
    """(N,) or empty"""

    @property
    def rows(self) -> list[Row]:
        """The manifest rows of the clips."""
        return [self.corpus.rows[n] for n in self.numbers]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the clips, (N,)."""
        return tuple(self.corpus.item_id(int(n)) for n in self.numbers)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """`targets` of a task with labels, (N, K)."""
        assert self.targets is not None
        return self.targets

    @property
    def single(self) -> NDArray[np.int64]:
        """Class numbers of single-label clips, (N,)."""
        return self.labels.argmax(axis=1).astype(np.int64)

    def subset(self, keep: NDArray[Any]) -> Examples:
        """Return the clips that a mask or an index selects."""
        index = np.flatnonzero(keep) if keep.dtype == bool else keep
        folds = tuple(self.folds[n] for n in index) if self.folds else ()
        targets = None if self.targets is None else self.targets[index]
        return Examples(self.corpus, self.numbers[index], self.classes, targets, folds)


@dataclass(frozen=True)
class LoadedTask:
    """A task card with its clips. Clips and truth are computed once and shared by all that score the task."""

    card: TaskCard
    root: DataRoot

    @property
    def kind(self) -> TaskKind:
        """The card's kind."""
        return KINDS[self.card.kind]

    @cached_property
    def test(self) -> Examples:
        """The clips that are scored."""
        return examples(self.card, self.root)

    @cached_property
    def train(self) -> Examples | None:
        """The clips of the card's training splits; None if it names none."""
        return examples(self.card, self.root, self.card.train) if self.card.train else None


def examples(card: TaskCard, root: DataRoot, splits: Sequence[str] = ()) -> Examples:
    """Return a task's clips; for kinds with labels also its classes and targets.

    Raises DataError if the data set is missing or has no clip that the task can use.
    """
    kind = KINDS[card.kind]
    if not kind.sounds:
        return Examples(Corpus(card.dataset, card.version, Path(), (), 0), np.empty(0, np.int64))
    corpus = root.corpus(card.dataset, tuple(splits) or card.split)
    filters = {name: values for name, values in card.columns.items() if name != "split"}
    kept = [n for n, one in enumerate(corpus.rows) if all(field_text(one, k) in v for k, v in filters.items())]
    if not kind.labelled:
        if kind.truth == "captions":
            kept = [n for n in kept if captions(corpus.rows[n], card)]
        return Examples(corpus, _as_numbers(kept, card, corpus))
    labels_of = {n: labels(corpus.rows[n], card) for n in kept}
    classes = class_names(card, list(labels_of.values()))
    column = {name: k for k, name in enumerate(classes)}
    if kind.truth == "one label":
        kept = [n for n in kept if len(labels_of[n]) == 1 and labels_of[n][0] in column]
    numbers = _as_numbers(kept, card, corpus)
    targets = np.zeros((len(kept), len(classes)), np.uint8)
    for i, n in enumerate(kept):
        targets[i, [column[name] for name in labels_of[n] if name in column]] = 1
    folds = tuple(str(meta(corpus.rows[n]).get("fold", "")) for n in kept)
    return Examples(corpus, numbers, classes, targets, folds if any(folds) else ())


def class_names(card: TaskCard, labels: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the task's classes in order: from the card, from the data set's card, or from the labels in the data.

    Labels in the data are sorted; numbers by value.
    """
    if card.classes:
        return tuple(card.classes)
    of_data_set = datasets.card(card.dataset).classes if card.dataset in datasets.names() else ()
    if of_data_set and card.classes_from == "card":
        return of_data_set
    return tuple(sorted({name for names in labels for name in names}, key=lambda n: (not n.isdigit(), n.zfill(9))))


def captions(one: Row, card: TaskCard) -> list[str]:
    """Return the distinct captions of a clip from the card's columns."""
    values = [getattr(one, name) for name in card.captions or ("captions",)]
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    return list(dict.fromkeys(text for text in texts if text))


def labels(one: Row, card: TaskCard) -> tuple[str, ...]:
    """Return the classes of a clip: the values of the card's `by`, or the words that its `classes` has for them."""
    value = truth(one, card.by) if card.by in ("file", "folder") else field_value(one, card.by)
    parts = list(value) if isinstance(value, list | tuple) else [value]
    if card.separator:
        parts = [piece for part in parts for piece in str(part).split(card.separator)]
    values = [str(part).strip() for part in parts if str(part).strip()]
    if card.classes:
        words = {value: name for name, accepted in card.classes.items() for value in accepted}
        values = [words[value] for value in values if value in words]
    return tuple(dict.fromkeys(values))


def field_text(one: Row, name: str) -> str:
    """Return a column or "meta.KEY" of a row as text; of a list, its first value."""
    value = field_value(one, name)
    return str(value[0] if isinstance(value, list) and value else value)


def field_value(one: Row, name: str) -> Any:
    """Return a column or "meta.KEY" of a row unchanged."""
    if name.startswith("meta."):
        return meta(one).get(name.removeprefix("meta."), "")
    if not hasattr(one, name):
        raise DataError(f'a manifest row has no column "{name}"')
    return getattr(one, name)


def meta(one: Row) -> dict[str, Any]:
    """Return the further facts that the source gives for a clip."""
    return dict(json.loads(one.meta)) if one.meta else {}


def table_rows(table: Table, splits: Sequence[str], root: DataRoot, corpus: Corpus) -> list[tuple[int, dict[str, str]]]:
    """Return (number of the clip, the CSV row) for each row of a table whose clip is in the corpus.

    Raises DataError if a file of the table is missing or no row names a clip of the corpus.
    """
    by_name = {Path(one.path).stem: n for n, one in enumerate(corpus.rows)}
    rows = []
    for split in splits:
        path = root.folder(table.folder) / table.files[split]
        if not path.is_file():
            raise DataError(f"{path}: no such table; {table.get}")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for record in csv.DictReader(stream):
                name = Path(str(record.get(table.audio, ""))).name
                number = by_name.get(name, by_name.get(Path(name).stem))
                if number is not None:
                    rows.append((number, {str(k): str(v or "") for k, v in record.items()}))
    if not rows:
        raise DataError(f"{table.folder}: no row of its table names a clip of {corpus.dataset} that is on this disk")
    return rows


def _as_numbers(kept: list[int], card: TaskCard, corpus: Corpus) -> NDArray[np.int64]:
    if not kept:
        raise DataError(f"{corpus.folder}: holds no clip that task {card.name} can use")
    return np.array(kept, np.int64)
