"""Run a server in a thread, on loopback, for tests that need a socket."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Iterator

import numpy as np
import soundfile

from aural.core.types import Embedder
from aural.search.library import Library
from aural.serve.app import create_app
from aural.serve.run import listen, server_config
from aural.serve.settings import Settings
from sketch import SketchEmbedder


def tone(seconds: float, rate_hz: int = 16_000, subtype: str | None = None) -> bytes:
    """Return a wav with a tone."""
    out = io.BytesIO()
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)
    soundfile.write(out, wave, rate_hz, format="WAV", subtype=subtype)
    return out.getvalue()


@contextlib.contextmanager
def live_server(library: Library, settings: Settings | None = None, embedder: Embedder | None = None) -> Iterator[str]:
    """Yield the address of a running server; it stops at the end."""
    import uvicorn

    settings = settings or Settings()
    listener = listen(settings.model_copy(update={"port": 0}))
    app = create_app(library, embedder or SketchEmbedder(), settings)
    server = uvicorn.Server(server_config(app, settings))
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
