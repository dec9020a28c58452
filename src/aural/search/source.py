"""Where sounds lie: files and folders, objects in stores (any fsspec location), and the members of tars in either.

An address names one sound: an absolute path, a URL (`s3://bucket/rain.wav`), or a member of a tar by the tar's address
(`s3://bucket/shard-000000.tar!/00000007.flac`). A location is what a user names: a sound, a tar, or a folder of both.
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
from typing import Any, BinaryIO, Final

from aural.audio.find import SOUND_SUFFIXES
from aural.core.errors import AudioError, DataError

INSIDE: Final = ".tar!/"  # ends a tar's address, begins the member's name
BUFFER: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Found:
    """A sound at its address; a member of a tar has the tar's time, an object without a time has 0."""

    path: str
    size: int
    mtime_ns: int

    @property
    def file(self) -> str:
        return file_id(self.path)

    @property
    def modified(self) -> str:
        """UTC, as `2026-11-22T19:22:35Z`: such texts compare like the times they stand for."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.mtime_ns // 1_000_000_000))


@dataclass(slots=True)
class Listing:
    """The sounds of a location, what could not be listed, and the tars that are damaged on the way."""

    found: list[Found] = field(default_factory=list)
    unreadable: list[AudioError] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def file_id(path: str) -> str:
    """16 hex digits that name a sound of a library; they follow from its address."""
    return hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()


def remote(address: str) -> bool:
    """Whether an address lies in an object store."""
    return "://" in address


def in_tar(address: str) -> bool:
    """Whether an address names a member of a tar."""
    return INSIDE in address


def address_of(location: str | Path) -> str:
    """A location as it is remembered: absolute, URLs without their last slash."""
    text = str(location)
    if remote(text) and not text.startswith("file://"):
        return text.rstrip("/")
    return os.path.abspath(text.removeprefix("file://"))


def is_below(address: str, location: str) -> bool:
    """Whether an address lies in a location; both as `address_of` gives them."""
    return address == location or address.startswith((location.rstrip("/") + "/", location + "!/"))


def listing(location: str | Path) -> Listing:
    """Every sound of a location, sorted by address. Hidden files are left out.

    Raises DataError where an object store cannot be reached: that its sounds are gone must not be believed then.
    """
    address, told = address_of(location), Listing()
    for found in sorted(_files(address, told), key=lambda one: one.path):
        if not found.path.endswith(".tar"):
            told.found.append(found)
            continue
        try:
            members = _members(found.path, found.size, found.mtime_ns)
            told.found += (Found(f"{found.path}!/{m}", size, found.mtime_ns) for m, (_, size) in members.items())
        except AudioError as error:
            told.unreadable.append(error)
            told.damaged.append(found.path)
    return told


def stat(address: str) -> Found:
    """A sound's size and time now. Raises AudioError where it is not there."""
    if in_tar(address):
        tar, member = _parted(address)
        holder = stat(tar)
        members = _members(tar, holder.size, holder.mtime_ns)
        if member not in members:
            raise AudioError(f"{address}: the tar holds no such member")
        return Found(address, members[member][1], holder.mtime_ns)
    if remote(address):
        system, inner = _filesystem(address)
        return _object(address, _asked(address, system.info, inner))
    try:
        address.encode("utf-8")
        found = os.stat(address)
    except UnicodeEncodeError:
        raise AudioError(f"{address!r}: its name is not UTF-8; rename the file") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{address}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return Found(address, found.st_size, found.st_mtime_ns)


@contextlib.contextmanager
def opened(address: str) -> Iterator[str | BinaryIO]:
    """What a decoder takes: a local file's path itself, else an open seekable file that is called by its address."""
    if not remote(address) and not in_tar(address):
        yield address
        return
    holder, member = _parted(address) if in_tar(address) else (address, "")
    offset, size = 0, stat(address).size
    if member:
        there = stat(holder)
        offset, size = _members(holder, there.size, there.mtime_ns)[member]
    with _bytes(holder) as base:
        yield io.BufferedReader(_Part(base, offset, size, address), BUFFER)  # type: ignore[type-var]


def content_hash(address: str) -> str:
    """32 hex digits of a sound's bytes (BLAKE2b). Raises AudioError where they cannot be read."""
    state = hashlib.blake2b(digest_size=16)
    try:
        with opened(address) as source, open(source, "rb") if isinstance(source, str) else source as file:
            while block := file.read(1 << 20):
                state.update(block)
    except OSError as error:
        raise AudioError(f"{address}: cannot be read ({error.strerror or error})") from None
    return state.hexdigest()


def _files(address: str, told: Listing) -> Iterator[Found]:
    """Sounds and tars, members not yet told."""
    if remote(address) and not in_tar(address):
        yield from _objects(address, told)
        return
    folder = Path(address)
    try:
        is_folder = folder.is_dir()
    except OSError:  # a name too long
        is_folder = False
    paths = [address] if not is_folder else (str(p) for p in folder.rglob("*") if _wanted(str(p.relative_to(folder))))
    for path in paths:
        if is_folder and not os.path.isfile(path):
            continue
        try:
            yield stat(path)
        except AudioError as error:
            told.unreadable.append(error)


def _objects(address: str, told: Listing) -> Iterator[Found]:
    system, inner = _filesystem(address)
    try:
        below = _asked(address, lambda: system.find(inner, detail=True))
        if not below:
            told.unreadable.append(AudioError(f"{address}: no such object, or a folder without sounds"))
    except AudioError as error:  # not there
        told.unreadable.append(error)
        below = {}
    for name, info in below.items():
        relative = name.removeprefix(inner).strip("/")
        if not relative or _wanted(relative):
            yield _object(f"{address}/{relative}".rstrip("/"), info)


def _wanted(relative: str) -> bool:
    """Whether a file of a folder is taken: a sound or a tar, and nothing hidden on the way to it."""
    suffix = os.path.splitext(relative)[1].lower()
    return (suffix in SOUND_SUFFIXES or suffix == ".tar") and not any(p.startswith(".") for p in relative.split("/"))


def _filesystem(address: str) -> tuple[Any, str]:
    import fsspec  # comes with torch

    try:
        system, inner = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise DataError(f"{address}: cannot be reached ({error})") from None
    system.invalidate_cache()
    return system, inner


def _asked(address: str, ask: Any, *arguments: Any) -> Any:
    """What a store answers; AudioError for what is not there, DataError for a store that does not answer."""
    try:
        return ask(*arguments)
    except FileNotFoundError:
        raise AudioError(f"{address}: no such object") from None
    except Exception as error:  # every store has errors of its own
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{address}: the store does not answer ({why}); check address, network and access") from None


def _object(address: str, info: Mapping[str, Any]) -> Found:
    """Size and time as the store tells them; stores differ in how they call the time."""
    names = ("mtime", "LastModified", "last_modified", "updated", "timeModified", "created")
    told = next((info[name] for name in names if info.get(name)), 0)
    if isinstance(told, str):
        from datetime import datetime

        told = datetime.fromisoformat(told)
    seconds = told.timestamp() if hasattr(told, "timestamp") else float(told)
    return Found(address, int(info.get("size") or 0), round(seconds * 1e9))


def _parted(address: str) -> tuple[str, str]:
    """A tar's address and its member's name."""
    at = address.index(INSIDE) + len(".tar")
    return address[:at], address[at + 2 :]


@contextlib.contextmanager
def _bytes(address: str) -> Iterator[BinaryIO]:
    """A file or an object, open for seeking."""
    if remote(address):
        system, inner = _filesystem(address)
        with _asked(address, lambda: system.open(inner, "rb")) as file:
            yield file
        return
    try:
        with open(address, "rb") as file:
            yield file
    except OSError as error:
        raise AudioError(f"{address}: cannot be read ({error.strerror})") from None


@lru_cache(maxsize=64)
def _members(tar: str, size: int, mtime_ns: int) -> dict[str, tuple[int, int]]:
    """Sounds of a tar as it was at that size and time: member -> (offset, size) in bytes; AudioError where damaged."""
    found: dict[str, tuple[int, int]] = {}
    with _bytes(tar) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as holder:
                for member in holder:
                    if member.offset_data + member.size > size:
                        raise tarfile.ReadError(f"{member.name} is cut off")
                    if member.isfile() and _wanted(member.name) and not member.name.endswith(".tar"):
                        found[member.name] = (member.offset_data, member.size)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise AudioError(f"{tar}: is damaged ({error}); write the tar anew") from None
    return found


class _Part(io.RawIOBase):
    """`size` bytes of an open file from `offset` on, as a file of its own."""

    def __init__(self, base: BinaryIO, offset: int, size: int, name: str) -> None:
        self._base, self._offset, self._size, self._at, self.name = base, offset, size, 0, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, (0, self._at, self._size)[whence] + offset)
        return self._at

    def readinto(self, into: Any) -> int:
        self._base.seek(self._offset + self._at)
        block = self._base.read(max(0, min(len(into), self._size - self._at)))
        into[: len(block)] = block
        self._at += len(block)
        return len(block)
