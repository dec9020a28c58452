"""An embedder that needs no weights: a spectrum of a few bands for sounds, a hash of each word for texts.

Deterministic and fast; equal sounds get equal vectors, and no module beyond numpy is imported, so that processes
started by tests begin at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from aural.audio.io import read
from aural.core.types import AudioSource, FloatArray

RATE_HZ, DIM = 8000, 32


class SketchEmbedder:
    """Satisfies `Embedder`."""

    sample_rate_hz, embed_dim = RATE_HZ, DIM

    def __init__(self, seed: int = 0) -> None:
        self._turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((DIM, DIM)))[0].astype(np.float32)
        self.sounds = 0

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        rows = [self._sound(clip) for clip in clips]
        self.sounds += len(rows)
        return np.stack(rows) if rows else np.empty((0, DIM), np.float32)

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        rows = [sum((_word(word) for word in text.split()), np.zeros(DIM)) + 1e-3 for text in texts]
        stacked = np.array(rows, np.float32).reshape(-1, DIM)
        return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)

    def _sound(self, clip: Any) -> FloatArray:
        samples = read(clip, sample_rate_hz=RATE_HZ, mono=True).samples[0]
        power = np.abs(np.fft.rfft(samples, 4096)) + 1e-4
        bands = np.log(np.add.reduceat(power, np.linspace(0, power.size - 1, DIM + 1).astype(int)[:-1]))
        vector = self._turn @ (bands - bands.mean() + 0.01).astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _word(word: str) -> np.ndarray[Any, Any]:
    seed = int.from_bytes(hashlib.blake2b(word.lower().encode("utf-8", "replace"), digest_size=8).digest(), "little")
    return np.random.default_rng(seed).standard_normal(DIM)
