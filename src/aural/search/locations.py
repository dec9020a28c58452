"""Locate sounds in files, folders, object stores (any fsspec location) and tars.

An address names one sound. It is an absolute path, a URL (`s3://bucket/rain.wav`), or the address of a tar followed by
the name of a member (`s3://bucket/shard-000000.tar!/00000007.flac`). A location is what a user gives: a sound, a tar,
or a folder with both.

`source_of` is the only place that decides from an address what kind of place it is. The result is a
`aural.core.types.Source`, which the rest of the program opens without asking again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from aural.audio.find import SOUND_SUFFIXES
from aural.core.errors import AudioError, DataError
from aural.core.files import check_regular
from aural.core.types import Source

TAR_SEPARATOR: Final = ".tar!/"
"""End of a tar's address, followed by the name of the member."""

BUFFER_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A sound with its size in bytes and its modification time in nanoseconds.

    A member of a tar has the time of the tar. An object whose store reports no time has 0.
    """

    source: Source
    size: int
    mtime_ns: int

    @property
    def path(self) -> str:
        """Address of the sound."""
        return self.source.name

    @property
    def file(self) -> str:
        """Id of the sound in a library; see `file_id`."""
        return file_id(self.path)

    @property
    def modified(self) -> str:
        """Time in UTC, such as `2026-11-22T19:22:35Z`; these strings sort like the times."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.mtime_ns // 1_000_000_000))


@dataclass(slots=True)
class Listing:
    """The sounds of a location, the errors met while listing it, and the addresses of damaged tars."""

    files: list[FoundFile] = field(default_factory=list)
    errors: list[AudioError] = field(default_factory=list)
    damaged_tars: list[str] = field(default_factory=list)


def file_id(path: str) -> str:
    """Return the id of a sound in a library: 16 hex digits that depend only on its address."""
    return hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()


def address_of(location: str | Path) -> str:
    """Return the form of a location that is stored: an absolute path, or a URL without a final slash."""
    text = str(location)
    if not text.strip():
        raise DataError("a location is empty; name a file, a folder, a tar or a URL")
    if _is_url(text) and not text.startswith("file://"):
        return text.rstrip("/")
    return os.path.abspath(text.removeprefix("file://"))


def is_storable(address: str) -> bool:
    """Return whether an address is valid Unicode, as tables and cards store it; a name that is not UTF-8 is not."""
    return not any("\ud800" <= letter <= "\udfff" for letter in address)


def is_below(address: str, location: str) -> bool:
    """Return whether an address is in a location; both in the form of `address_of`."""
    return address == location or address.startswith((location.rstrip("/") + "/", location + "!/"))


def source_of(address: str) -> Source:
    """Return the sound at an address as a `Source`, without reading anything.

    >>> source_of("/sounds/rain.wav").path
    '/sounds/rain.wav'
    >>> source_of("/sounds/shard.tar!/rain.wav").path is None
    True
    """
    place = _place(address)
    return Source(address, place.open, address if isinstance(place, _LocalFile) else None)


def find(address: str) -> FoundFile:
    """Return the sound at an address with its present size and time. Raises AudioError if it does not exist."""
    return FoundFile(source_of(address), *_place(address).size_and_time())


def local_part(address: str) -> tuple[str, int, int | None] | None:
    """Return the file of this machine that contains a sound, and the sound's offset and size in it in bytes.

    The size is None if the sound is the file. Returns None for objects of a store and for members of tars there. Raises
    AudioError if the tar has no such member.
    """
    place = _place(address)
    if isinstance(place, _TarMember) and isinstance(place.tar, _LocalFile):
        (offset, size), _ = place.entry()
        return place.tar.address, offset, size
    return (place.address, 0, None) if isinstance(place, _LocalFile) else None


def listing(location: str | Path) -> Listing:
    """List every sound of a location, sorted by address. Hidden files are left out.

    Raises DataError if an object store cannot be reached, because its sounds must not be reported as deleted then.
    """
    address = address_of(location)
    result = Listing()
    for file in sorted(_files_and_tars(address, result), key=lambda file: file.path):
        if not file.path.endswith(".tar"):
            result.files.append(file)
            continue
        try:
            if os.path.isdir(f"{file.path}!"):
                raise AudioError(f'{file.path}: a folder has the name of this tar and "!"; rename one of them')
            members = _tar_index(_place(file.path), file.size, file.mtime_ns)
        except AudioError as error:
            result.errors.append(error)
            result.damaged_tars.append(file.path)
            continue
        for name, (_, size) in members.items():
            result.files.append(FoundFile(source_of(f"{file.path}!/{name}"), size, file.mtime_ns))
    return result


def content_hash(source: Source) -> str:
    """Return 32 hex digits that identify the bytes of a sound (BLAKE2b). Raises AudioError if they cannot be read."""
    state = hashlib.blake2b(digest_size=16)
    try:
        with source.open() as file:
            while block := file.read(1 << 20):
                state.update(block)
    except OSError as error:
        raise AudioError(f"{source.name}: cannot be read ({error.strerror or error})") from None
    return state.hexdigest()


# Places: each knows how to report size and time and how to open the bytes ------------------------------------------


@dataclass(frozen=True, slots=True)
class _LocalFile:
    address: str

    def size_and_time(self) -> tuple[int, int]:
        try:
            status = check_regular(Path(self.address), AudioError)
        except UnicodeEncodeError:
            raise AudioError(f"{self.address}: its name is not UTF-8; rename the file") from None
        except (OSError, ValueError) as error:
            dangling = isinstance(error, FileNotFoundError) and os.path.islink(self.address)
            reason = getattr(error, "strerror", None) or error
            shown = "is a link to a file that does not exist" if dangling else f"cannot be read ({reason})"
            raise AudioError(f"{self.address}: {shown}") from None
        return status.st_size, status.st_mtime_ns

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        try:
            with open(self.address, "rb") as file:
                yield file
        except OSError as error:
            raise AudioError(f"{self.address}: cannot be read ({error.strerror})") from None


@dataclass(frozen=True, slots=True)
class _StoredObject:
    address: str

    def size_and_time(self) -> tuple[int, int]:
        system, inner = _filesystem(self.address)
        return _object_size_and_time(_ask(self.address, system.info, inner))

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        system, inner = _filesystem(self.address)
        size, _ = _object_size_and_time(_ask(self.address, system.info, inner))
        with _ask(self.address, system.open, inner, "rb") as file:
            yield section(file, 0, size, self.address)


@dataclass(frozen=True, slots=True)
class _TarMember:
    tar: _LocalFile | _StoredObject
    member: str

    @property
    def address(self) -> str:
        return f"{self.tar.address}!/{self.member}"

    def size_and_time(self) -> tuple[int, int]:
        (_, size), mtime_ns = self.entry()
        return size, mtime_ns

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        (offset, size), _ = self.entry()
        with self.tar.open() as file:
            yield section(file, offset, size, self.address)

    def entry(self) -> tuple[tuple[int, int], int]:
        """Return the member's (offset, size) in bytes and the time of the tar, as the tar is now."""
        tar_size, mtime_ns = self.tar.size_and_time()
        members = _tar_index(self.tar, tar_size, mtime_ns)
        if self.member not in members:
            raise AudioError(f"{self.address}: the tar has no such member")
        return members[self.member], mtime_ns


_Place: TypeAlias = _LocalFile | _StoredObject | _TarMember


def _place(address: str) -> _Place:
    end = address.find(TAR_SEPARATOR)
    while end >= 0:
        tar, member = address[: end + len(".tar")], address[end + len(TAR_SEPARATOR) :]
        if not os.path.isdir(f"{tar}!"):  # else the separator is part of a folder's name
            return _TarMember(_StoredObject(tar) if _is_url(tar) else _LocalFile(tar), member)
        end = address.find(TAR_SEPARATOR, end + 1)
    return _StoredObject(address) if _is_url(address) else _LocalFile(address)


def _is_url(address: str) -> bool:
    return "://" in address


# Listing -----------------------------------------------------------------------------------------------------------


def _files_and_tars(address: str, result: Listing) -> Iterator[FoundFile]:
    """Yield the sounds and tars of a location; tars are not opened. Errors are added to `result`."""
    if isinstance(_place(address), _StoredObject):
        yield from _stored_objects(address, result)
        return
    folder = Path(address)
    try:
        is_folder = folder.is_dir()
    except OSError:  # the name is too long
        is_folder = False
    paths = [address]
    if is_folder:
        paths = [str(path) for path in folder.rglob("*") if is_listed(str(path.relative_to(folder)))]
    for path in paths:
        if is_folder and os.path.isdir(path):
            continue
        try:
            yield find(path)
        except AudioError as error:
            result.errors.append(error)


def _stored_objects(address: str, result: Listing) -> Iterator[FoundFile]:
    system, inner = _filesystem(address)
    objects: Mapping[str, Any] = {}
    try:
        objects = _ask(address, lambda: system.find(inner, detail=True))
        if not objects:
            result.errors.append(AudioError(f"{address}: no such object, or a folder without sounds"))
    except AudioError as error:
        result.errors.append(error)
    for name, info in objects.items():
        relative = name.removeprefix(inner).strip("/")
        if not relative or is_listed(relative):
            path = f"{address}/{relative}".rstrip("/")
            yield FoundFile(source_of(path), *_object_size_and_time(info))


def is_listed(relative: str) -> bool:
    """Return whether a file of a folder is listed: it is a sound or a tar and neither it nor its folders are hidden."""
    suffix = os.path.splitext(relative)[1].lower()
    hidden = any(part.startswith(".") for part in relative.split("/"))
    return (suffix in SOUND_SUFFIXES or suffix == ".tar") and not hidden


@lru_cache(maxsize=64)
def _tar_index(tar: _Place, size: int, mtime_ns: int) -> dict[str, tuple[int, int]]:
    """Return the sounds of a tar: member name -> (offset, size) in bytes. Raises AudioError if it is damaged.

    size and mtime_ns are part of the cache key, so that a changed tar is read again.
    """
    members: dict[str, tuple[int, int]] = {}
    with tar.open() as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for member in archive:
                    if member.offset_data + member.size > size:
                        raise tarfile.ReadError(f"{member.name} is cut off")
                    if member.isfile() and is_listed(member.name) and not member.name.endswith(".tar"):
                        members[member.name] = (member.offset_data, member.size)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise AudioError(f"{tar.address}: is damaged ({error}); write the tar again") from None
    return members


# Object stores -----------------------------------------------------------------------------------------------------


def _filesystem(address: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path inside it."""
    import fsspec  # a dependency of torch

    try:
        system, inner = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise DataError(f"{address}: cannot be reached ({error})") from None
    system.invalidate_cache()
    return system, inner


def _ask(address: str, request: Any, *arguments: Any) -> Any:
    """Call a store. Raises AudioError if the object does not exist and DataError if the store does not answer."""
    try:
        return request(*arguments)
    except FileNotFoundError:
        raise AudioError(f"{address}: no such object") from None
    except Exception as error:  # every store has its error types
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{address}: the store does not answer ({why}); check address, network and access") from None


def _object_size_and_time(info: Mapping[str, Any]) -> tuple[int, int]:
    """Return size in bytes and time in nanoseconds from the metadata of an object; stores name the time differently."""
    names = ("mtime", "LastModified", "last_modified", "updated", "timeModified", "created")
    value = next((info[name] for name in names if info.get(name)), 0)
    if isinstance(value, str):
        from datetime import datetime

        value = datetime.fromisoformat(value)
    seconds = value.timestamp() if hasattr(value, "timestamp") else float(value)
    return int(info.get("size") or 0), round(seconds * 1e9)


# Sections of files -------------------------------------------------------------------------------------------------


def section(file: BinaryIO, offset: int, size: int, name: str) -> BinaryIO:
    """Return `size` bytes of an open file from `offset` on as a buffered file called `name`."""
    return io.BufferedReader(_Section(file, offset, size, name), BUFFER_BYTES)  # type: ignore[type-var,return-value]


class _Section(io.RawIOBase):
    """A range of bytes of an open file, readable as a file."""

    def __init__(self, base: BinaryIO, offset: int, size: int, name: str) -> None:
        self._base = base
        self._offset = offset
        self._size = size
        self._position = 0
        self.name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(0, (0, self._position, self._size)[whence] + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._base.seek(self._offset + self._position)
        block = self._base.read(max(0, min(len(buffer), self._size - self._position)))
        buffer[: len(block)] = block
        self._position += len(block)
        return len(block)
