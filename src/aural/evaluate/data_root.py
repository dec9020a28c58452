"""The data sets of an evaluation: which clips are on this disk, and the keys under which their results are cached."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import ConfigError, DataError
from aural.core.types import AudioSource
from aural.data import cards as datasets
from aural.data.collect import Facts, row
from aural.data.manifest import Manifest, Row, read_manifest

HEAD_BYTES: Final = 4096
PART: Final = 32  # clips that are embedded by one call


@dataclass(frozen=True)
class Corpus:
    """The clips of some splits of one data set that are on this disk."""

    dataset: str
    version: str
    folder: Path
    """Where the rows' paths start."""
    rows: tuple[Row, ...]
    missing: int
    """Clips that the tables name and the disk lacks."""

    def file(self, number: int) -> Path:
        """Return the path of the file that holds a clip."""
        return self.folder / self.rows[number].path

    def source(self, number: int) -> AudioSource:
        """Return a clip as embedders take it: its path, or its samples where it is a part of a longer file."""
        one = self.rows[number]
        if one.start_s == 0:
            return self.file(number)
        from aural.audio.io import read

        return read(self.file(number), start_s=one.start_s, duration_s=one.duration_s or None)

    def item_id(self, number: int) -> str:
        """Return a clip's path, with its start in seconds where it is a part of a longer file."""
        one = self.rows[number]
        return f"{one.path}@{one.start_s:g}" if one.start_s else one.path

    def key(self, number: int) -> str:
        """Return the cache key of a clip: path, position in its file, size and a hash of its content.

        The hash is that of the samples if the manifest gives it, otherwise of the file's first and last 4 KiB.
        """
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
        """Return a hash of the data set's version and the given clips. A score belongs to one revision."""
        keys = (self.key(int(number)) for number in numbers)
        return hashlib.sha256("\n".join((self.dataset, self.version, *keys)).encode()).hexdigest()[:16]

    @cached_property
    def part_of(self) -> NDArray[np.int64]:
        """(rows, 2): first row and count of the part that each row is embedded with.

        A part holds up to `PART` consecutive rows of the same source and split. Parts do not depend on the splits that
        a task uses, so tasks share them.
        """
        bounds, start = np.zeros((len(self.rows), 2), np.int64), 0
        for n in range(1, len(self.rows) + 1):
            one = self.rows[start]
            full = n == len(self.rows) or n - start == PART
            if full or (self.rows[n].source, self.rows[n].split) != (one.source, one.split):
                bounds[start:n] = (start, n - start)
                start = n
        return bounds


class DataRoot:
    """The folders of the data sets: ROOT/NAME for each, or a folder given for a name."""

    def __init__(self, root: str | Path, folders: Mapping[str, str | Path] | None = None) -> None:
        self.root = Path(root)
        self.folders = {name: Path(path) for name, path in (folders or {}).items()}
        self._corpora: dict[tuple[str, tuple[str, ...]], Corpus] = {}
        self._manifests: dict[Path, Manifest] = {}

    def folder(self, name: str) -> Path:
        """Return the folder of a data set or table. Raises DataError that says how to get it if it is missing."""
        path = self.folders.get(name, self.root / name)
        if not path.is_dir():
            how = datasets.card(name).get if name in datasets.names() else "build it or name its folder with --data"
            raise DataError(f"{path}: no such folder; {how}")
        return path

    def corpus(self, name: str, splits: Sequence[str]) -> Corpus:
        """Return the clips of some splits, from `manifest.parquet` if there is one, else from the published tables."""
        key = (name, tuple(splits))
        if key not in self._corpora:
            self._corpora[key] = self._corpus(name, splits)
        return self._corpora[key]

    def _manifest(self, folder: Path) -> Manifest:
        if folder not in self._manifests:
            self._manifests[folder] = read_manifest(folder)
        return self._manifests[folder]

    def _corpus(self, name: str, splits: Sequence[str]) -> Corpus:
        folder = self.folder(name)
        if (folder / "manifest.parquet").is_file():
            rows = tuple(_ordered(self._manifest(folder), splits))
            corpus = Corpus(name, rows[0].source_version if rows else "", folder, rows, 0)
        else:
            card = datasets.card(name)
            files = card.files(folder)
            items = list(card.items(files, splits, partial=True))
            rows = tuple(row(card, item, "", Facts(0.0, 0, 0)) for item in items if item.path)
            corpus = Corpus(name, card.version, files.root, rows, len(items) - len(rows))
        if not corpus.rows:
            how = datasets.card(name).get if name in datasets.names() else "rebuild its manifest"
            raise DataError(f"{folder}: holds no sound of {name} in split {', '.join(splits)}; {how}")
        return corpus


def parse_data_root(values: Iterable[str]) -> DataRoot:
    """Return the data root of --data options: one folder that holds the data sets by name, and NAME=DIR for others.

    Without a folder, data sets are looked for in the working folder. Raises ConfigError if two folders are given.
    """
    options = list(values)
    folders = dict(item.split("=", 1) for item in options if "=" in item)
    roots = [item for item in options if "=" not in item]
    if len(roots) > 1:
        raise ConfigError("--data was given two folders; give one, and NAME=DIR for data sets in other places")
    return DataRoot(roots[0] if roots else ".", folders)


def _ordered(manifest: Manifest, splits: Sequence[str]) -> list[Row]:
    """Return the rows of some splits, sorted so that the rows of one task share few parts with other rows."""

    def place(one: Row) -> tuple[str, ...]:
        return one.source, one.split, one.language, one.family, one.class_name

    return sorted(manifest.filter(split=list(splits)), key=place)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # the embedder will report the file


def _content(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - HEAD_BYTES))
        return f"{size}-{hashlib.sha256(head + stream.read()).hexdigest()[:16]}"
