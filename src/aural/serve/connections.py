"""Limit connections: time of a request's head, of a body after its answer, and of a client that takes no data; numbers.

When there are too many connections, one that waits for its client is closed for a new one: first those without an
answer yet, then the one whose answer is longest ago. Half-open connections therefore never keep others out, also if all
come from one address.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import uuid
from collections import Counter
from http import HTTPStatus
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from aural.serve.access import MAX_HEAD_BYTES, client_network
from aural.serve.guard import LOG
from aural.serve.problems import (
    BUSY,
    LARGE_HEAD,
    MALFORMED,
    SLOW_REQUEST,
    ProblemKind,
    problem_body,
    problem_headers,
)
from aural.serve.settings import Settings

LINGER_S = 2.0
MANY_CHUNKS, SMALL_CHUNK_BYTES = 1000, 64
DRAIN_S = 5.0
"""Time for the rest of a body whose request is answered already."""


class _Parser(h11.Connection):
    """A parser that stops at bodies of very many very small chunks, each of which costs as much as a large one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._chunks = self._chunk_bytes = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._chunk_bytes = 0
        elif isinstance(event, h11.Data) and (event.chunk_start or self._chunks):
            self._chunks += event.chunk_start
            self._chunk_bytes += len(event.data)
            if self._chunks > MANY_CHUNKS and self._chunk_bytes < SMALL_CHUNK_BYTES * self._chunks:
                raise h11.RemoteProtocolError("the chunks are too small")
        return event


class Connections:
    """The open connections of a server, oldest first."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._open: dict[LimitedProtocol, str] = {}  # with the network of each client
        self._counts: Counter[str] = Counter()

    def admit(self, connection: LimitedProtocol, client: str) -> bool:
        """Add a connection, and close an older one that waits for its client if there are too many.

        Returns False if all others are busy. Reverse proxies have no limit per client.
        """
        settings = self.settings
        allowed = True
        if client not in settings.proxies and self._counts[client] >= settings.max_connections_per_client:
            allowed = self._close_oldest(client)
        elif len(self._open) >= settings.max_connections:
            largest = [name for name, _ in self._counts.most_common()]
            allowed = any(self._close_oldest(name) for name in largest)
        if allowed:
            self._open[connection] = client
            self._counts[client] += 1
        return allowed

    def remove(self, connection: LimitedProtocol) -> None:
        """Remove a closed connection."""
        client = self._open.pop(connection, None)
        if client is not None:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]

    def _close_oldest(self, client: str) -> bool:
        waiting = [one for one, name in self._open.items() if name == client and one.waits_for_client]
        oldest = min(waiting, key=lambda one: (one.answers > 0, one.since), default=None)
        if oldest is None:
            return False
        self.remove(oldest)
        oldest.transport.abort()
        return True


class LimitedProtocol(H11Protocol):
    """One connection; `limited_protocol` returns the class for a server."""

    registry: ClassVar[Connections]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.answers = 0
        self.since = self.loop.time()
        """Time of the last answer, or of the connection."""
        self.conn = _Parser(h11.SERVER, MAX_HEAD_BYTES)
        self._refused = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._drain_timer: asyncio.TimerHandle | None = None

    @property
    def waits_for_client(self) -> bool:
        """True if the server waits: the head or the body is incomplete, or the client takes no data."""
        answered = self.cycle is None or self.cycle.response_complete
        return bool(self._refused or answered or self.cycle.more_body or self.flow.write_paused)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        client = client_network(self.client[0] if self.client else "")
        if self.registry.admit(self, client):
            self._watch_head()
        else:
            self._refuse(BUSY, "too many connections are open; try again in a moment")

    def connection_lost(self, exc: Exception | None) -> None:
        self.registry.remove(self)
        for timer in (self._head_timer, self._send_timer, self._drain_timer):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._refused and not self.transport.is_closing():
            super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if not self._refused:
            self._watch_head()

    def on_response_complete(self) -> None:
        self.answers += 1
        self.since = self.loop.time()
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._drain_timer = self.loop.call_later(DRAIN_S, self.transport.abort)
        self._watch_head()

    def _watch_head(self) -> None:
        """Start the time limit when a request's head begins, and stop it when the head is complete."""
        if self.conn.their_state is not h11.SEND_BODY and self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None
        incomplete = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        if not incomplete and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        elif incomplete and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.registry.settings.head_timeout_s, self._head_late)

    def _head_late(self) -> None:
        if not self._refused and self.conn.our_state is h11.IDLE:
            limit_s = self.registry.settings.head_timeout_s
            self._refuse(SLOW_REQUEST, f"the headers took longer than {limit_s:g} s to arrive; send them at once")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_timer = self.loop.call_later(self.registry.settings.send_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP, or a head that is too large."""
        error = sys.exc_info()[1]
        hint = getattr(error, "error_status_hint", 400)
        if hint == 431:
            self._refuse(LARGE_HEAD, "the headers of the request are too large; send fewer or shorter ones")
        else:
            self._refuse(MALFORMED, "the request is not valid HTTP")

    def shutdown(self) -> None:
        if self._refused:
            self.transport.abort()
        else:
            super().shutdown()

    def _refuse(self, kind: ProblemKind, detail: str) -> None:
        """Send a problem document and end the connection; no request reaches the application.

        What the client still sends is dropped for a short time, because closing at once could discard the answer.
        """
        self._refused = True
        request_id = uuid.uuid4().hex
        body = problem_body(kind, detail, request_id)
        headers = problem_headers(kind) | {"content-length": str(len(body)), "connection": "close"}
        headers |= {"x-request-id": request_id, "x-content-type-options": "nosniff"}
        head = [
            f"HTTP/1.1 {kind.status} {HTTPStatus(kind.status).phrase}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application sends nothing more
            self.cycle.message_event.set()
        line = {"event": "refused connection", "request_id": request_id, "status": kind.status, "problem": kind.name}
        LOG.info(json.dumps(line | {"client": self.client[0] if self.client else ""}))
        if kind is BUSY:
            self.transport.close()
        else:
            with contextlib.suppress(OSError):  # the client is gone
                self.transport.write_eof()
            self._drain_timer = self.loop.call_later(LINGER_S, self.transport.abort)


def limited_protocol(settings: Settings) -> type[LimitedProtocol]:
    """Return the class of the connections of one server."""
    return type("ServerProtocol", (LimitedProtocol,), {"registry": Connections(settings)})
