"""Open SQLite databases of a library, and turn the errors of SQLite into one sentence."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aural.core.errors import ConfigError
from aural.search.folder import BusyLibraryError, UnusableLibraryError

WAIT_S: Final = 20.0
"""Seconds to wait for another process that writes."""


def open_database(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """Return a connection without implicit transactions. mode: rw, or rwc to create the file."""
    # Not read-only: SQLite completes a transaction that was interrupted. A file without permission is only read.
    address = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=WAIT_S, isolation_level=None)


@contextlib.contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite into one sentence."""
    try:
        yield
    except UnicodeEncodeError:
        fix = "decode it again"
        raise ConfigError(
            f"a text holds half a character (a lone surrogate), so it is not valid Unicode; {fix}"
        ) from None
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise BusyLibraryError(f"{path}: another process is writing to it; try again") from None
        reason = f"cannot be written or read ({error}); check the folder's permissions and the free space"
        raise UnusableLibraryError(f"{path}: {reason}") from None
    except sqlite3.DatabaseError as error:
        fix = f"run `aural library repair --library {path.parent}`"
        raise UnusableLibraryError(f"{path}: is damaged ({error}); {fix}") from None
