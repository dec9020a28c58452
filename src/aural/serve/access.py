"""Decide from its head whether a request is answered: host name, origin, size, token, session.

Sources: Fetch Metadata Request Headers (W3C) for requests of other sites; RFC 6750 for tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from aural.serve.problems import (
    CROSS_ORIGIN,
    LARGE_HEAD,
    MALFORMED,
    NEEDS_TOKEN,
    TOO_LARGE,
    TOO_MANY_TOKENS,
    ProblemKind,
    kind_of_status,
)
from aural.serve.settings import LOOPBACK, Settings

COOKIE: Final = "aural_session"
OPEN_PATHS: Final = frozenset({"/", "/health", "/v1/session", "/favicon.ico"})
BODY_SLACK: Final = 1 << 20
BASE64_PATHS: Final = frozenset(("/v1/embeddings",))
"""Paths whose JSON may contain sounds."""
"""Bytes of form fields around an upload, and the most bytes of a body that is not a form with files."""

MAX_HEADERS: Final = 100
MAX_HEAD_BYTES: Final = 64 << 10
HTTP_VERSIONS: Final = ("1.0", "1.1", "2", "3")
SINGLE_HEADERS: Final = frozenset(
    {"authorization", "content-length", "content-type", "host", "origin", "range", "sec-fetch-mode", "sec-fetch-site"}
)
"""Headers that a request may have once only, so that no two programs read different values."""

_NAVIGATION: Final = ("navigate", "document")
SESSION_S: Final = 12 * 3600
MAX_SESSIONS: Final = 4096
MAX_CLIENTS: Final = 4096
WINDOW_S: Final = 60

Refusal = tuple[ProblemKind, str]


def client_network(host: str) -> str:
    """Return what identifies a client: the IPv4 address, or the /64 network of an IPv6 address.

    >>> client_network("2001:db8::7"), client_network("::ffff:10.0.0.1"), client_network("10.0.0.1")
    ('2001:db8::/64', '10.0.0.1', '10.0.0.1')
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Sessions:
    """Random session ids of browsers that sent the token. Only their hashes are stored, in memory."""

    def __init__(self) -> None:
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def start(self) -> str:
        """Return a new session id; the oldest session ends when there are too many."""
        session = secrets.token_urlsafe(32)
        self._ends[_digest(session)] = time.monotonic() + SESSION_S
        while len(self._ends) > MAX_SESSIONS:
            self._ends.popitem(last=False)
        return session

    def valid(self, session: str) -> bool:
        """Return whether a session was started and has not ended."""
        return self._ends.get(_digest(session), 0.0) > time.monotonic()


class Attempts:
    """Counts wrong tokens per client. After `most` within a minute, the client waits until the minute is over."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # client: count, end of its minute

    def wait_s(self, client: str) -> float:
        """Return the seconds that a client has to wait; 0 if it may send a token."""
        count, end = self._wrong.get(client, (0, 0.0))
        return max(0.0, end - time.monotonic()) if count >= self._most else 0.0

    def wrong(self, client: str) -> None:
        """Count a wrong token."""
        count, end = self._wrong.pop(client, (0, 0.0))
        now = time.monotonic()
        self._wrong[client] = (count + 1, end) if end > now else (1, now + WINDOW_S)
        while len(self._wrong) > MAX_CLIENTS:
            self._wrong.popitem(last=False)


class Access:
    """The rules of one server; see the module."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.sessions = Sessions()
        self._attempts = Attempts(settings.max_wrong_tokens)

    def refusal(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is refused, or None. headers: with names in lower case."""
        path = scope["path"]
        if scope.get("http_version", "1.1") not in HTTP_VERSIONS:
            return kind_of_status(505), "this server speaks HTTP/1.1"
        refused = self._cross_origin(scope, headers) or self._size(path, headers)
        if refused or not self._settings.token or path in OPEN_PATHS or path.startswith("/static/"):
            return refused
        return self._unauthorized(headers, client_of(scope))

    def max_body_bytes(self, path: str, headers: Mapping[str, str]) -> int:
        """Return the most bytes that the body of a request may have; in base64 a sound has a third more."""
        if path in BASE64_PATHS:
            return self._settings.max_upload_bytes * 4 // 3 + BODY_SLACK
        is_form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        return self._settings.max_upload_bytes + BODY_SLACK if is_form else BODY_SLACK

    def check_token(self, token: str, client: str) -> Refusal | None:
        """Return why a token is refused, or None if it is right. Wrong ones are counted."""
        wait_s = self._attempts.wait_s(client)
        if wait_s:
            kind = replace(TOO_MANY_TOKENS, retry_after_s=max(1, round(wait_s)))
            return kind, "too many wrong tokens; wait a minute and send the right one"
        wanted = self._settings.token or ""
        if self._settings.token and not hmac.compare_digest(_digest(token), _digest(wanted)):
            self._attempts.wrong(client)
            return NEEDS_TOKEN, "the token is wrong"
        return None

    def _unauthorized(self, headers: Mapping[str, str], client: str) -> Refusal | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme:
            return self.check_token(token.strip() if scheme.lower() == "bearer" else "", client)
        if self.sessions.valid(_cookie(headers)):
            return None
        return NEEDS_TOKEN, "a token is required; send it as `Authorization: Bearer TOKEN`"

    def _cross_origin(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> Refusal | None:
        """Refuse other host names on a loopback address (DNS rebinding), and requests that other sites send."""
        host = headers.get("host", "")
        name = re.sub(r":\d*$", "", host).strip("[]").lower()
        if self._settings.token is None and self._settings.on_loopback and name not in LOOPBACK:
            return CROSS_ORIGIN, "this server answers requests to localhost only"
        site = headers.get("sec-fetch-site", "").lower()
        if site in ("same-origin", "none"):
            return None
        opens_page = scope["method"] == "GET" and scope["path"] == "/"  # a link on another site
        if site and opens_page and (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == _NAVIGATION:
            return None
        origin = headers.get("origin")  # of browsers that do not send Sec-Fetch-Site
        if site or (origin is not None and _origin_host(origin) != host.lower()):
            return CROSS_ORIGIN, "requests that other sites send are refused; open the page of this server"
        return None

    def _size(self, path: str, headers: Mapping[str, str]) -> Refusal | None:
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            return MALFORMED, "the header Content-Length is not a number of bytes"
        if int(length) > self.max_body_bytes(path, headers):
            return TOO_LARGE, self.too_large(path, headers)
        return None

    def too_large(self, path: str, headers: Mapping[str, str]) -> str:
        """Return the sentence for a body that is too large."""
        limit = self.max_body_bytes(path, headers)
        if limit == BODY_SLACK:
            return f"the request is larger than {limit / 2**20:g} MiB; send less, or a sound as multipart/form-data"
        return f"the upload is larger than {self._settings.max_upload_bytes / 2**20:g} MiB"


def read_headers(pairs: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], Refusal | None]:
    """Return the headers of a request by name, and why the request is refused if they are ambiguous."""
    headers: dict[str, str] = {}
    refused: Refusal | None = None
    pairs = list(pairs)
    if len(pairs) > MAX_HEADERS or sum(len(name) + len(value) for name, value in pairs) > MAX_HEAD_BYTES:
        return {}, (LARGE_HEAD, f"there are more than {MAX_HEADERS} headers or {MAX_HEAD_BYTES >> 10} KiB; send fewer")
    for raw_name, raw_value in pairs:
        name = raw_name.decode("latin-1").lower()
        if name in headers and name in SINGLE_HEADERS:
            refused = MALFORMED, f"the header {name} is there twice; send it once"
        headers[name] = raw_value.decode("latin-1")
    if "transfer-encoding" in headers and "content-length" in headers:
        refused = MALFORMED, "the request has both Content-Length and Transfer-Encoding; send one of them"
    return headers, refused


def has_body(headers: Mapping[str, str]) -> bool:
    """Return whether a request states a body."""
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""


def client_of(scope: Mapping[str, Any]) -> str:
    """Return the client of a request; see `client_network`."""
    return client_network((scope.get("client") or ("",))[0])


def _origin_host(origin: str) -> str:
    """Return host and port of an Origin header in lower case; empty for `null` and for text that is no origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=32).digest()


def _cookie(headers: Mapping[str, str]) -> str:
    """Return the session id of a request; the cookies are split by hand, in time linear in their length."""
    pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
    return next((value for name, _, value in pairs if name == COOKIE), "")
