"""Open a stored sound only if it is the one that was added to the library.

A path may lead elsewhere by now: the file or a folder above it may have been replaced by a link. The check therefore
looks at the open file, never at a path that could change before it is opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from aural.core.errors import AudioError
from aural.core.types import Source
from aural.search.locations import find, is_below, local_part, section

BLOCK_BYTES: Final = 1 << 18
MAX_HASHES: Final = 4096

Identity = tuple[int, int, int, int]
"""Device, inode, size and time of a file: equal for the same content of the same file."""


class SwappedError(Exception):
    """The file at a path is not the one that was added."""


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of a file from its status."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def open_regular(path: str) -> BinaryIO:
    """Open a file for reading without waiting for a writer of a named pipe. Raises SwappedError if it is no file."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)

    file = open(path, "rb", buffering=0, opener=opener)  # noqa: SIM115  # the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise SwappedError(path)
    return file  # type: ignore[return-value]


@contextlib.contextmanager
def opened_again(path: str, identity: Sequence[int], offset: int, size: int, name: str) -> Iterator[BinaryIO]:
    """Open the file that `HeldFile.job` describes, in another process. Raises AudioError if it is another one."""
    try:
        with open_regular(path) as file:
            if identity_of(os.fstat(file.fileno())) != tuple(identity):
                raise SwappedError(path)
            yield section(file, offset, size, name)
    except (OSError, SwappedError):
        raise AudioError(f"{name}: changed while it was opened; try again") from None


@dataclass(slots=True)
class HeldFile:
    """An open sound of the library; `close` it. size: in bytes. duration_s: as stored in the library."""

    name: str
    size: int
    mtime_ns: int
    duration_s: float
    _stack: ExitStack
    _file: BinaryIO
    _local: tuple[str, int] | None
    """Path of the file and offset of the sound in it, unless it is in an object store."""

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset` on."""
        if self._local is not None:
            return os.pread(self._file.fileno(), count, self._local[1] + offset)
        self._file.seek(offset)
        return self._file.read(count)

    def job(self) -> dict[str, Any]:
        """Return what another process needs to open the same bytes."""
        if self._local is None:
            return {"path": self.name, "identity": None}
        path, offset = self._local
        identity = identity_of(os.fstat(self._file.fileno()))
        return {"path": self.name, "file": path, "identity": identity, "offset": offset, "bytes": self.size}

    def close(self) -> None:
        self._stack.close()


@dataclass(slots=True)
class Opener:
    """Opens stored sounds of a library and knows where its roots were when the server started.

    A file that is reached through a link, or that has a second name (a hard link), is read completely once and served
    only if its content has the stored hash.
    """

    roots: Sequence[str]
    _real_roots: list[tuple[str, str]] = field(init=False)
    _hashes: OrderedDict[tuple[int, ...], str] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._real_roots = [(root, os.path.realpath(root)) for root in self.roots if "://" not in root]

    def open(self, row: dict[str, Any]) -> HeldFile:
        """Open the sound of a row with the columns path, size, mtime_ns, hash and duration.

        Raises SwappedError if it is not the sound that was added, and OSError or AudioError if it is missing.
        """
        name, stack = str(row["path"]), ExitStack()
        with stack:
            local = local_part(name)
            if local is None:
                held = self._remote(name, row, stack)
            else:
                path, offset, size = local
                file = stack.enter_context(open_regular(path))
                status = os.fstat(file.fileno())
                size = status.st_size if size is None else size
                if offset + size > status.st_size:
                    raise SwappedError(name)
                held = HeldFile(name, size, status.st_mtime_ns, row["duration"], stack, file, (path, offset))
            if (held.size, held.mtime_ns) != (row["size"], row["mtime_ns"]):
                raise SwappedError(name)
            if local is not None and not self._in_place(held, local[0]) and self._hash(held) != row["hash"]:
                raise SwappedError(name)
            held._stack = stack.pop_all()
        return held

    def _remote(self, name: str, row: dict[str, Any], stack: ExitStack) -> HeldFile:
        current = find(name)
        file = stack.enter_context(current.source.open())
        return HeldFile(name, current.size, current.mtime_ns, row["duration"], stack, file, None)

    def _in_place(self, held: HeldFile, path: str) -> bool:
        """Return whether the open file is where its path says, below a root as it was at the start."""
        descriptor = held._file.fileno()
        if os.fstat(descriptor).st_nlink > 1:
            return False
        real = real_path(descriptor, path)
        expected = [path, *(end + path[len(root) :] for root, end in self._real_roots if is_below(path, root))]
        return real in expected

    def _hash(self, held: HeldFile) -> str:
        status = os.fstat(held._file.fileno())
        offset = held._local[1] if held._local else 0
        key = (*identity_of(status), status.st_ctime_ns, offset)
        with self._lock:
            if key in self._hashes:
                self._hashes.move_to_end(key)
                return self._hashes[key]
        state = hashlib.blake2b(digest_size=16)
        for start in range(0, held.size, BLOCK_BYTES):
            state.update(held.read(start, min(BLOCK_BYTES, held.size - start)))
        with self._lock:
            self._hashes[key] = state.hexdigest()
            while len(self._hashes) > MAX_HASHES:
                self._hashes.popitem(last=False)
        return state.hexdigest()


def real_path(descriptor: int, path: str) -> str:
    """Return the path of an open file without links; empty if that is not certain."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}")
    with contextlib.suppress(OSError):  # systems without /proc
        real = os.path.realpath(path)
        if os.path.samestat(os.stat(real), os.fstat(descriptor)):
            return real
    return ""


def source_of_job(job: dict[str, Any]) -> Source:
    """Return the sound that `HeldFile.job` describes."""
    from aural.search.locations import source_of

    if job["identity"] is None:
        return source_of(job["path"])
    path, identity = job["file"], job["identity"]
    place = job["offset"], job["bytes"], job["path"]
    return Source(job["path"], lambda: opened_again(path, identity, *place))
