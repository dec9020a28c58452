"""Index the samples of a tar compactly: two offsets per sample instead of an object, and one read per sample.

A shard with plain headers is indexed without the module tarfile; any other one, and a damaged one, is scanned by
`aural.data.tar.scan`. Both give the same samples and faults.
"""

from __future__ import annotations

import io
import mmap
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.data.tar import BLOCK, Entry, scan

CHECKSUM: Final = slice(148, 156)
FILES: Final = b"0\0"
"""Types of plain files."""


@dataclass(frozen=True)
class Index:
    """The first and last byte of each sample of a tar, and the size of one member, 0 without it; each (samples,)."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    sizes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.starts)

    def entry(self, stream: BinaryIO, number: int) -> tuple[Entry, BinaryIO]:
        """Return a sample and a file of its bytes, which the entry's members refer to."""
        start, stop = int(self.starts[number]), int(self.stops[number])
        stream.seek(start)
        content = stream.read(stop - start)
        entries = _plain(content) or scan(io.BytesIO(content))[0]
        if not entries:
            raise DataError(f"bytes {start} to {stop} of the shard cannot be read")
        return entries[0], io.BytesIO(content)


def index(stream: BinaryIO, suffix: str) -> tuple[Index, list[str]]:
    """Return the index of a tar in file order with the sizes of members `suffix`, and its faults."""
    quick = _quick(stream, suffix)
    if quick is not None:
        return quick, []
    entries, faults = scan(stream)
    ends = [max(-(-(at + size) // BLOCK) * BLOCK for at, size in entry.members.values()) for entry in entries]
    sizes = [entry.members.get(suffix, (0, 0))[1] for entry in entries]
    starts = np.array([entry.offset for entry in entries], np.int64)
    return Index(starts, np.array(ends, np.int64), np.array(sizes, np.int32)), faults


def _plain(content: bytes) -> list[Entry] | None:
    """Return the one sample in `content`, or None if a header is not plain. Checksums were compared by the index."""
    entry: Entry | None = None
    at = 0
    while at < len(content):
        header = content[at : at + BLOCK]
        size = _size(header)
        if size is None:
            return None
        name = header[:100].rstrip(b"\0").decode("utf-8", "surrogateescape")
        folder, slash, last = name.rpartition("/")
        base, _, suffix = last.lower().partition(".")
        if entry is None:
            entry = Entry(folder + slash + last[: len(base)], 0)
        entry.members[suffix] = (at + BLOCK, size)
        at += BLOCK + -(-size // BLOCK) * BLOCK
    return None if entry is None else [entry]


def _quick(stream: BinaryIO, suffix: str) -> Index | None:
    """Return the index of an undamaged tar whose headers are all plain, or None."""
    try:
        view = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # no file of the system, or an empty one
        return None
    with view:
        return _read(view, suffix.encode())


def _read(view: mmap.mmap, suffix: bytes) -> Index | None:
    at, total = 0, len(view)
    headers, firsts, ends, sizes = list[int](), list[int](), list[int](), list[int]()
    key, members = b"", set[bytes]()
    while at + BLOCK <= total and view[at] != 0:
        header = view[at : at + BLOCK]
        size = _size(header)
        end = at + BLOCK if size is None else at + BLOCK + -(-size // BLOCK) * BLOCK
        if size is None or end > total:
            return None
        name = header[: header.index(b"\0")] if header[99] == 0 else header[:100]
        folder = name.rfind(b"/") + 1
        dot = name.find(b".", folder)
        base, kind = (name, b"") if dot < 0 else (name[:dot], name[dot + 1 :].lower())
        headers.append(at)
        if base != key or kind in members or not firsts:
            firsts.append(at)
            ends.append(end)
            sizes.append(0)
            key, members = base, set()
        ends[-1] = end
        if kind == suffix:
            sizes[-1] = size
        members.add(kind)
        at = end
    if not firsts or at >= total or any(view[at:total]) or not _sums_agree(view, headers):
        return None
    return Index(np.array(firsts, np.int64), np.array(ends, np.int64), np.array(sizes, np.int32))


def _sums_agree(view: mmap.mmap, headers: list[int]) -> bool:
    """Return whether every header's bytes add up to its checksum."""
    blocks = np.frombuffer(view, np.uint8, len(view) // BLOCK * BLOCK).reshape(-1, BLOCK)
    rows = blocks[np.array(headers, np.int64) // BLOCK]  # a copy, so that the file can be closed
    del blocks
    stated = [_octal(bytes(field)) for field in rows[:, CHECKSUM]]
    rows[:, CHECKSUM] = 32
    return bool(np.array_equal(rows.sum(1, dtype=np.int64), stated))


def _size(header: bytes) -> int | None:
    """Return the size of a plain file's header; None for other members, names and sizes."""
    if header[156] not in FILES or header[345] or not header[0] or header[124] & 0x80:
        return None
    try:
        return _octal(header[124:136])
    except ValueError:
        return None


def _octal(field: bytes) -> int:
    return int(field.rstrip(b"\0 ") or b"0", 8)
