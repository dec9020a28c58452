"""A library and a client of its server (all code of the server runs except the socket), and a page in Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from aural.search.library import Library
from aural.search.tag import tag
from library_toys import build_library
from sketch import SketchEmbedder

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]
FLAGS += ["--autoplay-policy=no-user-gesture-required"]
FLAGS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--disable-component-update"]

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(served: Library) -> Iterator[str]:
    from live import live_server

    with live_server(served) as address:
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page that must neither fail nor ask any other host."""
    context = browser.new_context(viewport={"width": 1200, "height": 850}, permissions=["microphone"])
    page, failures, elsewhere = context.new_page(), [], []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((address, "blob:", "data:")) else elsewhere.append(r.url))
    page.goto(address)
    page.wait_for_selector("#library:not(:empty)")
    yield page
    context.close()
    assert (failures, elsewhere) == ([], [])
