"""Run a server in a thread, on loopback, for tests that need a socket."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from aural.search.library import Library
from aural.serve.app import create_app
from aural.serve.settings import Settings
from sketch import SketchEmbedder


@contextlib.contextmanager
def live_server(library: Library, settings: Settings | None = None) -> Iterator[str]:
    """Yield the address of a running server; it stops at the end."""
    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(library, SketchEmbedder(), settings or Settings())
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
