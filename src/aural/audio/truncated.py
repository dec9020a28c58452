"""Recognize files that end before their header says so.

Decoders return what such a file holds without a word; half of a recording would count as all of it. Formats state their
length in different places: RIFF and W64 in the size of the data chunk (Microsoft, Multimedia Programming Interface
1.0), AU in its header, MP3 in the Xing or Info tag, mp4 in the sizes of its boxes. An Ogg stream states none, but marks
its last page (RFC 3533, section 6). ADTS and MPEG transport streams state nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, TypeVar

T = TypeVar("T")

STREAMED_BYTES = 0x7FFF0000
"""Sizes from here on are written by programs that did not know the length when they wrote the header."""

TOLERANCE = 0.01
"""Share of the stated frames that may be missing: some programs count their header as samples."""

MP3_TOLERANCE_FRAMES = 4 * 1152
"""Start padding that a tag may count as sound, with a margin."""

OGG_TAIL_BYTES = 70_000
"""More than the largest Ogg page, 65,307 bytes."""


def stated_frames(handle: str | BinaryIO, container: str, frames: int) -> int | None:
    """Return the frames that the header of a file states, or None if it states none or cannot be trusted.

    handle: path or open file; its position is kept. container: format by the name of libsndfile or ffmpeg. frames: as
    the decoder counts them, which for some formats is what the file holds.
    """
    if container in ("flac", "mp3"):
        return frames if container == "flac" or _at(handle, _has_xing_tag) else None
    if container not in READERS:
        return None
    stated, held = _at(handle, READERS[container]) or (0, 0)
    return round(frames * stated / held) if 0 < held < stated else None


def is_truncated(container: str, frames: int, stated: int, slack: int = 0) -> bool:
    """Return whether a sound of `frames` is truncated, because its header states more.

    slack: frames that may be missing in any case.

    >>> is_truncated("wav", 8000, 16000), is_truncated("wav", 15990, 16000), is_truncated("flac", 15990, 16000)
    (True, False, True)
    """
    if container == "flac":
        return frames < stated
    return frames < stated * (1 - TOLERANCE) - max(slack, MP3_TOLERANCE_FRAMES if container == "mp3" else 0)


def lacks_last_page(handle: str | BinaryIO) -> bool:
    """Return whether an Ogg file ends within a page or without the page that is marked as the last."""
    return _at(handle, _lacks_last_page)


def _at(handle: str | BinaryIO, read: Callable[[BinaryIO], T]) -> T:
    """Return what `read` returns for the open file; the position of a given file object is kept."""
    if isinstance(handle, str):
        with open(handle, "rb") as file:
            return read(file)
    position = handle.tell()
    try:
        return read(handle)
    finally:
        handle.seek(position)


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _chunks(
    file: BinaryIO, header: int, layout: str, *, align: int = 2, inclusive: bool = False
) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, offset of the content, stated bytes of the content) of chunks.

    layout: of a chunk's name and size, as in `struct`. align: the next chunk starts at a multiple of this many bytes.
    inclusive: the stated size includes name and size.
    """
    at, end, head = header, _size(file), struct.calcsize(layout)
    while at + head <= end:
        file.seek(at)
        name, size = struct.unpack(layout, file.read(head))
        size -= head if inclusive else 0
        yield name, at + head, size
        at += head + -(-max(0, size) // align) * align


def _riff(file: BinaryIO) -> tuple[int, int] | None:
    """Return the bytes of samples that the header states, and those that the file holds."""
    file.seek(0)
    word = ">" if file.read(4) == b"RIFX" else "<"
    large = 0
    for name, at, size in _chunks(file, 12, f"{word}4sI"):
        if name == b"ds64":
            file.seek(at + 8)
            large = struct.unpack("<Q", file.read(8))[0]
        if name == b"data":
            stated = large if size == 0xFFFFFFFF and large else size
            return (stated, _size(file) - at) if stated < STREAMED_BYTES or large else None
    return None


def _w64(file: BinaryIO) -> tuple[int, int] | None:
    for name, at, size in _chunks(file, 40, "<4s12xQ", align=8, inclusive=True):
        if name == b"data":
            return size, _size(file) - at
    return None


def _aiff(file: BinaryIO) -> tuple[int, int] | None:
    for name, at, size in _chunks(file, 12, ">4sI"):
        if name == b"SSND":
            return size, _size(file) - at
    return None


def _caf(file: BinaryIO) -> tuple[int, int] | None:
    for name, at, size in _chunks(file, 8, ">4sq", align=1):
        if name == b"data":
            return (size, _size(file) - at) if size >= 0 else None
    return None


def _avi(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(4)
    return struct.unpack("<I", file.read(4))[0], _size(file) - 8


def _mov(file: BinaryIO) -> tuple[int, int]:
    """Return where the last box of an mp4 or mov ends (ISO 14496-12, section 4.2), and where the file ends."""
    at, end = 0, _size(file)
    while at + 8 <= end:
        file.seek(at)
        size = struct.unpack(">I4x", file.read(8))[0]
        if size == 1 and at + 16 <= end:
            size = struct.unpack(">Q", file.read(8))[0]
        if size == 0:  # up to the end of the file
            return end, end
        at += max(size, 8)
    return at, end


def _matroska(file: BinaryIO) -> tuple[int, int] | None:
    """Return where the segment of an mkv or webm ends (RFC 8794, section 6), and where the file ends."""
    at, end = 0, _size(file)
    for _ in range(2):  # the header and the segment
        file.seek(at + 4)
        head = file.read(8)
        if len(head) < 8 or not head[0]:
            return None
        width = 9 - head[0].bit_length()
        mask = (1 << 7 * width) - 1
        size = int.from_bytes(head[:width], "big") & mask
        if size == mask:  # unknown: recorded live
            return None
        at += 4 + width + size
    return at, end


def _au(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(0)
    word = ">" if file.read(4) == b".snd" else "<"
    start, size = struct.unpack(f"{word}II", file.read(8))
    return (size, _size(file) - start) if size < STREAMED_BYTES else None


READERS: Final[dict[str, Callable[[BinaryIO], tuple[int, int] | None]]] = {
    **dict.fromkeys(("wav", "wavex", "rf64"), _riff),
    "w64": _w64,
    "aiff": _aiff,
    "au": _au,
    "caf": _caf,
    "avi": _avi,
    "mov": _mov,
    "matroska": _matroska,
}


def _has_xing_tag(file: BinaryIO) -> bool:
    """Return whether the first frame of an mp3 holds a tag with the number of frames."""
    file.seek(0)
    head = file.read(10)
    tagged = head[:3] == b"ID3"
    start = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)) if tagged else 0
    file.seek(start)
    frame = file.read(2048)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    return at >= 0 and len(frame) > at + 7 and bool(frame[at + 7] & 1)


def _lacks_last_page(file: BinaryIO) -> bool:
    file.seek(max(0, _size(file) - OGG_TAIL_BYTES))
    tail = file.read()
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return True
    complete = len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    return not (complete and page[5] & 4)
