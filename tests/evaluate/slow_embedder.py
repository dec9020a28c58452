"""A slow random embedder for the resume test, so that a kill interrupts a run in the middle."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from fakes import RandomEmbedder

from aural.core.types import FloatArray


class Slow(RandomEmbedder):
    def embed_audio(self, clips: Iterable[Any]) -> FloatArray:
        time.sleep(0.05)
        return super().embed_audio(clips)


slow = Slow()
