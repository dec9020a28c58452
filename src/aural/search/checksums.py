"""Record the size and checksum of every file of a library's table, and compare the files with the record.

The files of the table have no checksums, so that a flipped bit would change results without an error. After
every commit the writer records the files of the newest version in `safety/checksums.json`, and copies the small ones
that cannot be computed again (the version's manifest and the lists of deleted rows) to `safety/copies`. A writer that
is killed between a commit and its record leaves files without a checksum; they are recorded after the next commit.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aural.core.errors import DataError
from aural.core.files import atomic_write, check_regular, write_text
from aural.search.folder import LOCK, SAFETY, TABLE_FOLDER, DamagedLibraryError
from aural.search.lance_files import VERSIONS, Version, read_version, version_names

RECORD: Final = f"{SAFETY}/checksums.json"
COPIES: Final = f"{SAFETY}/copies"
OPEN_BYTES: Final = 64 << 20
"""Bytes that are read to compare checksums when a library is opened, smallest files first; of further files, sizes."""

BLOCK_BYTES: Final = 1 << 20
_ENDS: Final = {".arrow": b"ARROW1", ".bin": b""}
"""Last bytes of a complete list of deleted rows by its suffix."""


@dataclass(frozen=True, slots=True)
class FileDamage:
    """A file that differs from its record: its path relative to the library, and what is wrong with it."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Record:
    """The recorded version and, per file relative to the library, [size in bytes, CRC-32]."""

    version: int
    files: Mapping[str, list[int]]


def record_files(folder: Path) -> None:
    """Record the files of the newest version of the library in `folder`; the caller holds the writer's lock.

    A file that is recorded already keeps its record, because files of a table never change.
    """
    table = folder / TABLE_FOLDER
    version = newest_version(folder)
    try:
        earlier: Mapping[str, list[int]] = read_record(folder).files
    except DataError:
        earlier = {}
    files: dict[str, list[int]] = {}
    for name in version.files(table):
        path = f"{TABLE_FOLDER}/{name}"
        if (folder / path).is_file():
            files[path] = earlier.get(path) or measure(folder / path)
    copied = _copy_small_files(folder, version)
    content: dict[str, Any] = {"aural": 1, "version": version.number, "files": files}
    (folder / SAFETY).mkdir(exist_ok=True)
    write_text(folder / RECORD, json.dumps(content | {"crc32": _sum_of(content)}, indent=1) + "\n")
    copies = folder / COPIES / TABLE_FOLDER
    for copy in list(copies.rglob("*")):
        if copy.is_file() and copy.relative_to(copies).as_posix() not in copied:
            with contextlib.suppress(OSError):  # it is deleted after the next commit
                copy.unlink()
                if not any(copy.parent.iterdir()):
                    copy.parent.rmdir()


def incomplete_file(folder: Path) -> str | None:
    """Return a file of the newest version that the disk refused a part of, or None.

    LanceDB may commit a version with such a file. The manifest states the sizes of data and indexes; a list of deleted
    rows is an Arrow file, which ends with its magic number, or a bitmap, which is not empty.
    """
    table = folder / TABLE_FOLDER
    version = newest_version(folder)
    for name, size in version.sizes.items():
        if size and (not (table / name).is_file() or (table / name).stat().st_size != size):
            return f"{TABLE_FOLDER}/{name}"
    for name in (part.deletion for part in version.fragments if part.deletion):
        if not (table / name).is_file() or not (table / name).read_bytes().endswith(_ENDS[Path(name).suffix]):
            return f"{TABLE_FOLDER}/{name}"
        if not (table / name).stat().st_size:
            return f"{TABLE_FOLDER}/{name}"
    return None


def newest_version(folder: Path) -> Version:
    """Return the newest version of the library's table. Raises DataError if there is none or it cannot be read."""
    table = folder / TABLE_FOLDER
    names = version_names(table)
    if not names:
        raise DataError(f"{table / VERSIONS}: holds no version of the table")
    return read_version(table, names[0][1])


def read_record(folder: Path) -> Record:
    """Read the record. Raises DataError if it is missing or damaged."""
    try:
        check_regular(folder / RECORD)
        content = json.loads((folder / RECORD).read_bytes())
        if content.pop("crc32") != _sum_of(content):
            raise ValueError("its content changed")
        return Record(int(content["version"]), content["files"])
    except OSError as error:
        raise DataError(f"{RECORD}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{RECORD}: is damaged ({error})") from None


def damages(folder: Path, read_bytes: int | None = None) -> list[FileDamage]:
    """Compare the files of the newest version with the record and return those that differ.

    read_bytes: limit of the bytes that are read; None reads every file. Without a record, as in a library that was
    written before there were records, only missing files are reported.
    """
    no_record = Record(0, {})
    if not os.path.lexists(folder / RECORD):
        return _compare(folder, no_record, read_bytes)
    try:
        return _compare(folder, read_record(folder), read_bytes)
    except DataError as error:
        return [FileDamage(RECORD, str(error).partition(": ")[2]), *_compare(folder, no_record, read_bytes)]


def check_opened(folder: Path) -> None:
    """Raise DataError if the library in `folder` is damaged, as far as `OPEN_BYTES` show it.

    A writer may replace files while they are compared. They are then compared again.
    """
    for attempt in range(5):
        differing = damages(folder, OPEN_BYTES)
        if not differing:
            return
        time.sleep(0.02 * attempt)
    if not _is_written(folder):
        raise DamagedLibraryError(folder, str(differing[0]))


def measure(path: Path) -> list[int]:
    """Return the size in bytes and the CRC-32 of a file."""
    size = value = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            value = zlib.crc32(block, value)
            size += len(block)
    return [size, value]


def sound_copies(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield every file below `safety/copies` with the path of its original relative to the library.

    A copy that differs from the record is left out, and so is the temporary file of a process that was killed.
    """
    try:
        files: Mapping[str, list[int]] | None = read_record(folder).files
    except DataError:
        files = None
    copies = folder / COPIES
    for path in sorted(copies.rglob("*")):
        name = path.relative_to(copies).as_posix()
        if path.name.startswith(".") or not path.is_file():
            continue
        if files is None or measure(path) == files.get(name):
            yield path, name


def damaged_copies(folder: Path) -> list[FileDamage]:
    """Return the record, or the copies of the recorded small files, that are missing or damaged."""
    try:
        files = read_record(folder).files
    except DataError as error:
        return [FileDamage(RECORD, str(error).partition(": ")[2])] if os.path.lexists(folder / RECORD) else []
    small = [name for name in files if "/_versions/" in name or "/_deletions/" in name]
    checked = ((name, _difference(folder / COPIES / name, files[name], read=True)) for name in small)
    return [FileDamage(f"{COPIES}/{name}", reason) for name, reason in checked if reason]


def _compare(folder: Path, record: Record, read_bytes: int | None) -> list[FileDamage]:
    table = folder / TABLE_FOLDER
    names = version_names(table)
    newest = next((name for name in record.files if f"/{VERSIONS}/" in name), f"{TABLE_FOLDER}/{VERSIONS}")
    if not names or names[0][0] < record.version:
        return [FileDamage(newest, "is missing")]
    path = f"{TABLE_FOLDER}/{names[0][1]}"
    if path in record.files and (reason := _difference(folder / path, record.files[path], read=True)):
        return [FileDamage(path, reason)]
    try:
        version = read_version(table, names[0][1])
    except DataError as error:
        return [FileDamage(path, str(error).partition(": ")[2])]
    needed = [f"{TABLE_FOLDER}/{name}" for name in version.files(table)]
    indexes = tuple(f"{TABLE_FOLDER}/{name}/" for name in version.indexes)
    needed += [name for name in record.files if name.startswith(indexes) and name not in needed]
    sizes = {name: record.files.get(name, [0])[0] for name in needed}
    left = read_bytes
    differing: list[FileDamage] = []
    for name in sorted(needed, key=lambda name: sizes[name]):
        read = left is None or sizes[name] <= left
        if left is not None and read:
            left -= sizes[name]
        if reason := _difference(folder / name, record.files.get(name), read=read):
            differing.append(FileDamage(name, reason))
    return differing


def _difference(path: Path, recorded: list[int] | None, *, read: bool) -> str:
    """Return what is wrong with a file, or nothing."""
    try:
        if not path.is_file():
            return "is a folder instead of a file" if path.is_dir() else "is missing"
        size = path.stat().st_size
        if recorded is not None and size != recorded[0]:
            return f"has {size} bytes instead of {recorded[0]}"
        if recorded is not None and read and measure(path) != recorded:
            return "its content changed"
        if recorded is None and not os.access(path, os.R_OK):
            return "cannot be read (Permission denied)"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def _copy_small_files(folder: Path, version: Version) -> set[str]:
    """Copy the manifest and the lists of deleted rows of a version; return their names."""
    names = {version.name} | {part.deletion for part in version.fragments if part.deletion}
    copies = folder / COPIES / TABLE_FOLDER
    for name in sorted(names):
        copy = copies / name
        if not copy.is_file():
            with atomic_write(copy, parents=True) as part:
                shutil.copyfile(folder / TABLE_FOLDER / name, part)
    return names


def _is_written(folder: Path) -> bool:
    """Return whether a process holds the writer's lock of the library."""
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _sum_of(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
