"""A server in a process of its own, to be stopped and killed: `run_server.py LIBRARY PORT [SECONDS_A_TEXT]`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from aural.core.types import FloatArray
from aural.search.library import Library
from aural.serve import service
from aural.serve.run import serve
from aural.serve.settings import Settings
from sketch import SketchEmbedder


class SlowWords(SketchEmbedder):
    """Takes its time over texts, so that a request is under way when the server is told to stop."""

    seconds = 0.0

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        time.sleep(self.seconds)
        return super().embed_text(texts)


if __name__ == "__main__":
    service.INDEX_FROM_ROWS = 256  # from here on the table is searched, not the index in memory
    embedder = SlowWords()
    embedder.seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    settings = Settings(port=int(sys.argv[2]), space_poll_s=0.1)
    # A model called sketch-N is the sketch with seed N.
    serve(
        Library(sys.argv[1]), embedder, settings, open_model=lambda name: SketchEmbedder(int(f"{name}-0".split("-")[1]))
    )
