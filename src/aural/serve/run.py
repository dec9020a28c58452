"""Run the server until it receives a stop signal; active requests are answered first."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
from typing import TYPE_CHECKING, Any

from aural.core.errors import ConfigError
from aural.core.types import Embedder
from aural.search.library import Library
from aural.serve.guard import LOG, describe
from aural.serve.settings import Settings

if TYPE_CHECKING:
    from aural.serve.follow import OpenModel

GRACE_S = 10
RESERVED_FILES = 100
"""Open files that are not for connections: the library, decoders, temporary files of uploads."""

BACKLOG = 128
"""Connections that wait to be accepted; the event loop accepts as many at once."""


def serve(library: Library, embedder: Embedder, settings: Settings, *, open_model: OpenModel | None = None) -> None:
    """Serve a library until SIGINT or SIGTERM.

    open_model: loads the model of another space; see `aural.serve.app.create_app`. Raises ConfigError if the address is
    not available, or if other machines can reach it and no token is set.
    """
    import uvicorn

    from aural.serve.app import create_app

    if not settings.on_loopback and not settings.token:
        raise ConfigError(f"host {settings.host} can be reached from other machines; set --token or use 127.0.0.1")
    settings = within_file_limit(settings)
    app = create_app(library, embedder, settings, open_model=open_model)
    _log_to_stderr()
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    print(f"serving {library.root} on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    try:
        uvicorn.Server(server_config(app, settings)).run(sockets=[listener])
    finally:
        listener.close()


def server_config(app: Any, settings: Settings) -> Any:
    """Return the configuration of uvicorn: every limit of the connections, and no text that is not from aural."""
    import uvicorn

    from aural.serve.connections import limited_protocol

    return uvicorn.Config(
        app,
        http=limited_protocol(settings),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=settings.idle_timeout_s,
        backlog=BACKLOG,
    )


def listen(settings: Settings) -> socket.socket:
    """Return a socket bound to the address of the settings. Raises ConfigError if the address is not available."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With IPPROTO_TCP, asyncio sets TCP_NODELAY; without it, a small answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        place = f"{settings.host} port {settings.port}"
        raise ConfigError(f"{place}: cannot be used ({error.strerror}); choose another port with --port") from None
    return listener


def within_file_limit(settings: Settings) -> Settings:
    """Allow as many open files as the system permits, and no more connections than that.

    Each connection is an open file; without one the server cannot accept, decode or read.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return settings
    most = max(1, min(settings.max_connections, (soft - RESERVED_FILES) // 2))  # a connection may read a sound
    return settings.model_copy(update={"max_connections": most})


def _log_to_stderr() -> None:
    """Log one JSON object per line; other loggers are not changed, except those of the web server and event loop."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    for name, level in (("aural.serve", logging.INFO), ("uvicorn.error", logging.ERROR), ("asyncio", logging.ERROR)):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(handler)
            logger.setLevel(level)
            logger.propagate = False


class _Json(logging.Formatter):
    """A formatter that adds time and level to a message that is already JSON, and makes JSON of other messages."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"), "level": record.levelname.lower()}
        if record.name == LOG.name:
            return json.dumps(line | json.loads(record.getMessage()))
        line |= {"event": record.name, "message": str(record.msg)[:200]}  # without its arguments, which may quote words
        if record.exc_info and record.exc_info[1]:
            line |= describe(record.exc_info[1])
        return json.dumps(line)
