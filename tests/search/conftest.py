"""A small library shared by the tests that only read it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.search.library import Library
from library_toys import RATE_HZ, write_sound
from sketch import SketchEmbedder

pytest.importorskip("lancedb")


@pytest.fixture
def embedder() -> SketchEmbedder:
    return SketchEmbedder()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve files of 0.3 to 27 s in two folders, a silent one, a broken one; windows of 5 s."""
    folder = tmp_path_factory.mktemp("built")
    for i in range(12):
        write_sound(folder / "sounds" / ("ambience" if i % 2 else "Effects") / f"{i:02}.wav", 0.3 + i * 2.4, i)
    soundfile.write(folder / "sounds" / "silent.wav", np.zeros(4000, np.float32), RATE_HZ)
    (folder / "sounds" / "broken.wav").write_bytes(b"no sound")
    embedder = SketchEmbedder()
    library = Library.create(folder / "library", embedder, model="sketch", window_s=5.0)
    list(library.add(sorted((folder / "sounds").rglob("*.wav")), embedder, roots=[folder / "sounds"]))
    return folder


@pytest.fixture
def library(built: Path) -> Library:
    """The shared library; tests that write take `own`."""
    return Library(built / "library")


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Library:
    """A library of its own with sounds of its own, which a test may change."""
    shutil.copytree(built / "sounds", tmp_path / "sounds")
    embedder = SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch", window_s=5.0)
    list(library.add(sorted((tmp_path / "sounds").rglob("*.wav")), embedder, roots=[tmp_path / "sounds"]))
    return library
