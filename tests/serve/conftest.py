"""A library and a client of its server. All code of the server runs except the socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aural.search.library import Library
from aural.search.tag import tag
from library_toys import build_library
from sketch import SketchEmbedder

for package in ("lancedb", "fastapi", "httpx", "prometheus_client", "python_multipart"):
    pytest.importorskip(package)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Return a library of 40 files of 0.3 to 24 s with tags; windows of 5 s."""
    folder = tmp_path_factory.mktemp("served")
    library = build_library(folder, [0.3 + i * 0.6 for i in range(39)], "silent.flac")
    (folder / "secret.wav").write_bytes((folder / "sounds" / "Effects" / "00.wav").read_bytes())
    tag(library, SketchEmbedder(), ["rain", "wind", "dog"])
    return library


@pytest.fixture(scope="session")
def client(served: Library) -> Iterator[object]:
    from fastapi.testclient import TestClient

    from aural.serve.app import create_app
    from aural.serve.settings import Settings

    settings = Settings(max_upload_bytes=1 << 20, max_duration_s=30.0, decode_timeout_s=5.0, decode_memory_mib=256)
    app = create_app(served, SketchEmbedder(), settings)
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        yield client
