"""What a task asks: the clips of its data set that are there, their labels, captions, events and hypotheses.

Legend: N clips, K classes.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.data import cards as datasets
from aural.data.collect import Facts, row
from aural.data.libre.tasks import truth
from aural.data.manifest import Manifest, Row, read_manifest
from aural.evaluate.cards import CAPTIONED, LABELLED, Table, TaskCard

HEAD_BYTES = 4096
PART = 32  # clips that are embedded together


@dataclass(frozen=True)
class Corpus:
    """All clips of some splits of one data set that are on this disk."""

    dataset: str
    version: str
    folder: Path  # where the rows' paths start
    rows: tuple[Row, ...]
    missing: int  # clips that the tables name and the disk lacks

    def file(self, number: int) -> Path:
        return self.folder / self.rows[number].path

    def key(self, number: int) -> str:
        """A clip's key: path, place in its file, size, and the hash of its samples that the manifest gives, or else of
        the file's first and last 4 KiB."""
        if number not in self._keys:
            one = self.rows[number]
            path = self.folder / one.path
            content = f"{_size(path)}-{one.sha256[:16]}" if one.sha256 else _content(path)
            self._keys[number] = f"{one.path}|{one.start_s:g}|{one.duration_s:g}|{content}"
        return self._keys[number]

    @cached_property
    def _keys(self) -> dict[int, str]:
        return {}

    def revision(self, numbers: Iterable[int]) -> str:
        """Hash of the data set's version and some of its clips: what a score belongs to."""
        keys = (self.key(int(number)) for number in numbers)
        return hashlib.sha256("\n".join((self.dataset, self.version, *keys)).encode()).hexdigest()[:16]

    @cached_property
    def part_of(self) -> NDArray[np.int64]:
        """(rows, 2): first row and count of the part that each row is embedded with.

        Parts hold up to `PART` rows that stand together in the table and share source and split. They are the same
        whichever splits a task asks for, so that two tasks share them.
        """
        bounds, start = np.zeros((len(self.rows), 2), np.int64), 0
        for n in range(1, len(self.rows) + 1):
            one = self.rows[start]
            over = n == len(self.rows) or n - start == PART
            if over or (self.rows[n].source, self.rows[n].split) != (one.source, one.split):
                bounds[start:n] = (start, n - start)
                start = n
        return bounds


class DataRoot:
    """Where data sets lie: ROOT/NAME for each, or a folder given for one name."""

    def __init__(self, root: str | Path, folders: Mapping[str, str | Path] | None = None) -> None:
        self.root, self.folders = Path(root), {name: Path(path) for name, path in (folders or {}).items()}
        self._read: dict[tuple[str, tuple[str, ...]], Corpus] = {}
        self._manifests: dict[Path, Manifest] = {}

    def folder(self, name: str) -> Path:
        """The folder of a data set or table; DataError says how to get it."""
        path = self.folders.get(name, self.root / name)
        if not path.is_dir():
            how = datasets.card(name).get if name in datasets.names() else "build it or name its folder with --data"
            raise DataError(f"{path}: no such folder; {how}")
        return path

    def corpus(self, name: str, splits: Sequence[str]) -> Corpus:
        """The clips of some splits: from `manifest.parquet` where one is, else from the tables as published."""
        key = (name, tuple(splits))
        if key not in self._read:
            self._read[key] = self._corpus(name, splits)
        return self._read[key]

    def _manifest(self, folder: Path) -> Manifest:
        if folder not in self._manifests:
            self._manifests[folder] = read_manifest(folder)
        return self._manifests[folder]

    def _corpus(self, name: str, splits: Sequence[str]) -> Corpus:
        folder = self.folder(name)
        if (folder / "manifest.parquet").is_file():
            rows = tuple(_ordered(self._manifest(folder), splits))
            found = Corpus(name, rows[0].source_version if rows else "", folder, rows, 0)
        else:
            card = datasets.card(name)
            files = card.files(folder)
            items = list(card.items(files, splits, partial=True))
            there = tuple(row(card, item, "", Facts(0.0, 0, 0)) for item in items if item.path)
            found = Corpus(name, card.version, files.root, there, len(items) - len(there))
        if not found.rows:
            how = datasets.card(name).get if name in datasets.names() else "rebuild its manifest"
            raise DataError(f"{folder}: holds no sound of {name} in split {', '.join(splits)}; {how}")
        return found


def _ordered(manifest: Manifest, splits: Sequence[str]) -> list[Row]:
    """The rows of some splits; those that tasks ask for together lie together, so that few others share their parts."""

    def place(one: Row) -> tuple[str, ...]:
        return one.source, one.split, one.language, one.family, one.class_name

    return sorted(manifest.filter(split=list(splits)), key=place)


@dataclass(frozen=True)
class Examples:
    """The clips of one task: their numbers in the corpus and what is true of them."""

    corpus: Corpus
    numbers: NDArray[np.int64]  # (N,) into corpus.rows
    classes: tuple[str, ...] = ()
    targets: NDArray[np.uint8] | None = None  # (N, K)
    folds: tuple[str, ...] = ()  # (N,) or empty

    @property
    def rows(self) -> list[Row]:
        return [self.corpus.rows[n] for n in self.numbers]

    @property
    def single(self) -> NDArray[np.int64]:
        """(N,) class numbers of single-label clips."""
        assert self.targets is not None
        return self.targets.argmax(axis=1).astype(np.int64)

    def subset(self, keep: NDArray[Any]) -> Examples:
        """The clips that a mask or an index picks."""
        index = np.flatnonzero(keep) if keep.dtype == bool else keep
        folds = tuple(self.folds[n] for n in index) if self.folds else ()
        targets = None if self.targets is None else self.targets[index]
        return Examples(self.corpus, self.numbers[index], self.classes, targets, folds)


def examples(card: TaskCard, root: DataRoot, splits: Sequence[str] = ()) -> Examples:
    """The task's clips; for classification and detection with their classes and targets."""
    corpus = root.corpus(card.dataset, tuple(splits) or card.split)
    wanted = {name: values for name, values in card.columns.items() if name != "split"}
    kept = [n for n, one in enumerate(corpus.rows) if all(field(one, k) in v for k, v in wanted.items())]
    if card.kind not in LABELLED:
        if card.kind in CAPTIONED:
            kept = [n for n in kept if captions(corpus.rows[n], card)]
        return Examples(corpus, _some(kept, card, corpus))
    found = {n: labels(corpus.rows[n], card) for n in kept}
    classes = class_names(card, list(found.values()))
    column = {name: k for k, name in enumerate(classes)}
    if card.kind == "zero-shot-single-label":
        kept = [n for n in kept if len(found[n]) == 1 and found[n][0] in column]
    numbers = _some(kept, card, corpus)
    targets = np.zeros((len(kept), len(classes)), np.uint8)
    for i, n in enumerate(kept):
        targets[i, [column[name] for name in found[n] if name in column]] = 1
    folds = tuple(str(meta(corpus.rows[n]).get("fold", "")) for n in kept)
    return Examples(corpus, numbers, classes, targets, folds if any(folds) else ())


def class_names(card: TaskCard, found: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The task's classes in order: listed by it, by the data set's card, or found in the data (numbers by value)."""
    if card.classes:
        return tuple(card.classes)
    known = datasets.card(card.dataset).classes if card.dataset in datasets.names() else ()
    if known and card.classes_from == "card":
        return known
    return tuple(sorted({name for names in found for name in names}, key=lambda n: (not n.isdigit(), n.zfill(9))))


def captions(one: Row, card: TaskCard) -> list[str]:
    """The captions of a clip from the card's columns, each once."""
    values = [getattr(one, name) for name in card.captions or ("captions",)]
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    return list(dict.fromkeys(text for text in texts if text))


def labels(one: Row, card: TaskCard) -> tuple[str, ...]:
    """The classes of a clip: the values of the card's `by`, or the words that its `classes` has for them."""
    value = truth(one, card.by) if card.by in ("file", "folder") else field_value(one, card.by)
    parts = list(value) if isinstance(value, list | tuple) else [value]
    if card.separator:
        parts = [piece for part in parts for piece in str(part).split(card.separator)]
    values = [str(part).strip() for part in parts if str(part).strip()]
    if card.classes:
        words = {value: name for name, some in card.classes.items() for value in some}
        values = [words[value] for value in values if value in words]
    return tuple(dict.fromkeys(values))


def field(one: Row, name: str) -> str:
    """A column or "meta.KEY" of a row as text."""
    value = field_value(one, name)
    return str(value[0] if isinstance(value, list) and value else value)


def field_value(one: Row, name: str) -> Any:
    """A column or "meta.KEY" of a row as it is."""
    if name.startswith("meta."):
        return meta(one).get(name.removeprefix("meta."), "")
    if not hasattr(one, name):
        raise DataError(f'a manifest row has no column "{name}"')
    return getattr(one, name)


def meta(one: Row) -> dict[str, Any]:
    """What else the source tells of a clip."""
    return dict(json.loads(one.meta)) if one.meta else {}


def table_rows(table: Table, splits: Sequence[str], root: DataRoot, corpus: Corpus) -> list[tuple[int, dict[str, str]]]:
    """(number of the clip, the csv's row) for each row whose clip is there."""
    by_name = {Path(one.path).stem: n for n, one in enumerate(corpus.rows)}
    found = []
    for split in splits:
        path = _table(root.folder(table.folder), table, split)
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for record in csv.DictReader(stream):
                name = Path(str(record.get(table.audio, ""))).name
                number = by_name.get(name, by_name.get(Path(name).stem))
                if number is not None:
                    found.append((number, {str(k): str(v or "") for k, v in record.items()}))
    if not found:
        raise DataError(f"{table.folder}: no row of its table names a clip of {corpus.dataset} that is there")
    return found


def _table(folder: Path, table: Table, split: str) -> Path:
    path = folder / table.files[split]
    if not path.is_file():
        raise DataError(f"{path}: no such table; {table.get}")
    return path


def _some(kept: list[int], card: TaskCard, corpus: Corpus) -> NDArray[np.int64]:
    if not kept:
        raise DataError(f"{corpus.folder}: holds no clip that task {card.name} can use")
    return np.array(kept, np.int64)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # the embedder will name the file


def _content(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - HEAD_BYTES))
        return f"{size}-{hashlib.sha256(head + stream.read()).hexdigest()[:16]}"
