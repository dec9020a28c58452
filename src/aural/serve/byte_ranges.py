"""Answer requests for the bytes of an open sound: all of them or one range, and conditions on its version.

Source: RFC 9110, sections 13 (conditions) and 14 (ranges).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

from fastapi.responses import Response

from aural.serve.held import HeldFile
from aural.serve.problems import CONDITION, OUTSIDE, problem_response

BLOCK_BYTES: Final = 1 << 17
_RANGE: Final = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileHead:
    """Media type, file name and entity tag (with quotation marks) of a sound."""

    media_type: str
    name: str
    tag: str


class FileResponse(Response):
    """A response with bytes `first` to `last` of an open sound, which it closes."""

    def __init__(self, held: HeldFile, first: int, last: int, status: int, headers: dict[str, str]) -> None:
        super().__init__(status_code=status, headers=headers | {"content-length": str(last - first + 1)})
        self._held = held
        self._first = first
        self._last = last

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            at = self._first
            while at <= self._last and not scope["state"].get("head_only"):
                block = await asyncio.to_thread(self._held.read, at, min(BLOCK_BYTES, self._last + 1 - at))
                if not block:
                    raise EOFError("the file became shorter")
                at += len(block)
                await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._held.close()


def file_response(held: HeldFile, request: Any, head: FileHead) -> Response:
    """Return 200 with all bytes, 206 with one range, 304, 412, or 416 for a range outside the sound.

    Several ranges, ranges in other units and ranges that cannot be parsed give all bytes. The sound is closed in the
    end.
    """
    modified = formatdate(held.mtime_ns // 10**9, usegmt=True)
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=3600",
        "content-security-policy": "sandbox; default-src 'none'",
        "etag": head.tag,
        "last-modified": modified,
    }
    asked = request.headers
    if "if-match" in asked and not _names(asked["if-match"], head.tag):
        held.close()
        return problem_response(CONDITION, "the file has another entity tag", request.state.request_id)
    if _unchanged(asked, head.tag, held.mtime_ns // 10**9):
        held.close()
        return Response(status_code=304, headers=headers)
    headers |= {"content-type": head.media_type, "content-disposition": f"inline; filename*=utf-8''{quote(head.name)}"}
    first, last, status = 0, held.size - 1, 200
    match = _RANGE.fullmatch(asked.get("range", "").strip())
    if match and any(match.groups()) and asked.get("if-range", head.tag) in (head.tag, modified):
        start, end = match.groups()
        first = int(start) if start else max(0, held.size - int(end))
        last = min(int(end), held.size - 1) if start and end else held.size - 1
        if first > last:
            held.close()
            outside = {"content-range": f"bytes */{held.size}"}
            detail = f"the file has {held.size} bytes; request a range inside it"
            return problem_response(OUTSIDE, detail, request.state.request_id, outside)
        headers["content-range"] = f"bytes {first}-{last}/{held.size}"
        status = 206
    return FileResponse(held, first, last, status, headers)


def _unchanged(asked: Any, tag: str, modified_s: int) -> bool:
    """Return whether the client has this version already."""
    if "if-none-match" in asked:
        return _names(asked["if-none-match"], tag)
    try:
        return modified_s <= parsedate_to_datetime(asked["if-modified-since"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return False


def _names(tags: str, tag: str) -> bool:
    """Return whether a list of entity tags names this one."""
    return any(one.strip().removeprefix("W/") in ("*", tag) for one in tags.split(","))
