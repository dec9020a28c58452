"""Decide which salvaged rows are intact, and complete rows that lack values which follow from the sound on disk.

A row is intact if its digest agrees with its values. If it does not, or a value could not be read, the values that
follow from the path, the place of the window and the sound are computed again; the row is kept if the digest agrees
then. So a row survives whenever its vector, its digest, its window number and its path or id can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from aural.audio.io import info
from aural.core.errors import AuralError
from aural.search.embed import file_columns
from aural.search.folder import LibraryCard
from aural.search.lance import schema, table_of
from aural.search.locations import content_hash, file_id, find
from aural.search.plan import plan_roots
from aural.search.row_checks import ORDER, bad_vectors, row_problems
from aural.search.row_digests import DIGEST, digests

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


class SalvagedRows:
    """The rows collected from the fragments of a damaged table. `incomplete` is True once a row could not be kept."""

    def __init__(self, card: LibraryCard) -> None:
        self.incomplete = False
        self._card = card
        self._newest: list[pa.Table] = []
        self._earlier: list[pa.Table] = []
        self._lost: dict[str, str] = {}
        self._disk: dict[str, Row] = {}

    def take(self, part: pa.Table, *, earlier: bool = False) -> None:
        """Keep the intact rows of a fragment. earlier: it belongs to an earlier version than the newest."""
        import pyarrow as pa

        good, bad = self._split(part)
        kept = [good]
        for row in bad:
            recomputed = self._recomputed(row)
            if recomputed is not None:
                kept.append(recomputed)
            elif not earlier:
                self.incomplete = True
                if path := self._path_of(row):
                    self._lost[path] = "a window's vector cannot be read"
        (self._earlier if earlier else self._newest).append(pa.concat_tables(kept))

    def finish(self) -> tuple[pa.Table, dict[str, str]]:
        """Return the rows of complete files, sorted, and the paths of the other files with the reason.

        Rows of earlier versions are used only for files that are on disk with the stored size and time.
        """
        import pyarrow as pa

        kept = self._complete(self._newest)
        for part in self._earlier:  # the newest first: later rows have later tags
            held = set(kept["file"].to_pylist())
            earlier = self._complete([part])
            names = ("file", "path", "size", "mtime_ns")
            stored = zip(*(earlier[name].to_pylist() for name in names), strict=True)
            use = [file not in held and _is_unchanged(path, *place) for file, path, *place in stored]
            kept = pa.concat_tables([kept, earlier.filter(pa.array(use, pa.bool_()))]).sort_by(ORDER)
        present = set(kept["path"].to_pylist())
        return kept, {path: reason for path, reason in self._lost.items() if path not in present}

    def _complete(self, parts: list[pa.Table]) -> pa.Table:
        """Return the rows of the complete files of these parts, each row once."""
        import pyarrow as pa

        table = pa.concat_tables([schema(self._card.embed_dim).empty_table(), *parts]).sort_by(ORDER)
        keys = list(zip(table["file"].to_pylist(), table["window"].to_pylist(), strict=True))
        once = [row == 0 or keys[row] != keys[row - 1] for row in range(len(keys))]
        table = table.filter(pa.array(once, pa.bool_()))
        problems = row_problems(table, self._card.embed_dim)
        files = table["file"].to_pylist()
        for file, path in zip(files, table["path"].to_pylist(), strict=True):
            if file in problems:
                self._lost.setdefault(path, problems[file])
        return table.filter(pa.array([file not in problems for file in files], pa.bool_()))

    def _split(self, part: pa.Table) -> tuple[pa.Table, Iterator[Row]]:
        """Return the intact rows in the present format, and the others."""
        import pyarrow as pa
        import pyarrow.compute as pc

        fields = schema(self._card.embed_dim)
        names = [name for name in part.schema.names if name != DIGEST]
        readable = np.ones(part.num_rows, bool)
        for name in names:
            readable &= ~np.asarray(pc.is_null(part[name]).to_pylist(), bool)
        rows = np.flatnonzero(readable)
        full = part.take(rows)
        expected = digests(full)
        if DIGEST in part.schema.names:
            stored = np.asarray(full[DIGEST].fill_null(0).to_pylist(), np.int64)
            intact = expected == stored
        else:
            intact = ~bad_vectors(full, self._card.embed_dim)
        full = full.select(names).append_column(fields.field(DIGEST), pa.array(expected, pa.int64()))
        good = full.filter(pa.array(intact, pa.bool_())).select(fields.names).cast(fields)
        others = np.setdiff1d(np.arange(part.num_rows), rows[intact])
        return good, iter(part.take(others).to_pylist())

    def _recomputed(self, row: Row) -> pa.Table | None:
        """Return the row as a table of one row, or None if its digest agrees with no completion of it."""
        path = self._path_of(row)
        if path is None or any(row.get(name) is None for name in ("vector", "window", DIGEST)):
            return None
        fresh = self._from_disk(path) | self._times(path, row["window"])
        readable = {name: value for name, value in row.items() if value is not None}
        defaults: Row = {"tags": [], "silent": False}
        for values in (defaults | fresh | readable | _names(path), defaults | readable | fresh):
            for silent in (values["silent"], not values["silent"]):
                try:
                    vector = np.asarray([row["vector"]], np.float32)
                    table = table_of([values | {"silent": silent}], vector, self._card.embed_dim)
                except (KeyError, ValueError, TypeError, OverflowError):  # a value is missing or not one of its column
                    continue
                if table[DIGEST][0].as_py() == row[DIGEST]:
                    return table
        return None

    def _path_of(self, row: Row) -> str | None:
        """Return the path of a row from its path or its id, whichever is intact."""
        path, file = row.get("path"), row.get("file")
        if path is not None and (file == file_id(path) or path in self._paths):
            return str(path)
        if file in self._listed:
            return self._listed[file]
        return path if file is None else None

    @cached_property
    def _listed(self) -> dict[str, str]:
        """Id -> path of the sounds of the library's folders."""
        return {file.file: file.path for file in plan_roots(self._card, {}).new}

    @cached_property
    def _paths(self) -> set[str]:
        return set(self._listed.values())

    def _from_disk(self, path: str) -> Row:
        """Return the columns that follow from the sound on disk; none if it cannot be read."""
        if path not in self._disk:
            values: Row = {}
            try:
                file = find(path)
                header = info(file.source)
                values = file_columns(file) | {"hash": content_hash(file.source), "channels": header.channels}
                values["sample_rate"] = header.sample_rate_hz
                if header.frames is not None:
                    frames = round(header.frames * self._card.sample_rate_hz / header.sample_rate_hz)
                    values["duration"] = frames / self._card.sample_rate_hz
            except AuralError:
                values = _names(path)
            self._disk[path] = values
        return self._disk[path]

    def _times(self, path: str, window: int) -> Row:
        """Return start and end of a window in seconds; see `aural.audio.length.windows`."""
        duration = self._from_disk(path).get("duration")
        if duration is None:
            return {}
        rate = self._card.sample_rate_hz
        total, length = round(duration * rate), round(self._card.window_s * rate)
        end = min((window + 1) * length, total)
        start = window * length if end == (window + 1) * length or not window else end - length
        return {"start": start / rate, "end": end / rate}


def _names(path: str) -> Row:
    """Return the columns that follow from the path alone."""
    return {"file": file_id(path), "path": path}


def _is_unchanged(path: str, size: int, mtime_ns: int) -> bool:
    try:
        file = find(path)
    except AuralError:
        return False
    return (file.size, file.mtime_ns) == (size, mtime_ns)
