"""One command on a library, to be killed: `run_library.py WHAT LIBRARY SOUNDS`; prints each file as it is told done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from aural.core.types import AudioSource, FloatArray
from aural.search import library as libraries
from aural.search.library import Library
from sketch import SketchEmbedder


class WideEmbedder(SketchEmbedder):
    """256 numbers, from which on the default index keeps one bit of each."""

    embed_dim = 256

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        return np.tile(super().embed_audio(clips), 8) / np.float32(np.sqrt(8))


class SlowEmbedder(WideEmbedder):
    """Takes a few milliseconds a batch, so that kills fall between commits, too."""

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        time.sleep(0.004)
        return super().embed_audio(clips)


def main(what: str, folder: str, sounds: str) -> None:
    libraries.COMMIT_FILES, libraries.CHUNK_FILES = 5, 20  # many small commits
    embedder = SlowEmbedder()
    print("ready", flush=True)
    if what == "add":
        library = Library.create(folder, embedder, model="sketch", window_s=1.0)
        files = sorted(Path(sounds).rglob("*.wav"))
        for done in library.add(files, embedder, roots=[Path(sounds)]):
            print(done.status, done.path, flush=True)
    elif what == "update":
        library = Library(folder)
        for done in library.update(embedder):
            print(done.status, done.path, flush=True)
    elif what == "compact":
        library = Library(folder)
        for _ in range(20):
            library.store.build_index(partitions=2)
            library.store.index_filters()
            library.optimize(build_from=10**9)
    library.optimize(build_from=256)  # as the command line does; the default kind of index from few rows on
    print("end", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
