"""Read which files a version of a Lance table needs: its fragments, deletion files and indexes.

LanceDB reports how many fragments a table has, not which files they are. This module decodes the few fields of a
version's manifest that name them (`table.proto` of the Lance format). A version is immutable, and so are its files.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aural.core.errors import DataError
from aural.core.files import check_regular

VERSIONS: Final = "_versions"
SUFFIX: Final = ".manifest"
_MAGIC: Final = b"LANC"
_FOOTER: Final = struct.Struct("<QHH4s")  # position of the manifest, version of the format, magic
_LENGTH: Final = struct.Struct("<I")
_NEWEST: Final = 2**64 - 1
"""Names of manifests count down from here, so that the newest version is the first name; older tables count up."""

Field = tuple[int, int | bytes]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A part of a table: its number, the rows written (deleted ones included), and its files below the table."""

    number: int
    rows: int
    data: tuple[str, ...]
    deletion: str | None


@dataclass(frozen=True, slots=True)
class Version:
    """A committed version of a table.

    indexes: the folder of each index below the table, and its name. sizes: the bytes of the files whose size the
    manifest states.
    """

    number: int
    name: str
    fragments: tuple[Fragment, ...]
    indexes: Mapping[str, str]
    sizes: Mapping[str, int]

    def files(self, table: Path) -> list[str]:
        """Return every file that this version needs, relative to the folder `table`; index files as they are there."""
        names = [self.name]
        for fragment in self.fragments:
            names += [*fragment.data, *([fragment.deletion] if fragment.deletion else [])]
        for index in self.indexes:
            inside = [path for path in sorted((table / index).rglob("*")) if not path.is_dir()]
            names += [path.relative_to(table).as_posix() for path in inside] or [index]
        return names


def version_names(table: Path) -> list[tuple[int, str]]:
    """Return the number and manifest of every version of a table, the newest first."""
    names: list[tuple[int, str]] = []
    for path in (table / VERSIONS).glob(f"*{SUFFIX}"):
        if path.stem.isdecimal():
            number = int(path.stem)
            names.append((_NEWEST - number if number > _NEWEST // 2 else number, f"{VERSIONS}/{path.name}"))
    return sorted(names, reverse=True)


def newest_number(table: Path) -> int:
    """Return the number of the newest version of a table by the names of its manifests; 0 if there is none.

    Faster than `version_names`, for every search. Raises OSError if the folder cannot be read.
    """
    stems = (name.removesuffix(SUFFIX) for name in os.listdir(table / VERSIONS) if name.endswith(SUFFIX))
    numbers = (int(stem) for stem in stems if stem.isdecimal())
    return max((_NEWEST - number if number > _NEWEST // 2 else number for number in numbers), default=0)


def read_version(table: Path, name: str) -> Version:
    """Read a version's manifest. Raises DataError if it cannot be read or is not a manifest."""
    path = table / name
    try:
        check_regular(path)
        content = path.read_bytes()
        position, _, _, magic = _FOOTER.unpack(content[-_FOOTER.size :])
        if magic != _MAGIC:
            raise ValueError("it does not end like a manifest")
        values = list(_fields(_message(content, position)))
        number = next((value for key, value in values if key == 3), 0)
        section = next((value for key, value in values if key == 6), None)
        sizes: dict[str, int] = {}
        fragments = tuple(_fragment(_bytes(value), sizes) for key, value in values if key == 2)
        indexes: dict[str, str] = {}
        if section is not None:
            entries = _fields(_message(content, int(section)))
            indexes = dict(_index(_bytes(value), sizes) for key, value in entries if key == 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, IndexError, struct.error) as error:
        raise DataError(f"{path}: is not a manifest of a table ({error})") from None
    return Version(int(number), name, fragments, indexes, sizes)


def _fragment(content: bytes, sizes: dict[str, int]) -> Fragment:
    number = rows = 0
    data: list[str] = []
    deletion = None
    for key, value in _fields(content):
        if key == 1:
            number = int(value)
        elif key == 2:
            data.append("data/" + _first(_bytes(value), 1).decode())
            sizes[data[-1]] = next((int(size) for inner, size in _fields(_bytes(value)) if inner == 6), 0)
        elif key == 3:
            parts = dict(_fields(_bytes(value)))
            kind = "bin" if parts.get(1) else "arrow"
            deletion = f"_deletions/{{}}-{parts.get(2, 0)!r}-{parts.get(3, 0)!r}.{kind}"
        elif key == 4:
            rows = int(value)
    return Fragment(number, rows, tuple(data), deletion.format(number) if deletion else None)


def _index(content: bytes, sizes: dict[str, int]) -> tuple[str, str]:
    """Return the folder and the name of an index."""
    folder = f"_indices/{uuid.UUID(bytes=_first(_first(content, 1), 1))}"
    for number, value in _fields(content):
        if number == 10:
            file = _first(_bytes(value), 1).decode()
            sizes |= {f"{folder}/{file}": int(size) for inner, size in _fields(_bytes(value)) if inner == 2}
    return folder, _first(content, 3).decode()


# Protocol buffers --------------------------------------------------------------------------------------------------


def _message(content: bytes, position: int) -> bytes:
    (length,) = _LENGTH.unpack(content[position : position + _LENGTH.size])
    start = position + _LENGTH.size
    if start + length > len(content):
        raise ValueError("it is cut off")
    return content[start : start + length]


def _fields(content: bytes) -> Iterator[Field]:
    """Yield the number and value of every field of a message: an integer, or bytes."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        wire = key & 7
        if wire == 0:
            number, at = _varint(content, at)
            yield key >> 3, number
            continue
        if wire == 2:
            length, at = _varint(content, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"field {key >> 3} has the unknown kind {wire}")
        if at + length > len(content):
            raise ValueError(f"field {key >> 3} is cut off")
        yield key >> 3, content[at : at + length]
        at += length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")


def _first(content: bytes, wanted: int) -> bytes:
    """Return the first field with this number of a message."""
    for number, value in _fields(content):
        if number == wanted:
            return _bytes(value)
    raise ValueError(f"field {wanted} is missing")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a field is a number instead of bytes")
    return value
