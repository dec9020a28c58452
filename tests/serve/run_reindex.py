"""Build a space of a library and switch to it, as a process to be killed: `run_reindex.py LIBRARY NAME SEED`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from aural.core.types import AudioSource, FloatArray
from aural.search import library as libraries
from aural.search.library import Library
from aural.search.reindex import new_space, reindex, switch
from sketch import SketchEmbedder


class SlowSounds(SketchEmbedder):
    """Takes a few milliseconds per batch, so that kills fall between commits too."""

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        time.sleep(0.01)
        return super().embed_audio(clips)


if __name__ == "__main__":
    libraries.COMMIT_FILES = 4
    root, name, embedder = Path(sys.argv[1]), sys.argv[2], SlowSounds(int(sys.argv[3]))
    print("ready", flush=True)
    space = new_space(root, embedder, model=f"sketch-{sys.argv[3]}", name=name, window_s=5.0)
    for done in reindex(Library(root), space, embedder):
        print(done.status, done.path, flush=True)
    switch(root, name)
    print("end", flush=True)
