"""A small library shared by the tests that only read it, and copies for those that write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("lancedb")

from aural.search.library import Library
from library_toys import add_all, build_library
from sketch import SketchEmbedder


@pytest.fixture
def embedder() -> SketchEmbedder:
    return SketchEmbedder()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a library of twelve files of 0.3 to 27 s, a silent one and a broken one."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "sounds").mkdir()
    (folder / "sounds" / "broken.wav").write_bytes(b"no sound")
    build_library(folder, [0.3 + i * 2.4 for i in range(12)], "silent.wav")
    return folder


@pytest.fixture
def library(built: Path) -> Library:
    """Return the shared library; tests that write use `editable`."""
    return Library(built / "library")


@pytest.fixture
def editable(built: Path, tmp_path: Path) -> Library:
    """Return a separate library with separate sounds, which a test may change."""
    shutil.copytree(built / "sounds", tmp_path / "sounds")
    return add_all(tmp_path)
