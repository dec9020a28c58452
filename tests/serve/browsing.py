"""What tests of the page share: waiting without code from text, the names that are listed, and axe-core."""

from __future__ import annotations

import time
from typing import Any

import pytest

from aural.search.filters import parse_filter
from aural.search.library import Library
from aural.search.query import combine
from sketch import SketchEmbedder


def names(page: Any) -> list[str]:
    return list(page.evaluate("[...document.querySelectorAll('.hit .name')].map(e => e.textContent)"))


def until(page: Any, truth: str, seconds: float = 60.0) -> None:
    """Ask until an expression is true (the page's policy forbids Playwright's own way, which builds code from text)."""
    end = time.monotonic() + seconds
    while not page.evaluate(truth):
        assert time.monotonic() < end, f"never true: {truth}"
        page.wait_for_timeout(30)


def wait_for(page: Any, want: list[str]) -> None:
    """Until the list holds these names in this order."""
    end = time.monotonic() + 20
    while names(page) != want and time.monotonic() < end:
        page.wait_for_timeout(30)
    assert names(page) == want


def expected(
    library: Library, words: list[str], minus: list[str], where: str | None = None, like: list[str] | None = None
) -> list[str]:
    """What the library itself answers."""
    vectors = [library.vector(file) for file in like or []]
    query = combine(words, vectors, minus, SketchEmbedder().embed_text)
    hits = library.search(query, 40, parse_filter(where) if where else None, words=words)
    return [hit.path.rsplit("/", 1)[1] for hit in hits]


def axe(page: Any) -> list[str]:
    """What axe-core reports about the page as it is."""
    axe_core = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    return [f"{one['id']} {one['nodes'][0]['target']}" for one in axe_core.Axe().run(page).response["violations"]]


def search(page: Any, library: Library, words: str = "rain") -> None:
    page.fill("#words", words)
    wait_for(page, expected(library, [words], []))


def durations(library: Library) -> dict[str, float]:
    """The length of every file in seconds."""
    rows = library.store.rows(["path", "duration"]).to_pylist()
    return {row["path"]: row["duration"] for row in rows}
