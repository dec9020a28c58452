"""Know which files of a library are copies of one sound, so that search results can show one of them.

Files are copies if they have the same bytes, or vectors with a cosine of at least `NEAR` and lengths within 5%; copies
of copies belong to one group. The groups are the file `copies.arrow` in the library's folder. Each writing command
brings it up to date at its end: new files are compared with all files of similar length, and the rest of a group that
lost a member is compared again. It is computed from the table and can be deleted.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import WriteError
from aural.core.files import atomic_write, delete
from aural.search.filters import FIRST_WINDOWS, parse_filter
from aural.search.lance import LanceStore
from aural.search.near import LENGTH_TOLERANCE, Groups, file_vectors, near_pairs

FILE: Final = "copies.arrow"
NEAR: Final = 0.995
"""Least cosine of copies. 71% of 52 sounds reach it as mp3, and hardly any two takes of one sound do."""
_VERSION: Final = b"version"
_COLUMNS: Final = ("file", "hash", "group")
_ALONE: Final = -1


@dataclass(frozen=True, slots=True)
class CopyGroups:
    """The number of each file's group, and the files of each group. Other files have no copies."""

    of_file: Mapping[str, int]
    files: Mapping[int, Sequence[str]]


NO_COPIES: Final = CopyGroups({}, {})


class CopyIndex:
    """The groups of copies of the library in a folder."""

    def __init__(self, folder: Path, store: LanceStore) -> None:
        self.path, self.store = folder / FILE, store
        self._cached: tuple[tuple[int, int, int], CopyGroups] | None = None

    def groups(self) -> CopyGroups:
        """Return the groups as they were written last; none if the file is missing or damaged."""
        try:
            status = self.path.stat()
            key = status.st_ino, status.st_mtime_ns, status.st_size
            if self._cached is None or self._cached[0] != key:
                self._cached = key, _groups(_read(self.path))
        except (OSError, ValueError, KeyError):
            return NO_COPIES
        return self._cached[1]

    def update(self) -> None:
        """Bring the groups up to date with the table; the caller holds the writer's lock.

        Nothing is raised if the disk refuses the file: the groups of before are used then.
        """
        version = str(self.store.version).encode()
        try:
            before = _read(self.path)
        except (OSError, ValueError, KeyError):
            before = None
        if before is not None and before.schema.metadata[_VERSION] == version:
            return
        rows = self.store.rows(["file", "hash", "duration"], FIRST_WINDOWS).sort_by("duration")
        if before is None and not rows.num_rows:
            return
        names, hashes = rows["file"].to_pylist(), rows["hash"].to_pylist()
        groups = Groups(len(names))
        fresh = _stored_groups(before, names, hashes, groups)
        first_of: dict[str, int] = {}
        for i, content in enumerate(hashes):
            groups.join(first_of.setdefault(content, i), i)
        self._join_near(names, rows["duration"].to_numpy(), fresh, groups)
        number = np.full(len(names), _ALONE, np.int32)
        for group, (members, _) in enumerate(groups.members()):
            number[members] = group
        with contextlib.suppress(WriteError, OSError):
            _write(self.path, names, hashes, number, version)

    def _join_near(
        self, names: Sequence[str], lengths: NDArray[np.float64], fresh: NDArray[np.bool_], groups: Groups
    ) -> None:
        """Join near files; only pairs with a fresh file are compared. names are ordered by their lengths."""
        if not fresh.any():
            return
        low, high = lengths[fresh][[0, -1]] * (1 / (1 + LENGTH_TOLERANCE), 1 + LENGTH_TOLERANCE)
        where = parse_filter(f"duration between {float(low)!r} and {float(high)!r}")
        table = self.store.rows(["file", "window", "end", "vector"], where)
        files, vectors = file_vectors(table, self.store.embed_dim)
        row_of = {name: i for i, name in enumerate(names)}
        rows = np.array([row_of[name] for name in files])
        order = np.argsort(rows)
        rows, vectors = rows[order], vectors[order]
        for i, j, cosine in near_pairs(vectors, lengths[rows], NEAR, fresh[rows]):
            groups.join(int(rows[i]), int(rows[j]), cosine)


def _stored_groups(before: Any, names: Sequence[str], hashes: Sequence[str], groups: Groups) -> NDArray[np.bool_]:
    """Join the files that were compared before, and return which files (F,) must be compared."""
    fresh = np.ones(len(names), bool)
    if before is None:
        return fresh
    row_of = {pair: i for i, pair in enumerate(zip(names, hashes, strict=True))}
    members: dict[int, list[int | None]] = defaultdict(list)
    for file, content, group in zip(*(before[name].to_pylist() for name in _COLUMNS), strict=True):
        row = row_of.get((file, content))
        if group != _ALONE:
            members[group].append(row)
        elif row is not None:
            fresh[row] = False
    for rows in members.values():
        present = [row for row in rows if row is not None]
        if len(present) == len(rows):
            fresh[present] = False
            for row in present[1:]:
                groups.join(present[0], row)
    return fresh


def _groups(table: Any) -> CopyGroups:
    table = table.filter(table["group"].to_numpy() != _ALONE)
    of_file = dict(zip(table["file"].to_pylist(), table["group"].to_pylist(), strict=True))
    files: dict[int, list[str]] = defaultdict(list)
    for file, group in of_file.items():
        files[group].append(file)
    return CopyGroups(of_file, files)


def _read(path: Path) -> Any:
    """Return the stored table. Raises OSError, ValueError or KeyError if it is missing or damaged."""
    import pyarrow as pa

    with pa.OSFile(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    table.validate(full=True)
    _ = [table[name] for name in _COLUMNS], (table.schema.metadata or {})[_VERSION]
    return table


def _write(path: Path, names: Sequence[str], hashes: Sequence[str], number: NDArray[np.int32], version: bytes) -> None:
    import pyarrow as pa

    table = pa.table({"file": names, "hash": hashes, "group": number}).replace_schema_metadata({_VERSION: version})
    if path.is_dir():
        delete(path)
    with atomic_write(path) as part, pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def is_readable(path: Path) -> bool:
    """Return whether the groups are missing, which is no error, or can be read."""
    if not os.path.lexists(path):
        return True
    try:
        _read(path)
    except (OSError, ValueError, KeyError):
        return False
    return True
