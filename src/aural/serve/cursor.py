"""Cursors of search results: where a page ended, as a short text that belongs to one query.

A cursor holds the rank value and id of the last hit and the number of hits before it. The next page is searched again
and begins after that hit, so pages never repeat a sound, also if the library changes in between.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Final

from aural.core.errors import ConfigError

_LAYOUT: Final = struct.Struct(">Id8s8s")


@dataclass(frozen=True, slots=True)
class Position:
    """The end of a page. shown: hits up to here. value: rank value of the last one. file: its id in the library."""

    shown: int
    value: float
    file: str

    def is_before(self, value: float, file: str) -> bool:
        """Return whether a hit comes after this position; higher values come first, equal ones by id."""
        return (-value, file) > (-self.value, self.file)


def encode(position: Position, query: str) -> str:
    """Return the cursor of a position. query: 16 hex digits that identify the query."""
    packed = _LAYOUT.pack(position.shown, position.value, bytes.fromhex(position.file), bytes.fromhex(query))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(cursor: str, query: str) -> Position:
    """Return the position of a cursor. Raises ConfigError if it is damaged or belongs to another query."""
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        shown, value, file, of_query = _LAYOUT.unpack(packed)
    except (binascii.Error, ValueError, struct.error):
        raise ConfigError("cursor: is not from this server; send `next_cursor` of the page before") from None
    if of_query.hex() != query:
        raise ConfigError("cursor: belongs to another query; repeat all other fields of the page before")
    return Position(shown, value, file.hex())
