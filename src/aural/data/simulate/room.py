"""Rooms: a seeded bank of simulated impulse responses, convolved by overlap-add with spectra computed once.

Each room is a shoe box with one microphone and several source positions, simulated by the image-source method (Allen &
Berkley 1979) of pyroomacoustics. A response starts at its direct sound, so a room delays nothing, and is cut where its
kind says. A small room dies away quickly, a hall slowly: their measured reverberation times differ clearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError, MissingDependencyError
from aural.core.types import FloatArray


@dataclass(frozen=True, slots=True)
class RoomKind:
    """Ranges a room of this kind is drawn from: floor and height in metres, reverberation time and cut in seconds."""

    name: str
    floor_m: tuple[float, float]
    height_m: tuple[float, float]
    rt60_s: tuple[float, float]
    cut_s: float


# `rt60_s` bounds both the requested and the measured reverberation time.
KINDS = (
    RoomKind("small room", (2.5, 5.0), (2.2, 3.0), (0.10, 0.35), 0.25),
    RoomKind("large hall", (12.0, 25.0), (5.0, 9.0), (0.65, 1.60), 0.50),
)
SPEED_OF_SOUND_M_S = 343.0
FADE_SHARE = 0.2
LANES = 4
TRANSFORM_S = 2 * max(kind.cut_s for kind in KINDS)  # at least; the next power of 2


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedRoom:
    """`responses` (P, L) float32 and their spectra (P, N/2+1) for overlap-add with transforms of N samples."""

    kind: str
    size_m: tuple[float, float, float]
    rt60_s: float
    responses: FloatArray
    spectra: NDArray[np.complex64]
    transform: int

    def apply(self, sounds: Sequence[FloatArray], positions: Sequence[int]) -> list[FloatArray]:
        """Full convolution of each sound (T,) with the response at its position: (T + L - 1,) each.

        The blocks of all sounds are transformed four at a time: as many as a SIMD register holds and as fit the cache.
        """
        import scipy.fft

        taps = self.responses.shape[1]
        hop = self.transform - taps + 1
        wet = [np.zeros(len(sound) + taps - 1, np.float32) for sound in sounds]
        jobs = [(number, at) for number, sound in enumerate(sounds) for at in range(0, len(sound), hop)]
        blocks = np.zeros((LANES, self.transform), np.float32)
        for first in range(0, len(jobs), LANES):
            lanes = jobs[first : first + LANES]
            for block, (number, at) in zip(blocks, lanes, strict=False):
                part = sounds[number][at : at + hop]
                block[: len(part)] = part
                block[len(part) : hop] = 0
            spectra = scipy.fft.rfft(blocks)
            for spectrum, (number, _) in zip(spectra, lanes, strict=False):
                spectrum *= self.spectra[positions[number]]
            for block, (number, at) in zip(scipy.fft.irfft(spectra, self.transform), lanes, strict=False):
                out = wet[number][at : at + self.transform]
                out += block[: len(out)]
        return wet


def simulate_rooms(sample_rate_hz: int, rooms_per_kind: int, positions: int, seed: int) -> list[SimulatedRoom]:
    """Simulate `rooms_per_kind` rooms of every kind with `positions` source positions each; determined by the seed."""
    return [
        _room(kind, sample_rate_hz, positions, np.random.SeedSequence(seed, spawn_key=(kind_number, number)))
        for kind_number, kind in enumerate(KINDS)
        for number in range(rooms_per_kind)
    ]


def measured_rt60_s(response: FloatArray, sample_rate_hz: int) -> float:
    """Reverberation time by Schroeder's backward integration, from the decay between -5 and -25 dB (T20, ISO 3382)."""
    energy = np.cumsum(np.square(response, dtype=np.float64)[::-1])[::-1]
    decay_db = 10 * np.log10(energy / energy[0] + 1e-30)
    start, stop = int(np.argmax(decay_db <= -5)), int(np.argmax(decay_db <= -25))
    return 3.0 * (stop - start) / sample_rate_hz


def _room(kind: RoomKind, rate: int, positions: int, seed: np.random.SeedSequence) -> SimulatedRoom:
    """Draw again until every response's measured reverberation time is in the range of the kind."""
    generator = np.random.Generator(np.random.Philox(seed))
    for _ in range(20):
        width, depth = generator.uniform(*kind.floor_m, 2)
        size = (float(width), float(depth), float(generator.uniform(*kind.height_m)))
        rt60 = float(generator.uniform(*kind.rt60_s))
        responses = _responses(size, rt60, kind.cut_s, rate, positions, generator)
        if responses is None:
            continue
        measured = [measured_rt60_s(response, rate) for response in responses]
        if kind.rt60_s[0] <= min(measured) and max(measured) <= kind.rt60_s[1]:
            break
    else:
        raise DataError(f"no {kind.name} with a reverberation time in {kind.rt60_s} s was found; try another room_seed")
    import scipy.fft

    transform = 2 ** int(np.ceil(np.log2(TRANSFORM_S * rate)))
    spectra = scipy.fft.rfft(responses, transform)
    return SimulatedRoom(kind.name, size, float(np.mean(measured)), responses, spectra, transform)


def _responses(
    size: tuple[float, float, float],
    rt60: float,
    cut_s: float,
    rate: int,
    positions: int,
    generator: np.random.Generator,
) -> FloatArray | None:
    """(P, L) responses from their direct sound on, of energy 1; None if no absorption gives this room that time."""
    try:
        import pyroomacoustics
    except ImportError:
        raise MissingDependencyError(
            'rooms need pyroomacoustics; run: pip install "aural[data]", or set room_chance to 0'
        ) from None
    try:
        absorption, order = pyroomacoustics.inverse_sabine(rt60, size)
    except ValueError:  # more absorption than a wall can have
        return None
    order = min(order, int(np.ceil(SPEED_OF_SOUND_M_S * cut_s / min(size))) + 1, 24)
    room = pyroomacoustics.ShoeBox(
        size, fs=rate, materials=pyroomacoustics.Material(absorption), max_order=order, air_absorption=False
    )
    inside = [(0.6, side - 0.6) for side in size]
    microphone = np.array([generator.uniform(*bounds) for bounds in inside])
    room.add_microphone(microphone)
    sources = np.array([[generator.uniform(*bounds) for bounds in inside] for _ in range(positions)])
    for source in sources:
        room.add_source(source)
    room.compute_rir()
    taps = round(cut_s * rate)
    out = np.zeros((positions, taps), np.float32)
    for number, response in enumerate(room.rir[0]):
        arrival = np.linalg.norm(sources[number] - microphone) / SPEED_OF_SOUND_M_S * rate
        start = round(arrival) + pyroomacoustics.constants.get("frac_delay_length") // 2
        part = response[start : start + taps]
        out[number, : len(part)] = part
    fade = round(FADE_SHARE * taps)
    out[:, taps - fade :] *= np.cos(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
    out /= np.sqrt(np.sum(np.square(out, dtype=np.float64), axis=1, keepdims=True))
    return out
