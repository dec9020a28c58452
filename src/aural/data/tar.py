"""Find the samples of a tar by scanning its headers, and report damaged parts without stopping at them."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from aural.core.errors import DataError
from aural.data.readers.files import AUDIO

BLOCK: Final = 512
RENAMED: Final[dict[str, str]] = {"licence": "license"}
"""Keys of KEY.json in shards of earlier versions -> current keys."""


@dataclass(slots=True)
class Entry:
    """The members of one sample: suffix -> (offset, size) in bytes."""

    key: str
    offset: int
    members: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """The suffix of the sound, or "" if the sample has none."""
        return next((suffix for suffix in self.members if f".{suffix.rpartition('.')[2]}" in AUDIO), "")

    def sound(self, stream: BinaryIO, meta: Mapping[str, Any]) -> bytes:
        """Return the bytes of the sound, after comparing them with the CRC-32 in `meta` if there is one."""
        if not self.suffix:
            raise DataError("has no sound")
        content = self.read(stream, self.suffix)
        if "crc32" in meta and zlib.crc32(content) != meta["crc32"]:
            raise DataError("the sound is damaged (its checksum differs)")
        return content

    def describe(self, stream: BinaryIO) -> dict[str, Any]:
        """Return the content of KEY.json with keys of earlier versions renamed, or KEY.txt as the only caption."""
        if "json" in self.members:
            try:
                meta = json.loads(self.read(stream, "json"))
            except ValueError as error:
                raise DataError(f"its json cannot be read ({error})") from None
            if not isinstance(meta, dict):
                raise DataError("its json is not a mapping")
            return {RENAMED.get(str(key), str(key)): value for key, value in meta.items()}
        if "txt" in self.members:
            return {"captions": [self.read(stream, "txt").decode("utf-8", "replace").strip()]}
        raise DataError("has neither json nor txt")

    def read(self, stream: BinaryIO, suffix: str) -> bytes:
        """Return the bytes of one member of the sample."""
        offset, size = self.members[suffix]
        stream.seek(offset)
        content = stream.read(size)
        if len(content) < size:
            raise DataError(f"its {suffix} is truncated")
        return content


def scan(stream: BinaryIO) -> tuple[list[Entry], list[str]]:
    """Return the samples of a tar in file order, and a description of each damaged part.

    The members of a sample are adjacent and share the name up to its first dot (the webdataset rule).
    """
    entries: list[Entry] = []
    faults: list[str] = []
    size = stream.seek(0, 2)
    stream.seek(0)
    expected = 0
    try:
        tar = tarfile.open(fileobj=stream, mode="r:", ignore_zeros=True)  # noqa: SIM115 - the caller closes the stream
        while (member := tar.next()) is not None:
            if member.offset > expected and not _zeros(stream, expected, member.offset):
                faults.append(f"bytes {expected} to {member.offset} are damaged")
            expected = member.offset_data + -(-member.size // BLOCK) * BLOCK
            if member.offset_data + member.size > size:
                faults.append(f"{member.name} is truncated")
                return entries, faults
            if member.isfile():
                _place(entries, member)
            tar.members.clear()  # type: ignore[attr-defined]  # do not keep all headers in memory
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        faults.append(f"is damaged after byte {expected} ({error})")
    else:
        if size <= expected:
            faults.append("has no end mark: the end of the file is missing")
        elif not _zeros(stream, expected, size):
            faults.append(f"bytes {expected} to {size} are damaged")
    return entries, faults


def _place(entries: list[Entry], member: tarfile.TarInfo) -> None:
    folder, slash, name = member.name.rpartition("/")
    base, _, suffix = name.lower().partition(".")
    key = folder + slash + name[: len(base)]
    if not entries or entries[-1].key != key or suffix in entries[-1].members:
        entries.append(Entry(key, member.offset))
    entries[-1].members[suffix] = (member.offset_data, member.size)


def _zeros(stream: BinaryIO, start: int, end: int) -> bool:
    """Return whether a range contains only zeros (padding and end marks); the stream position is kept."""
    position = stream.tell()
    stream.seek(start)
    left, zero = end - start, True
    while left > 0 and zero and (block := stream.read(min(left, 1 << 20))):
        left, zero = left - len(block), not any(block)
    stream.seek(position)
    return zero
