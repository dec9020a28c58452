"""Full-text search over file names, folders, tags and embedded metadata of a library, next to its vectors.

The index is an SQLite database with an FTS5 table (BM25 with the Porter stemmer). It is derived from the library's
table and facts (metadata that `analyze` read) and brought up to date when it is older; a damaged or missing one is
built again. Where the folder cannot be written, it is built in memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote

from aural.search.facts import Facts
from aural.search.filters import FIRST_WINDOWS
from aural.search.lance import LanceStore

FILE: Final = "words.sqlite"
VERSION: Final = 2
"""Counts up when the texts or the tables change; an index of another version is built again."""
WEIGHTS: Final = (1.0, 0.5, 1.0, 1.0)
"""BM25 weights of name, folders, tags and metadata."""
METADATA: Final = ("title", "description", "artist", "creator", "genre", "category", "subcategory")
"""Columns of the facts that are indexed."""
FOLDERS: Final = 3
"""Number of folders above a file that are indexed."""
STOP_WORDS: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "off",
        "on",
        "one",
        "or",
        "out",
        "over",
        "sound",
        "sounds",
        "that",
        "the",
        "there",
        "these",
        "this",
        "to",
        "up",
        "with",
        "someone",
        "somebody",
        "something",
    ]
)
_TABLES: Final = """
CREATE TABLE docs(id INTEGER PRIMARY KEY, file TEXT UNIQUE, text TEXT);
CREATE VIRTUAL TABLE words USING fts5(name, folders, tags, metadata, tokenize = 'porter unicode61 remove_diacritics 2');
CREATE TABLE state(version INTEGER, commits INTEGER, facts TEXT);
INSERT INTO state VALUES (0, -1, '');
"""
_BOUNDARY: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|_")


def split_name(name: str) -> str:
    """Return a name with its words separated: at underscores, changes of case, and between letters and digits.

    >>> split_name("RainOnTinRoof_02"), split_name("UIClick3b")
    ('Rain On Tin Roof 02', 'UI Click 3 b')
    """
    return " ".join(_BOUNDARY.sub(" ", name).split())


def indexed_texts(path: str, tags: Sequence[str]) -> tuple[str, str, str]:
    """Return what is indexed of a file: its name, its last three folders, and its tags."""
    pure = PurePosixPath(path.replace("\\", "/"))
    folders = [part for part in pure.parts[:-1] if part not in ("/", "..")][-FOLDERS:]
    return split_name(pure.stem), " ".join(split_name(folder) for folder in folders), " ".join(tags)


def query_of(texts: Sequence[str]) -> str:
    """Return the FTS5 query for any of the words of the texts, or "" if they hold stop words only.

    >>> query_of(["the sound of a dog", "Rain!"])
    '"dog" OR "rain"'
    """
    tokens = [token for text in texts for token in re.findall(r"[^\W_]+", text.lower()) if token not in STOP_WORDS]
    return " OR ".join(f'"{token}"' for token in dict.fromkeys(tokens))


def is_readable(path: Path) -> bool:
    """Return whether an index is missing, which is no error, or passes SQLite's integrity check."""
    if not os.path.lexists(path):
        return True
    try:
        # Not read-only: SQLite completes a transaction that was interrupted.
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as connection:
            rows = connection.execute("PRAGMA integrity_check").fetchall()
            if _state(connection)[0]:
                connection.execute("SELECT count(*) FROM words").fetchone()
    except sqlite3.Error:
        return False
    return [tuple(row) for row in rows] == [("ok",)]


class WordIndex:
    """The words of all files of a library. Several threads and processes may use one folder.

    facts: of the library; by default those in `folder`.
    """

    def __init__(self, folder: Path, store: LanceStore, facts: Facts | None = None) -> None:
        self.path, self.store = folder / FILE, store
        self.facts = facts or Facts(folder)
        self._memory: sqlite3.Connection | None = None

    def search(self, texts: Sequence[str], top: int) -> dict[str, float]:
        """Return the `top` files that hold any of the words, file id to BM25 score (above 0), best first."""
        query = query_of(texts)
        if not query:
            return {}
        command = (
            f"SELECT docs.file, -bm25(words, {', '.join(map(str, WEIGHTS))}) AS score FROM words "
            "JOIN docs ON docs.id = words.rowid WHERE words MATCH ? ORDER BY score DESC, docs.file LIMIT ?"
        )
        with self._current() as connection:
            return dict(connection.execute(command, (query, top)).fetchall())

    def update(self) -> None:
        """Bring the index up to date with the library's table."""
        with self._current():
            pass

    @contextlib.contextmanager
    def _current(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection to an index of the table's newest version."""
        try:
            connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            try:
                self._follow(connection)
                yield connection
            finally:
                connection.close()
            return
        except sqlite3.OperationalError as error:
            if not _unwritable(error):
                raise
        except sqlite3.DatabaseError:
            self.path.unlink(missing_ok=True)
            with self._current() as connection:
                yield connection
            return
        if self._memory is None:
            self._memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._follow(self._memory)
        yield self._memory

    def _follow(self, connection: sqlite3.Connection) -> None:
        """Insert, replace and delete what changed in the table since the index was written, in one transaction."""
        newest = VERSION, self.store.version, self.facts.state()
        if _state(connection) == newest:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            present = _state(connection)
            if present != newest:  # another process may have done it meanwhile
                if present[0] != VERSION:
                    _create(connection)
                _apply(connection, self._texts())
                connection.execute("UPDATE state SET version = ?, commits = ?, facts = ?", newest)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # an error of the disk has ended the transaction already
                connection.execute("ROLLBACK")
            raise

    def _texts(self) -> dict[str, tuple[str, ...]]:
        names = ("file", "path", "tags", "hash")
        rows = self.store.rows(names, FIRST_WINDOWS)
        facts = self.facts.columns()
        joined = (" ".join(map(str, values)) for values in zip(*(facts[name] for name in METADATA), strict=True))
        metadata = dict(zip(facts["hash"], joined, strict=True))
        columns = (rows[name].to_pylist() for name in names)
        return {
            file: (*indexed_texts(path, tags or ()), split_name(metadata.get(content, "")))
            for file, path, tags, content in zip(*columns, strict=True)
        }


def _state(connection: sqlite3.Connection) -> tuple[int, int, str]:
    """Return the version of the index, of its table and of its facts; (0, -1, "") without tables or of version 1."""
    columns = [row[1] for row in connection.execute("PRAGMA table_info(state)")]
    if "facts" not in columns:
        return 0, -1, ""
    version, commits, facts = connection.execute("SELECT version, commits, facts FROM state").fetchone()
    return int(version), int(commits), str(facts)


def _create(connection: sqlite3.Connection) -> None:
    for name in ("docs", "words", "state"):
        connection.execute(f"DROP TABLE IF EXISTS {name}")
    for command in _TABLES.strip().split("\n"):
        connection.execute(command)


def _apply(connection: sqlite3.Connection, texts: Mapping[str, tuple[str, ...]]) -> None:
    """Make the tables hold exactly these texts."""
    joined = {file: "\n".join(parts) for file, parts in texts.items()}
    present = {file: (number, text) for number, file, text in connection.execute("SELECT id, file, text FROM docs")}
    stale = [(number,) for file, (number, text) in present.items() if joined.get(file) != text]
    connection.executemany("DELETE FROM words WHERE rowid = ?", stale)
    connection.executemany("DELETE FROM docs WHERE id = ?", stale)
    for file, text in joined.items():
        if file not in present or present[file][1] != text:
            cursor = connection.execute("INSERT INTO docs(file, text) VALUES (?, ?)", (file, text))
            values = (cursor.lastrowid, *texts[file])
            connection.execute("INSERT INTO words(rowid, name, folders, tags, metadata) VALUES (?, ?, ?, ?, ?)", values)


def _unwritable(error: sqlite3.OperationalError) -> bool:
    """Return whether the folder or disk refuses to hold the index, so that memory must do."""
    return error.sqlite_errorcode & 0xFF in (
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
    )
