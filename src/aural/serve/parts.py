"""Bytes of a sound that is no file of its own (a tar's member, an object in a store), whole or one range of them.

Source: RFC 9110, section 14. Starlette answers ranges of files alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from aural.search.source import Found, opened

BLOCK: Final = 1 << 18


def part_of(place: Found, asked: str | None, media_type: str, headers: Mapping[str, str]) -> Response:
    """The answer to a Range header: 200 whole, 206 one range, 416 outside; several ranges are answered whole."""
    headers = dict(headers) | {"Accept-Ranges": "bytes"}
    first, last = 0, place.size - 1
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked.strip()) if asked else None
    if match is not None and any(match.groups()):
        start, end = match.groups()
        first = int(start) if start else max(0, place.size - int(end))
        last = min(int(end), place.size - 1) if start and end else place.size - 1
        if first > last:
            return PlainTextResponse("range outside", 416, headers | {"Content-Range": f"bytes */{place.size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{place.size}"
    else:
        match = None
    headers["Content-Length"] = str(last - first + 1)
    return StreamingResponse(_read(place.path, first, last), 206 if match else 200, headers, media_type)


def _read(address: str, first: int, last: int) -> Iterator[bytes]:
    with opened(address) as source:
        assert not isinstance(source, str)
        source.seek(first)
        left = last - first + 1
        while left and (block := source.read(min(left, BLOCK))):
            left -= len(block)
            yield block
