"""Check and log every request: request id, token, host name, limits of size and time, metrics.

The middleware is pure ASGI, so nothing is buffered.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import re
import time
import uuid
from http.cookies import CookieError, SimpleCookie
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aural.serve.settings import LOOPBACK, Settings

LOG = logging.getLogger("aural.serve")
COOKIE = "aural_token"
OPEN_PATHS = frozenset({"/", "/health", "/v1/session", "/favicon.ico"})
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
BODY_SLACK = 1 << 20  # bytes of form fields around an upload


class Metrics:
    """The Prometheus metrics of one server, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ("method", "route", "status")
        self.requests = Counter("aural_requests", "Requests answered.", names, registry=self.registry)
        duration = "Time until the end of the answer."
        self.seconds = Histogram("aural_request_seconds", duration, ("route",), registry=self.registry)
        self.batch = Histogram(
            "aural_batch_size",
            "Items per call of the model.",
            ("kind",),
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.active = Gauge("aural_requests_under_way", "Requests being answered.", registry=self.registry)
        self.decoders_ended = Gauge("aural_decoders_ended", "Decoders ended by a sound.", registry=self.registry)
        self.files = Gauge("aural_library_files", "Files in the library.", registry=self.registry)


class Guard:
    """The middleware of the server; see the module."""

    def __init__(self, app: Any, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        client_id = headers.get("x-request-id", "")
        request_id = client_id if _ID.fullmatch(client_id) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        call = _Call(scope, receive, send, request_id, self._settings.max_upload_bytes + BODY_SLACK)
        began = time.perf_counter()
        self._metrics.active.inc()
        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await call.refuse(*refusal)
            else:
                await self._answer(call)
        finally:
            self._metrics.active.dec()
            self._log(scope, call.status, time.perf_counter() - began, request_id)

    async def _answer(self, call: _Call) -> None:
        try:
            async with asyncio.timeout(self._settings.request_timeout_s) as limit:
                call.started = lambda: limit.reschedule(None)  # the limit does not apply to an answer that has begun
                await self._app(call.scope, call.receive, call.send)
        except TimeoutError:
            await call.refuse(
                503, f"took longer than {self._settings.request_timeout_s:g} s; send a smaller request or try later"
            )
        except Exception:
            LOG.exception(json.dumps({"event": "failure", "request_id": call.request_id}))
            await call.refuse(500, "internal error; see the server's log for this request id")

    def _refusal(self, scope: Any, headers: dict[str, str]) -> tuple[int, str] | None:
        settings, path = self._settings, scope["path"]
        host = headers.get("host", "").rsplit(":", 1)[0].strip("[]").lower()
        if settings.token is None and settings.on_loopback and host not in LOOPBACK:
            return 403, "this server answers requests to localhost only"  # prevents DNS rebinding
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > settings.max_upload_bytes + BODY_SLACK:
            return 413, f"the upload is larger than {settings.max_upload_bytes / 2**20:g} MiB"
        if settings.token and path not in OPEN_PATHS and not path.startswith("/static/"):
            offered = headers.get("authorization", "").removeprefix("Bearer ").strip() or _cookie(headers)
            if not hmac.compare_digest(offered.encode(), settings.token.encode()):
                return 401, "a token is required; send it as `Authorization: Bearer TOKEN`"
        return None

    def _log(self, scope: Any, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        line = {"event": "request", "request_id": request_id, "method": scope["method"], "path": scope["path"]}
        client = (scope.get("client") or ("",))[0]
        LOG.info(json.dumps(line | {"status": status, "ms": round(1000 * seconds, 2), "client": client}))


class _Call:
    """One request: limits the received bytes and records the status of the answer."""

    def __init__(self, scope: Any, receive: Any, send: Any, request_id: str, max_bytes: int) -> None:
        self.scope = scope
        self.request_id = request_id
        self.status = 0
        self._receive = receive
        self._send = send
        self._max_bytes = self._bytes_left = max_bytes
        self._began = self._too_large = self._closed = False
        self.started: Any = lambda: None

    async def receive(self) -> Any:
        message = await self._receive()
        self._bytes_left -= len(message.get("body", b""))
        if self._bytes_left < 0:
            self._too_large = True
            raise ValueError("body too large")
        return message

    async def send(self, message: Any) -> None:
        if self._closed:
            return
        if self._too_large:  # replaces the answer of the application
            await self.refuse(413, f"the upload is larger than {(self._max_bytes - BODY_SLACK) / 2**20:g} MiB")
            return
        if message["type"] == "http.response.start":
            self._began, self.status = True, message["status"]
            self.started()
            extra = [
                (b"x-request-id", self.request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
            ]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await self._send(message)

    async def refuse(self, status: int, error: str) -> None:
        """Send an error, unless an answer has begun."""
        if self._began:
            return
        self._too_large = False
        self.started = lambda: None  # an expired time limit cannot be changed
        body = json.dumps({"error": error, "request_id": self.request_id}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        with contextlib.suppress(OSError):
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})
        self._closed = True


def _cookie(headers: dict[str, str]) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""
