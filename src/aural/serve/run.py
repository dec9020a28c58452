"""Run the server until it receives a stop signal; active requests are answered first."""

from __future__ import annotations

import logging
import socket
import sys

from aural.core.errors import ConfigError
from aural.core.types import Embedder
from aural.search.library import Library
from aural.serve.settings import Settings

GRACE_S = 10


def serve(library: Library, embedder: Embedder, settings: Settings) -> None:
    """Serve a library until SIGINT or SIGTERM.

    Raises ConfigError if the address is not available, or if other machines can reach it and no token is set.
    """
    import uvicorn

    from aural.serve.app import create_app

    if not settings.on_loopback and not settings.token:
        raise ConfigError(f"host {settings.host} can be reached from other machines; set --token or use 127.0.0.1")
    app = create_app(library, embedder, settings)
    _log_to_stderr()
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    print(f"serving {library.folder} on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=64 << 10,
        limit_concurrency=1000,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()


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


def _log_to_stderr() -> None:
    """Log one JSON object per line; other loggers are not changed."""
    logger = logging.getLogger("aural.serve")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Json())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


class _Json(logging.Formatter):
    """A formatter that adds time and level to a message that is already JSON."""

    def format(self, record: logging.LogRecord) -> str:
        import json

        line = {"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"), "level": record.levelname.lower()}
        line |= json.loads(record.getMessage())
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)
