"""Render truth records to waveforms. Nothing is random: the same record and sounds give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aural.core.errors import DataError
from aural.core.types import Clip, FloatArray
from aural.data.simulate.room import SimulatedRoom
from aural.data.simulate.sounds import FADE_S, Sound, SoundBank
from aural.data.simulate.truth import Occurrence, SceneTruth

PEAK = 0.999
DOT = 8192


def render(truth: SceneTruth, bank: SoundBank, rooms: Sequence[SimulatedRoom]) -> tuple[Clip, SceneTruth]:
    """Return the waveform (1, T), and the truth with the gain that kept its peak below 1 taken off every level.

    Every occurrence is convolved with the response at its event's position, then scaled so that its RMS between onset
    and offset is `level_db`. The background is not convolved: it is everywhere.
    """
    rate = truth.sample_rate_hz
    mix = _ground(truth, bank)
    scratch = np.empty_like(mix)
    takes = [(event, occurrence) for event in truth.events for occurrence in event.occurrences]
    dry = {_key(o): _take(o, bank, rate) for _, o in takes}
    wet = _reverberate(truth, dry, rooms)
    for event, occurrence in takes:
        samples, length = wet[_key(occurrence)], len(dry[_key(occurrence)])
        gain = 10 ** (event.level_db / 20) / _rms(samples[:length])
        _add(mix, samples, gain, round(occurrence.onset_s * rate), scratch)
    peak = float(max(mix.max(), -mix.min()))
    if peak > PEAK:
        mix *= np.float32(PEAK / peak)
        truth = truth.shifted(20 * float(np.log10(PEAK / peak)))
    return Clip(mix[None], rate), truth


def _ground(truth: SceneTruth, bank: SoundBank) -> FloatArray:
    """What the events are added to: the background at its level, or silence."""
    length = round(truth.duration_s * truth.sample_rate_hz)
    if truth.background is None:
        return np.zeros(length, np.float32)
    samples = _sound(bank, truth.background.clip).samples
    loop = _looped(samples, round(truth.background.clip_start_s * truth.sample_rate_hz), length)
    return np.multiply(loop, np.float32(10 ** (truth.background.level_db / 20) / _rms(loop)))


def _add(mix: FloatArray, samples: FloatArray, gain: float, at: int, scratch: FloatArray) -> None:
    """mix[at:] += gain * samples, as far as it reaches, without new memory."""
    part = samples[: len(mix) - at]
    scaled = np.multiply(part, np.float32(gain), out=scratch[: len(part)])
    mix[at : at + len(part)] += scaled


def _key(occurrence: Occurrence) -> tuple[str, float, float]:
    """Occurrences with the same key are the same samples (a clip belongs to one event, hence to one position)."""
    return occurrence.clip, occurrence.clip_start_s, round(occurrence.offset_s - occurrence.onset_s, 7)


def _reverberate(
    truth: SceneTruth, dry: dict[tuple[str, float, float], FloatArray], rooms: Sequence[SimulatedRoom]
) -> dict[tuple[str, float, float], FloatArray]:
    if truth.room is None:
        return dry
    if truth.room.room >= len(rooms) or rooms[truth.room.room].kind != truth.room.kind:
        raise DataError(f"scene {truth.index}: room {truth.room.room} is not in this bank of rooms; use its room_seed")
    place = {_key(o): event.position or 0 for event in truth.events for o in event.occurrences}
    wet = rooms[truth.room.room].apply(list(dry.values()), [place[key] for key in dry])
    return dict(zip(dry, wet, strict=True))


def _take(occurrence: Occurrence, bank: SoundBank, rate: int) -> FloatArray:
    samples = _sound(bank, occurrence.clip).samples
    start = round(occurrence.clip_start_s * rate)
    length = round((occurrence.offset_s - occurrence.onset_s) * rate)
    part = samples[start : start + length]
    if start == 0 and length == len(samples):
        return part
    part = part.copy()  # a cut gets 2 ms ramps
    size = min(round(FADE_S * rate), length // 4)
    ramp = (np.arange(size, dtype=np.float32) + 1) / (size + 1)
    part[:size] *= ramp
    part[length - size :] *= ramp[::-1]
    return part


def _sound(bank: SoundBank, clip: str) -> Sound:
    try:
        return bank.by_clip[clip]
    except KeyError:
        raise DataError(f'clip "{clip}" of the truth record is not in this bank of sounds') from None


def _looped(samples: FloatArray, start: int, length: int) -> FloatArray:
    """(length,) of the endlessly repeated `samples` from `start` on."""
    if start + length <= len(samples):
        return samples[start : start + length]
    out = np.empty(length, np.float32)
    at = 0
    while at < length:
        part = samples[start : start + length - at]
        out[at : at + len(part)] = part
        at += len(part)
        start = 0
    return out


def _rms(samples: FloatArray) -> float:
    """In blocks too small for BLAS to share among threads: the order of summation is always the same."""
    blocks = (samples[at : at + DOT] for at in range(0, len(samples), DOT))
    return math.sqrt(sum(float(np.dot(block, block)) for block in blocks) / len(samples))
