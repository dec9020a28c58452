"""Draw excerpts of clips as queries of a fingerprint, changed by rooms, noise, speed and codecs, and check answers.

Legend: T samples.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from aural.core.types import FloatArray

LEAST_DB: Final = -50.0
"""Excerpts below this level (re full scale, rms) are not asked."""
COPY: Final = 0.9
"""Correlation from which a part of a clip is the same recording as an excerpt."""


def level_db(wave: FloatArray) -> float:
    """Return the mean power in dB re full scale."""
    return float(10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-20))


def correlation(excerpt: FloatArray, clip: FloatArray) -> float:
    """Return the largest normalized correlation of an excerpt with as long a part of a clip that is not silent.

    >>> wave = np.random.default_rng(0).standard_normal(500).astype(np.float32)
    >>> round(correlation(wave[100:200], 3 * wave), 4)
    1.0
    """
    from scipy.signal import fftconvolve

    padded = np.pad(clip.astype(np.float64), len(excerpt))
    products = fftconvolve(padded, excerpt[::-1].astype(np.float64), mode="valid")
    sums = np.cumsum(np.r_[0.0, padded**2])
    powers = sums[len(excerpt) :] - sums[: -len(excerpt)]
    power = float(np.sum(excerpt.astype(np.float64) ** 2))
    return float(np.max(np.abs(products) / np.sqrt(power * np.maximum(powers, 0.01 * power))))


class Excerpts:
    """Draws excerpts of `length` samples of clips (T,), and changes them."""

    def __init__(self, clips: Sequence[FloatArray], rate_hz: int, *, length: int, rooms: int, seed: int) -> None:
        self.clips, self.rate_hz, self.length = clips, rate_hz, length
        self.random = np.random.default_rng(seed)
        self.rooms = [self._room() for _ in range(rooms)]

    def _room(self) -> FloatArray:
        """Return the response of a shoebox room with 0.2 to 0.8 s of reverberation, by image sources."""
        import pyroomacoustics

        size = self.random.uniform([3, 3, 2.4], [10, 8, 4])
        absorption, order = pyroomacoustics.inverse_sabine(self.random.uniform(0.2, 0.8), size)
        room = pyroomacoustics.ShoeBox(
            size, fs=self.rate_hz, materials=pyroomacoustics.Material(absorption), max_order=min(order, 17)
        )
        room.add_source(self.random.uniform(0.5, size - 0.5))
        room.add_microphone(self.random.uniform(0.5, size - 0.5))
        room.compute_rir()
        response = np.asarray(room.rir[0][0], np.float32)
        return response[max(0, int(np.argmax(np.abs(response))) - 40) :]

    def cases(self, numbers: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return clips and places of excerpts that are not silent."""
        drawn = [(int(i), self.place(self.clips[int(i)])) for i in numbers]
        return [(i, at) for i, at in drawn if level_db(self.clips[i][at : at + self.length]) > LEAST_DB]

    def place(self, clip: FloatArray) -> int:
        """Return where an excerpt starts: the loudest of three random places."""
        starts = self.random.integers(0, max(1, len(clip) - self.length + 1), 3)
        return int(max(starts, key=lambda at: float(np.square(clip[at : at + self.length]).sum())))

    def noise(self) -> FloatArray:
        """Return the sum of four other clips, or pink noise, each for half of the queries."""
        if self.random.random() < 0.5:
            total = np.zeros(self.length, np.float32)
            for number in self.random.integers(0, len(self.clips), 4):
                part = self.clips[int(number)]
                at = self.place(part)
                piece = part[at : at + self.length]
                total[: len(piece)] += piece / max(float(np.sqrt(np.mean(piece**2))), 1e-4)
            return total
        spectrum = np.fft.rfft(self.random.standard_normal(self.length))
        return np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), self.length).astype(np.float32)

    def query(self, clip: FloatArray, at: int, change: dict[str, Any]) -> FloatArray:
        """Return the excerpt at a place after a change: speed, room, snr_db (a number or a range) and codec."""
        from scipy.signal import fftconvolve

        speed, before = change.get("speed", 1.0), min(at, self.rate_hz // 2)
        wave = clip[at - before : at + self.length]
        if speed != 1.0:
            places = before + np.arange(self.length) * speed
            wave = np.interp(places, np.arange(len(wave)), wave).astype(np.float32)
            before = 0
        if change.get("room"):
            response = self.rooms[int(self.random.integers(0, len(self.rooms)))]
            wave = fftconvolve(wave, response)[: len(wave)].astype(np.float32)
        wave = wave[before : before + self.length]
        if "snr_db" in change:
            noise = self.noise()
            snr_db = self.random.uniform(*np.broadcast_to(change["snr_db"], 2))
            wave = wave + noise * np.sqrt(np.mean(wave**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
        wave = wave / max(float(np.abs(wave).max()), 1e-6) * 0.7
        return coded(wave, self.rate_hz, change["codec"]) if "codec" in change else wave.astype(np.float32)

    def is_right(self, case: tuple[int, int], answer: int) -> bool:
        """Return whether an answer is the clip of an excerpt, or a clip that holds the same samples."""
        number, at = case
        if answer == number or answer < 0:
            return answer == number
        return correlation(self.clips[number][at : at + self.length], self.clips[answer]) >= COPY


SUBTYPES: Final = {"MP3": "MPEG_LAYER_III", "OGG": "VORBIS"}


def coded(wave: FloatArray, rate_hz: int, codec: str) -> FloatArray:
    """Return samples (T,) after a codec ("MP3" or "OGG", its lowest tenth of bit rates)."""
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate_hz, format=codec, subtype=SUBTYPES[codec], compression_level=0.9)
    decoded = soundfile.read(io.BytesIO(stream.getvalue()), dtype="float32")[0]
    return np.pad(decoded, (0, max(0, len(wave) - len(decoded))))[: len(wave)].astype(np.float32)
