"""Read the chunks of a RIFF or RF64 wav that describe a sound: bext, iXML, smpl.

Sources: EBU Tech 3285 (bext) and 3306 (RF64), the iXML specification 3, and Microsoft's Multimedia Programming
Interface (smpl).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import BinaryIO, Final
from xml.etree import ElementTree

MAX_CHUNK: Final = 1 << 20
"""Larger describing chunks are not read."""
WANTED: Final = (b"bext", b"iXML", b"smpl")
_SMPL_LOOPS_AT: Final = 28


def describing_chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """Return the chunks bext, iXML and smpl of an open file; none if it is no wav."""
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return {}
    chunks: dict[bytes, bytes] = {}
    data_size: int | None = None  # of an RF64, whose data chunk states 2**32 - 1
    while len(header := file.read(8)) == 8:
        name, size = header[:4], int(struct.unpack("<I", header[4:])[0])
        if name == b"ds64":
            content = file.read(size + size % 2)
            data_size = struct.unpack_from("<Q", content, 8)[0] if len(content) >= 16 else None
            continue
        if name == b"data" and size == 0xFFFFFFFF and data_size is not None:
            size = data_size
        if name in WANTED and size <= MAX_CHUNK:
            chunks[name] = file.read(size)
            file.seek(size % 2, 1)
        else:
            file.seek(size + size % 2, 1)
    return chunks


def parse_bext(content: bytes) -> dict[str, str]:
    """Return description, originator and date of a bext chunk; absent if empty."""

    def text(start: int, size: int) -> str:
        return content[start : start + size].split(b"\0")[0].decode("utf-8", "replace").strip()

    fields = {"description": text(0, 256), "originator": text(256, 32), "date": text(320, 10)}
    return {name: value for name, value in fields.items() if value}


def parse_ixml(content: bytes) -> dict[str, str]:
    """Return the texts of the leaves of an iXML chunk by their paths, such as `USER/DESCRIPTION`; {} if damaged."""
    try:
        root = ElementTree.fromstring(content.split(b"\0")[0])
    except (ElementTree.ParseError, ValueError):
        return {}
    leaves: dict[str, str] = {}
    waiting = [("", root)]
    while waiting:
        prefix, element = waiting.pop()
        for child in element:
            path = f"{prefix}{child.tag}"
            if len(child):
                waiting.append((f"{path}/", child))
            elif child.text and child.text.strip():
                leaves[path] = child.text.strip()
    return leaves


def has_loops(chunks: Mapping[bytes, bytes]) -> bool:
    """Return whether the smpl chunk names a loop."""
    content = chunks.get(b"smpl", b"")
    return len(content) >= _SMPL_LOOPS_AT + 8 and struct.unpack_from("<I", content, _SMPL_LOOPS_AT)[0] > 0
