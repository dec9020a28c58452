"""Store facts about the contents of a library: metadata of the files and measures of the sounds.

An SQLite database in the library's folder, keyed by content hash and written by `analyze`. It is derived from the sound
files and can be deleted. Filters use its columns (`aural.search.filters.FACT_COLUMNS`), and `aural.search.facets`
counts values.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.audio.io import read
from aural.audio.measure import measure
from aural.audio.metadata import Metadata, read_metadata
from aural.core.errors import AuralError
from aural.core.types import Source
from aural.search.filters import FACT_COLUMNS
from aural.search.folder import UnusableLibraryError
from aural.search.library_sql import database_errors, open_database

FILE: Final = "facts.sqlite"
VERSION: Final = 2
"""Counts up when the columns change; a database of another version is written again."""
MOST_S: Final = 600.0
"""Seconds of a sound that are measured."""
_SQL_KINDS: Final = {"text": "TEXT", "number": "REAL", "truth": "INTEGER"}


class Facts:
    """The facts of a library. A folder without a database has none."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._cached: tuple[tuple[int, int], dict[str, NDArray[Any]]] | None = None

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of `FACT_COLUMNS` and `hash` of all contents (N,); read again when they changed."""
        try:
            status = self.path.stat()
        except OSError:
            return _arrays([])
        key = status.st_mtime_ns, status.st_size
        if self._cached is None or self._cached[0] != key:
            names = ", ".join(["hash", *FACT_COLUMNS])
            with self._connection() as connection:
                written = connection.execute("PRAGMA user_version").fetchone()[0] == VERSION
                # no table of this version: of another one, or the first write was interrupted
                rows = connection.execute(f"SELECT {names} FROM facts").fetchall() if written else []
            self._cached = key, _arrays(rows)
        return self._cached[1]

    def state(self) -> str:
        """Return a text that changes when facts are written; empty if there are none."""
        try:
            status = self.path.stat()
        except OSError:
            return ""
        return f"{status.st_mtime_ns} {status.st_size}"

    def missing(self, hashes: Collection[str]) -> list[str]:
        """Return the contents that have no facts."""
        present = set(self.columns()["hash"])
        return [content for content in dict.fromkeys(hashes) if content not in present]

    def write(self, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Store the facts of contents, hash to value per column, in one transaction."""
        names = ["hash", *FACT_COLUMNS]
        command = f"INSERT OR REPLACE INTO facts({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        rows = [(content, *(values[name] for name in FACT_COLUMNS)) for content, values in facts.items()]
        with self._connection("rwc") as connection:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                columns = ", ".join(f"{name} {_SQL_KINDS[kind]}" for name, kind in FACT_COLUMNS.items())
                connection.execute("DROP TABLE IF EXISTS facts")
                connection.execute(f"CREATE TABLE facts(hash TEXT PRIMARY KEY, {columns})")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.executemany(command, rows)
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _connection(self, mode: str = "rw") -> Iterator[sqlite3.Connection]:
        """Yield a connection; a database that is damaged is deleted, because it can be computed again."""
        try:
            with database_errors(self.path), contextlib.closing(open_database(self.path, mode)) as connection:
                yield connection
        except UnusableLibraryError as error:
            if isinstance(error.__context__, sqlite3.OperationalError):
                raise
            self.path.unlink(missing_ok=True)
            raise UnusableLibraryError(
                f"{self.path}: was damaged and is deleted; run `aural library analyze`"
            ) from None


def facts_of(source: Source) -> dict[str, Any]:
    """Return the facts of a stored sound. Raises AudioError if it cannot be decoded.

    Metadata is read from files of this machine only. `loop`: the file names a loop (smpl), or it ends as it begins.
    """
    metadata = Metadata() if source.path is None else read_metadata(source.path)
    values = asdict(metadata) | asdict(measure(read(source, duration_s=MOST_S)))
    values["loop"] = bool(values["has_loops"] or values["seamless"])
    return {name: _stored(values[name]) for name in FACT_COLUMNS}


def is_readable(path: Path) -> bool:
    """Return whether a database of facts is missing, which is no error, or passes SQLite's integrity check."""
    if not os.path.lexists(path):
        return True
    try:
        with contextlib.closing(open_database(path)) as connection:
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    except (sqlite3.Error, AuralError):
        return False


def _stored(value: Any) -> Any:
    """Return a value as SQLite stores it; NaN and infinity are unknown."""
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, bool) else value


def _arrays(rows: Sequence[Sequence[Any]]) -> dict[str, NDArray[Any]]:
    columns = list(zip(*rows, strict=True)) or [()] * (1 + len(FACT_COLUMNS))
    arrays: dict[str, NDArray[Any]] = {"hash": _texts(columns[0])}
    for (name, kind), values in zip(FACT_COLUMNS.items(), columns[1:], strict=True):
        if kind == "number":
            arrays[name] = np.array([np.nan if value is None else value for value in values], np.float64)
        else:
            arrays[name] = np.array(values, bool) if kind == "truth" else _texts(values)
    return arrays


def _texts(values: Sequence[str]) -> NDArray[Any]:
    texts = np.empty(len(values), object)
    texts[:] = values
    return texts


NO_FACTS: Final = _arrays([])
"""Columns without a row, to check the syntax of a filter."""
