"""Check and log every request: request id, access, limits of size and time, metrics, and the form of every error.

The middleware is pure ASGI, so nothing is buffered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
import traceback
import uuid
from dataclasses import dataclass
from typing import Any, Final

from aural.serve.access import Access, Refusal, has_body, read_headers
from aural.serve.metrics import Metrics
from aural.serve.problems import (
    BUSY,
    INTERNAL,
    MEDIA_TYPE,
    SLOW_REQUEST,
    TIMEOUT,
    TOO_LARGE,
    kind_of_status,
    problem_body,
    problem_headers,
)
from aural.serve.settings import Settings

LOG = logging.getLogger("aural.serve")
CLIENT_LEFT: Final = 499
"""Status in log and metrics of a request whose client closed the connection before the answer."""

MAX_LOGGED: Final = 200
FOREIGN: Final = "the request is refused; leave out headers such as Range, or see /openapi.json"
"""Detail of a problem document in place of an error that the framework wrote."""

PENDING_UPLOADS: Final = 16
"""Uploads of the largest size whose bytes may be stored at the same time."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS")
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"private, no-cache"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


class Guard:
    """The middleware of the server; see the module."""

    def __init__(self, app: Any, settings: Settings, metrics: Metrics, access: Access) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._access = access
        self._uploads = Uploads(PENDING_UPLOADS * settings.max_upload_bytes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, refusal = read_headers(scope["headers"])
        client_id = headers.get("x-request-id", "")
        request_id = client_id if _ID.fullmatch(client_id) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        limits = self._access.max_body_bytes(scope["path"], headers), self._settings.body_timeout_s
        call = _Call(scope, receive, send, *limits, uploads=self._uploads if has_body(headers) else None)
        began = time.perf_counter()
        self._metrics.active.inc()
        try:
            refusal = refusal or self._access.refusal(scope, headers)
            if refusal is not None:
                await call.refuse(refusal)
            else:
                call.too_large = TOO_LARGE, self._access.too_large(scope["path"], headers)
                await self._answer(call)
        finally:
            self._metrics.active.dec()
            self._uploads.bytes -= call.received
            self._log(scope, call, time.perf_counter() - began)

    async def _answer(self, call: _Call) -> None:
        task = asyncio.current_task()
        assert task is not None
        left = asyncio.create_task(call.cancel_when_client_leaves(task))
        limit_s = self._settings.request_timeout_s
        try:
            async with asyncio.timeout(limit_s) as limit:
                call.started = lambda: limit.reschedule(None)  # the limit does not apply to an answer that has begun
                await self._app(call.app_scope, call.receive, call.send)
        except asyncio.CancelledError:
            if not call.client_left:
                raise
            task.uncancel()
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                late = TIMEOUT, f"took longer than {limit_s:g} s; send a smaller request or try later"
                slow = SLOW_REQUEST, f"the request took longer than {limit_s:g} s to arrive; send it again"
                await call.refuse(late if call.complete else slow)
            elif call.instead is not None:
                await call.refuse(call.instead)
            else:
                event = {"event": "failure", "request_id": call.request_id}
                LOG.error(json.dumps(event | describe(error)))
                await call.refuse((INTERNAL, "internal error; see the server's log for this request id"))
        finally:
            left.cancel()

    def _log(self, scope: Any, call: _Call, seconds: float) -> None:
        if call.client_left and not call.status:
            call.status = CLIENT_LEFT
        route = getattr(call.app_scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, call.status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        line = {"event": "request", "request_id": call.request_id, "method": scope["method"][:MAX_LOGGED]}
        line |= {"path": scope["path"][:MAX_LOGGED], "status": call.status, "ms": round(1000 * seconds, 2)}
        if "problem" in scope["state"]:
            line["problem"] = scope["state"]["problem"]
        LOG.info(json.dumps(line | {"client": (scope.get("client") or ("",))[0]}))


def describe(error: BaseException) -> dict[str, Any]:
    """Return the type of an exception, those of its causes, and its stack; without messages, which may quote words."""
    types: list[str] = []
    current: BaseException | None = error
    while current is not None and len(types) < 8:
        types.append(type(current).__qualname__)
        current = current.__cause__ or current.__context__
    stack = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return {"error": " from ".join(types), "stack": stack[-30:]}


@dataclass(slots=True)
class Uploads:
    """The bytes of all bodies whose requests are under way; large ones are in temporary files."""

    max_bytes: int
    bytes: int = 0

    def add(self, size: int) -> bool:
        """Count received bytes; returns False if there are too many."""
        self.bytes += size
        return self.bytes <= self.max_bytes


def _is_foreign_error(message: Any) -> bool:
    """Return whether an answer is an error in another form, such as the framework's plain text about a range."""
    kinds = [value for name, value in message.get("headers", []) if name.lower() == b"content-type"]
    return message["status"] >= 400 and kinds != [MEDIA_TYPE.encode()]


class _Call:
    """One request: limits size and time of its body, notices when its client leaves, and records its answer.

    client_left: true once the client closed the connection. complete: true once the body arrived.
    """

    def __init__(
        self,
        scope: Any,
        receive: Any,
        send: Any,
        max_bytes: int,
        body_timeout_s: float,
        *,
        uploads: Uploads | None,
    ) -> None:
        self.scope = scope
        self.is_head = scope["method"] == "HEAD"
        self.app_scope = scope
        if self.is_head:  # the answer of GET without its body
            scope["state"]["head_only"] = True
            self.app_scope = {**scope, "method": "GET"}
        self.request_id: str = scope["state"]["request_id"]
        self.status = 0
        self.client_left = False
        self.complete = uploads is None
        self.too_large: Refusal = (TOO_LARGE, "the request is too large")
        self.started: Any = lambda: None
        self._receive = receive
        self._send = send
        self.received = 0
        self._uploads = uploads
        self._max_bytes = max_bytes
        self._body_timeout_s = body_timeout_s
        self._arrived = asyncio.Event()
        self._gone = asyncio.Event()
        self._began = False
        self._ended = False
        self._empty = uploads is None  # the application has not received the empty body yet
        self.instead: Refusal | None = None  # replaces the answer of the application
        if uploads is None:
            self._arrived.set()

    async def receive(self) -> Any:
        if self._empty:
            self._empty = False
            return {"type": "http.request", "body": b"", "more_body": False}
        if self.complete:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout(self._body_timeout_s):
                message = await self._receive()
        except TimeoutError:
            slow = f"no byte of the request arrived for {self._body_timeout_s:g} s; send it again"
            self.instead = SLOW_REQUEST, slow
            raise ValueError("body too slow") from None
        size = len(message.get("body", b""))
        self.received += size
        few = self._uploads is None or self._uploads.add(size)
        if self.received > self._max_bytes:
            self.instead = self.too_large
        elif not few:
            self.instead = BUSY, "too many uploads are under way; try again in a moment"
        if self.instead is not None:
            raise ValueError("body too large")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self.complete = True
            self.client_left = message["type"] == "http.disconnect"
            self._arrived.set()
        return message

    async def cancel_when_client_leaves(self, task: asyncio.Task[Any]) -> None:
        """Wait until the body arrived and the client closes the connection; cancel its unanswered request."""
        await self._arrived.wait()
        while not self._ended:
            if (await self._receive())["type"] == "http.disconnect":
                self._gone.set()
                if not self._ended:
                    self.client_left = True
                    task.cancel()
                return

    async def send(self, message: Any) -> None:
        if self._ended or self.client_left:
            return
        if self.instead is not None and not self._began:
            await self.refuse(self.instead)
            return
        if message["type"] == "http.response.start" and _is_foreign_error(message):
            await self.refuse((kind_of_status(message["status"]), FOREIGN))
            return
        if message["type"] == "http.response.start":
            self._began, self.status = True, message["status"]
            self.started()
            extra = ((b"x-request-id", self.request_id.encode()), *_HEADERS)
            present = {name.lower() for name, _ in message.get("headers", [])}
            added = [(name, value) for name, value in extra if name not in present]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        elif self.is_head:
            message = {"type": "http.response.body", "body": b""}  # the body of the answer is not sent
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._ended = True
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Send a problem document, unless an answer has begun."""
        if self._began:
            return
        kind, detail = refusal
        self.instead = None
        self.started = lambda: None  # an expired time limit cannot be changed
        self.scope["state"]["problem"] = kind.name
        body = problem_body(kind, detail, self.request_id)
        headers = problem_headers(kind) | {"content-length": str(len(body))}
        if not self.complete and kind.status in (400, 408):
            headers["connection"] = "close"  # where the next request begins is not certain
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        with contextlib.suppress(OSError):
            await self.send({"type": "http.response.start", "status": kind.status, "headers": pairs})
            await self.send({"type": "http.response.body", "body": body})
        self._ended = True
