"""Read C4Group archives, the format of Clonk and OpenClonk (openclonk, src/c4group/C4Group.cpp).

An archive is gzip data whose first two bytes are 1e 8c instead of 1f 8b. It holds a header of 204 bytes, scrambled, a
table with 316 bytes per entry, and the contents. An entry that is a group has the same form without compression.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

GROUPS: Final = frozenset((".ocd", ".ocf", ".ocg", ".ocs"))
HEADER, ENTRY = 204, 316
MAGIC: Final = b"RedWolf Design GrpFolder"


def entries(data: bytes, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of every file in an archive and in its groups.

    Raises:
        ValueError: the data has no header of a group.
        struct.error, zlib.error: the data ends early or is damaged.
    """
    if data[:2] == b"\x1e\x8c":
        data = zlib.decompressobj(31).decompress(b"\x1f\x8b" + data[2:])
    header = bytearray(byte ^ 237 for byte in data[:HEADER])
    for at in range(0, len(header) - 2, 3):
        header[at], header[at + 2] = header[at + 2], header[at]
    if not header.startswith(MAGIC):
        raise ValueError("it has no header of a group")
    (count,) = struct.unpack_from("<i", header, 36)
    for number in range(count):
        at = HEADER + number * ENTRY
        name = data[at : at + 260].split(b"\0")[0].decode("latin-1")
        _, is_group, size, _, offset = struct.unpack_from("<5i", data, at + 260)
        start = HEADER + count * ENTRY + offset
        content = data[start : start + size]
        if len(content) < size:
            raise ValueError(f"{name} ends early")
        if is_group:
            yield from entries(content, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", content


def without_endings(path: str) -> str:
    """Return a path without the endings of its groups.

    >>> without_endings("Sound.ocg/Animals.ocg/Bat.ocg/Chirp.ogg")
    'Sound/Animals/Bat/Chirp.ogg'
    """
    return re.sub(r"\.oc[dfgs]/", "/", path)
