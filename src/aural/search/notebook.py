"""Store what people note about the sounds of a library: favorites, ratings, notes, collections, and past queries.

An SQLite database in the library's folder. Entries belong to the content of a sound (`aural.search.locations.
content_hash`), so they survive moving, removing, adding again and another model. After every change except of the
history, `safety/notebook.sqlite` receives a copy, from which a repair restores a damaged database.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aural.core.errors import ConfigError, DataError, near_miss
from aural.core.files import atomic_write, delete
from aural.search.folder import SAFETY, UnusableLibraryError
from aural.search.library_sql import database_errors, open_database

FILE: Final = "notebook.sqlite"
COPY: Final = f"{SAFETY}/{FILE}"
VERSION: Final = 1
MOST_STARS: Final = 5
MAX_NOTE: Final = 10_000
MAX_NAME: Final = 100
KEPT_QUERIES: Final = 1000
BLOCK: Final = 500

_TABLES: Final = """
CREATE TABLE sounds(hash TEXT PRIMARY KEY, favorite INTEGER NOT NULL DEFAULT 0, stars INTEGER NOT NULL DEFAULT 0,
                    note TEXT NOT NULL DEFAULT '');
CREATE TABLE collections(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE members(position INTEGER PRIMARY KEY, collection INTEGER NOT NULL, hash TEXT NOT NULL,
                     UNIQUE(collection, hash));
CREATE TABLE queries(id INTEGER PRIMARY KEY, time TEXT NOT NULL, query TEXT NOT NULL, hits INTEGER NOT NULL);
"""


class UnknownCollectionError(DataError):
    """A library has no collection of this name."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one sound. stars: 1 to 5, or 0 without a rating."""

    favorite: bool = False
    stars: int = 0
    note: str = ""
    collections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PastQuery:
    """A query of the history. time: UTC, such as `2026-11-22T19:22:35Z`. query: what was searched for."""

    time: str
    query: dict[str, Any]
    hits: int


class Notebook:
    """The notebook of a library. Threads and processes may share one; a folder without a database has no entries."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE
        self._copying = threading.Lock()

    # Reading -------------------------------------------------------------------------------------------------------

    def marks(self, hashes: Collection[str] | None = None) -> dict[str, Marks]:
        """Return the marks of these contents, or of all that have any; contents without marks are left out."""
        values: dict[str, tuple[bool, int, str]] = {}
        names: dict[str, list[str]] = {}
        with self._reading() as connection:
            for part in _blocks(hashes):
                where, of_part = ("", ()) if part is None else (f"WHERE hash IN ({_holes(part)})", part)
                for content, favorite, stars, note in connection.execute(f"SELECT * FROM sounds {where}", of_part):
                    values[content] = bool(favorite), int(stars), str(note)
                joined = "SELECT hash, name FROM members JOIN collections ON id = collection"
                for content, name in connection.execute(f"{joined} {where} ORDER BY name", of_part):
                    names.setdefault(content, []).append(name)
        return {
            content: Marks(*values.get(content, (False, 0, "")), tuple(names.get(content, ())))
            for content in dict.fromkeys([*values, *names])
        }

    def collections(self) -> dict[str, int]:
        """Return the number of contents per collection, sorted by name."""
        command = (
            "SELECT name, count(hash) FROM collections LEFT JOIN members ON collection = id GROUP BY id ORDER BY name"
        )
        with self._reading() as connection:
            return {str(name): int(count) for name, count in connection.execute(command)}

    def members(self, collection: str) -> list[str]:
        """Return the contents of a collection in the order in which they were added.

        Raises UnknownCollectionError if there is no such collection.
        """
        with self._reading() as connection:
            number = self._number(connection, collection)
            rows = connection.execute("SELECT hash FROM members WHERE collection = ? ORDER BY position", (number,))
            return [str(content) for (content,) in rows]

    def rated(self, *, favorite: bool = False, min_stars: int = 0) -> set[str]:
        """Return the contents that are favorites, if `favorite`, and have at least `min_stars`."""
        with self._reading() as connection:
            command = "SELECT hash FROM sounds WHERE favorite >= ? AND stars >= ?"
            return {str(content) for (content,) in connection.execute(command, (int(favorite), min_stars))}

    def history(self, top: int = 50) -> list[PastQuery]:
        """Return the newest queries first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT time, query, hits FROM queries ORDER BY id DESC LIMIT ?", (min(top, KEPT_QUERIES),)
            )
            return [PastQuery(at, json.loads(query), int(hits)) for at, query, hits in rows]

    # Writing -------------------------------------------------------------------------------------------------------

    def set_favorite(self, hashes: Iterable[str], favorite: bool = True) -> None:
        """Make contents favorites, or favorites no longer."""
        self._set("favorite", int(favorite), hashes)

    def rate(self, hashes: Iterable[str], stars: int) -> None:
        """Rate contents with 1 to 5 stars; 0 deletes the rating."""
        if stars not in range(MOST_STARS + 1):
            raise ConfigError(f"a rating of {stars} is not possible; use 1 to {MOST_STARS}, or 0 for none")
        self._set("stars", stars, hashes)

    def write_note(self, hashes: Iterable[str], text: str) -> None:
        """Replace the note of contents; an empty text deletes it."""
        if not isinstance(text, str):
            raise ConfigError(f"a note must be text, not {type(text).__name__}")
        if len(text) > MAX_NOTE:
            raise ConfigError(f"a note of {len(text)} characters is too long; use at most {MAX_NOTE}")
        self._set("note", text, hashes)

    def collect(self, collection: str, hashes: Iterable[str]) -> None:
        """Add contents to a collection, which is created if it does not exist."""
        if not collection.strip() or not collection.isprintable() or len(collection) > MAX_NAME:
            raise ConfigError(f"{collection!r} is no name of a collection; use 1 to {MAX_NAME} printable characters")
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO collections(name) VALUES (?)", (collection,))
            number = self._number(connection, collection)
            rows = [(number, content) for content in hashes]
            connection.executemany("INSERT OR IGNORE INTO members(collection, hash) VALUES (?, ?)", rows)

    def uncollect(self, collection: str, hashes: Iterable[str]) -> None:
        """Delete contents from a collection. Raises UnknownCollectionError if there is no such collection."""
        with self._writing() as connection:
            number = self._number(connection, collection)
            rows = [(number, content) for content in hashes]
            connection.executemany("DELETE FROM members WHERE collection = ? AND hash = ?", rows)

    def delete_collection(self, collection: str) -> None:
        """Delete a collection; its sounds are not touched. Raises UnknownCollectionError if it does not exist."""
        with self._writing() as connection:
            number = self._number(connection, collection)
            connection.execute("DELETE FROM members WHERE collection = ?", (number,))
            connection.execute("DELETE FROM collections WHERE id = ?", (number,))

    def remember(self, query: Mapping[str, Any], hits: int) -> None:
        """Add a query to the history, which keeps the newest 1,000."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self._writing(copy=False) as connection:
            values = (at, json.dumps(query, ensure_ascii=False), hits)
            connection.execute("INSERT INTO queries(time, query, hits) VALUES (?, ?, ?)", values)
            oldest = "SELECT id FROM queries ORDER BY id DESC LIMIT 1 OFFSET ?"
            connection.execute(f"DELETE FROM queries WHERE id <= ({oldest})", (KEPT_QUERIES,))

    def clear_history(self) -> None:
        """Delete all past queries."""
        with self._writing() as connection:
            connection.execute("DELETE FROM queries")

    def carry_over(self, contents: Sequence[tuple[str, str]]) -> None:
        """Give the second content of each pair the marks of the first, where it has none.

        For a file whose bytes changed, for example because its tags were written.
        """
        if not os.path.lexists(self.path) or not self.marks([before for before, _ in contents]):
            return
        with self._writing() as connection:
            rows = [(after, before) for before, after in contents]
            connection.executemany(
                "INSERT OR IGNORE INTO sounds SELECT ?, favorite, stars, note FROM sounds WHERE hash = ?", rows
            )
            connection.executemany(
                "INSERT OR IGNORE INTO members(collection, hash) SELECT collection, ? FROM members WHERE hash = ? "
                "ORDER BY position",
                rows,
            )

    def restore(self) -> str | None:
        """Replace a damaged database by its copy, or a damaged copy by the database; None if both are in order.

        A damaged database is kept with the suffix `.damaged`. Returns what was done.
        """
        if problem(self.folder) is None:
            return None
        if has_tables(self.path):
            delete(self.folder / COPY)
            with contextlib.closing(open_database(self.path)) as connection:
                self._write_copy(connection)
            return f"{COPY}: written again"
        if os.path.lexists(self.path):
            os.replace(self.path, self.path.with_name(f"{FILE}.damaged"))
        if has_tables(self.folder / COPY):
            with atomic_write(self.path) as part:
                part.write_bytes((self.folder / COPY).read_bytes())
            return f"{FILE}: restored from its copy; past queries may be missing"
        return f"{FILE}: could not be read and has no copy; it is kept as {FILE}.damaged"

    def _set(self, column: str, value: int | str, hashes: Iterable[str]) -> None:
        with self._writing() as connection:
            rows = [(content, value) for content in hashes]
            command = f"INSERT INTO sounds(hash, {column}) VALUES (?, ?) ON CONFLICT(hash) DO UPDATE SET {column}"
            connection.executemany(f"{command} = excluded.{column}", rows)
            connection.execute("DELETE FROM sounds WHERE favorite = 0 AND stars = 0 AND note = ''")

    def _number(self, connection: sqlite3.Connection, collection: str) -> int:
        row = connection.execute("SELECT id FROM collections WHERE name = ?", (collection,)).fetchone()
        if row is None:
            names = [name for (name,) in connection.execute("SELECT name FROM collections")]
            hint = near_miss(collection, names) if names else "there are no collections yet"
            raise UnknownCollectionError(f'"{collection}": there is no such collection; {hint}')
        return int(row[0])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection to the database, or to an empty one if there is none."""
        with database_errors(self.path), contextlib.ExitStack() as stack:
            self._check_not_lost()
            connection = None
            if os.path.lexists(self.path):
                connection = stack.enter_context(contextlib.closing(open_database(self.path)))
            if connection is None or not _version(connection):  # killed before it created the tables
                connection = stack.enter_context(contextlib.closing(sqlite3.connect(":memory:")))
                connection.executescript(_TABLES)
            yield connection

    @contextlib.contextmanager
    def _writing(self, *, copy: bool = True) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction; the block changes everything or nothing."""
        self._check_not_lost()
        with database_errors(self.path), contextlib.closing(open_database(self.path, "rwc")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if not _version(connection):
                    for command in _TABLES.strip().split(";\n"):
                        connection.execute(command)
                    connection.execute(f"PRAGMA user_version = {VERSION}")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # an error of the disk has ended the transaction already
                    connection.execute("ROLLBACK")
                raise
            if copy and (self.folder / SAFETY).is_dir():
                self._write_copy(connection)

    def _write_copy(self, connection: sqlite3.Connection) -> None:
        with self._copying, atomic_write(self.folder / COPY) as part:
            _copy_to(part, connection)

    def _check_not_lost(self) -> None:
        """Raise UnusableLibraryError if the database is missing or empty although it has a copy."""
        if _is_empty(self.path) and has_tables(self.folder / COPY):
            fix = f"run `aural library repair --library {self.folder}`, or delete {COPY} to begin an empty one"
            raise UnusableLibraryError(f"{self.path}: is missing or empty, but has a copy; {fix}")


def problem(folder: Path) -> str | None:
    """Return what is wrong with the notebook of a library or with its copy; None if both are in order."""
    path, copy = folder / FILE, folder / COPY
    if not is_readable(path):
        return f"{FILE}: cannot be read; a repair restores it from its copy"
    if _is_empty(path) and has_tables(copy):
        return f"{FILE}: is missing or empty; a repair restores it from its copy"
    if os.path.lexists(copy) and has_tables(path) and not has_tables(copy):
        return f"{COPY}: cannot be read; a repair writes it again"
    return None


def has_tables(path: Path) -> bool:
    """Return whether a file is a notebook that can be read and was written to."""
    return path.is_file() and path.stat().st_size > 0 and is_readable(path)


def _is_empty(path: Path) -> bool:
    return not os.path.lexists(path) or (path.is_file() and not path.stat().st_size)


def is_readable(path: Path) -> bool:
    """Return whether a notebook is missing, which is no error, or passes SQLite's integrity check."""
    if not os.path.lexists(path):
        return True
    try:
        with contextlib.closing(open_database(path)) as connection:
            intact = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return intact and _version(connection) in (0, VERSION)
    except (sqlite3.Error, DataError):
        return False


def _copy_to(path: Path, connection: sqlite3.Connection) -> None:
    with contextlib.closing(sqlite3.connect(path)) as target:
        connection.backup(target)


def _version(connection: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 if there are none. Raises DataError for a later version."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise DataError(f"{FILE}: has version {version}, this version of aural reads up to {VERSION}; update aural")
    return version


def _blocks(hashes: Collection[str] | None) -> Iterator[tuple[str, ...] | None]:
    """Yield the hashes in blocks that one command can hold; None for all."""
    if hashes is None:
        yield None
        return
    ordered = list(dict.fromkeys(hashes))
    for start in range(0, len(ordered), BLOCK):
        yield tuple(ordered[start : start + BLOCK])


def _holes(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
