"""Answer every error as a problem document (RFC 9457): type, title, status, detail and request id.

Each kind of problem has a name and a title. The `type` of a document is `urn:aural:problem:NAME`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from fastapi.responses import Response

from aural.core.printable import printable

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:aural:problem:"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem. retry_after_s: seconds after which the client may try again, for the Retry-After header."""

    status: int
    name: str
    title: str
    retry_after_s: int | None = None


MALFORMED: Final = ProblemKind(400, "malformed-request", "The request cannot be parsed")
NEEDS_TOKEN: Final = ProblemKind(401, "token-required", "A token is required")
CROSS_ORIGIN: Final = ProblemKind(403, "cross-origin", "The request comes from another site or names another host")
UNKNOWN: Final = ProblemKind(404, "not-found", "There is nothing at this address")
SLOW_REQUEST: Final = ProblemKind(408, "slow-request", "The request arrived too slowly")
CHANGED: Final = ProblemKind(410, "file-changed", "The file is missing or changed since it was added")
CONDITION: Final = ProblemKind(412, "precondition-failed", "The file is not the one that the request expects")
TOO_LARGE: Final = ProblemKind(413, "too-large", "The request is too large")
OUTSIDE: Final = ProblemKind(416, "range-outside", "The range is outside the file")
INVALID: Final = ProblemKind(422, "invalid-input", "The request or the sound is invalid")
TOO_MANY_TOKENS: Final = ProblemKind(429, "too-many-wrong-tokens", "Too many wrong tokens were sent", 60)
LARGE_HEAD: Final = ProblemKind(431, "large-headers", "The headers are too large")
INTERNAL: Final = ProblemKind(500, "internal-error", "The server failed")
TIMEOUT: Final = ProblemKind(503, "timeout", "The request took too long", 5)
BUSY: Final = ProblemKind(503, "busy", "Too many requests are waiting", 1)
LIBRARY_MISSING: Final = ProblemKind(503, "library-missing", "The library is missing or cannot be read", 30)
DISK_FULL: Final = ProblemKind(507, "storage-full", "The server cannot store the upload", 30)

_KINDS: Final = (MALFORMED, NEEDS_TOKEN, CROSS_ORIGIN, UNKNOWN, TOO_LARGE, INVALID, INTERNAL)
_BY_STATUS: Final = {kind.status: kind for kind in _KINDS}


def kind_of_status(status: int) -> ProblemKind:
    """Return the kind for a status that the framework selected, such as 405."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    phrase = HTTPStatus(status).phrase
    return ProblemKind(status, phrase.lower().replace(" ", "-"), phrase)


def problem_headers(kind: ProblemKind, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the headers of a problem document, without its length."""
    headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store"} | dict(extra or {})
    if kind.retry_after_s is not None:
        headers.setdefault("retry-after", str(kind.retry_after_s))
    if kind.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


def problem_body(kind: ProblemKind, detail: str, request_id: str) -> bytes:
    """Return a problem document as JSON. The detail may quote a client: its control characters become escapes."""
    head = {"type": TYPE_PREFIX + kind.name, "title": kind.title, "status": kind.status}
    return json.dumps(head | {"detail": printable(detail), "request_id": request_id}).encode()


def problem_response(
    kind: ProblemKind, detail: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem document as a response."""
    return Response(problem_body(kind, detail, request_id), kind.status, problem_headers(kind, headers))
