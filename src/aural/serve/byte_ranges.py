"""Answer requests for all bytes or one byte range of a sound that is not a separate file on this machine.

Such sounds are members of tars and objects in stores; Starlette answers ranges of local files only. Source: RFC 9110,
section 14.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from aural.core.types import Source
from aural.search.locations import FoundFile

BLOCK_BYTES: Final = 1 << 18


def range_response(file: FoundFile, range_header: str | None, media_type: str, headers: Mapping[str, str]) -> Response:
    """Return 200 with all bytes, 206 with one range, or 416 for a range outside; several ranges give all bytes."""
    headers = dict(headers) | {"Accept-Ranges": "bytes"}
    first, last = 0, file.size - 1
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", range_header.strip()) if range_header else None
    partial = match is not None and any(match.groups())
    if match is not None and partial:
        start, end = match.groups()
        first = int(start) if start else max(0, file.size - int(end))
        last = min(int(end), file.size - 1) if start and end else file.size - 1
        if first > last:
            return PlainTextResponse("range outside", 416, headers | {"Content-Range": f"bytes */{file.size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
    headers["Content-Length"] = str(last - first + 1)
    return StreamingResponse(_read(file.source, first, last), 206 if partial else 200, headers, media_type)


def _read(source: Source, first: int, last: int) -> Iterator[bytes]:
    with source.open() as file:
        file.seek(first)
        left = last - first + 1
        while left and (block := file.read(min(left, BLOCK_BYTES))):
            left -= len(block)
            yield block
