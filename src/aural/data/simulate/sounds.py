"""The sounds that scenes are made of: labeled clips, measured once and held in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import AudioError, DataError, near_miss
from aural.core.types import FloatArray

FRAME_S = 0.005
ACTIVE_DB = -40.0  # a frame within 40 dB of the loudest one is active
BURST_DB, BURST_PAUSE_S = -25.0, 0.15  # a pause this deep and long makes two sounds of one clip
FADE_S = 0.002
SEAM_S = 0.05

# Words by which a caption states order, number, loudness, background or place: a phrase that holds one would say
# something that the simulator did not make.
CLAIM_WORDS = frozenset((
    "before", "after", "while", "then", "followed", "first", "next", "finally", "last", "later", "precedes",
    "once", "twice", "thrice", "two", "three", "four", "times", "several", "repeatedly", "again", "louder",
    "quieter", "softer", "loud", "quiet", "faint", "faintly", "background", "room", "hall", "together",
    "overlapping",
))  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class LabelledClip:
    """A sound given to the simulator: mono `samples` (T,), its class, what to call it, and who made it.

    `phrases` are noun phrases that go into captions ("a dog barking"); without any, the label is used.
    `clip` names the recording in truth records and must be unique. A "background" lasts and is looped.
    """

    samples: FloatArray
    label: str
    clip: str
    phrases: tuple[str, ...] = ()
    role: Literal["event", "background"] = "event"
    speaker: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A clip made ready: its active part alone, at RMS 1.

    active: (frames,) which 5 ms frames are active; single: heard as one sound, not as several; weighting_db: A-weighted
    less plain RMS level.
    """

    samples: FloatArray
    label: str
    clip: str
    phrases: tuple[str, ...]
    speaker: str | None
    active: NDArray[np.bool_]
    single: bool
    weighting_db: float


class SoundBank:
    """Events by class, and backgrounds, at one sample rate.

    Raises DataError for an empty list, a silent clip, or a name used twice; AudioError for NaN or infinite samples.
    """

    def __init__(self, clips: Iterable[LabelledClip], sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.by_clip: dict[str, Sound] = {}
        self.events: dict[str, list[Sound]] = {}
        self.backgrounds: list[Sound] = []
        for clip in clips:
            if clip.clip in self.by_clip:
                raise DataError(f"{clip.clip}: two clips have this name; give each its own")
            background = clip.role == "background"
            sound = _loop(clip, sample_rate_hz) if background else _event(clip, sample_rate_hz)
            self.by_clip[clip.clip] = sound
            if background:
                self.backgrounds.append(sound)
            else:
                self.events.setdefault(clip.label, []).append(sound)
        if not self.events:
            raise DataError("no clips to make scenes of; give at least one clip with the role of an event")
        self.events = dict(sorted(self.events.items()))
        self._phrases = {sound.label: sound.phrases for sound in reversed(self.by_clip.values())}

    @property
    def labels(self) -> tuple[str, ...]:
        """Return every class, events and backgrounds, sorted."""
        return tuple(sorted({*self.events, *(sound.label for sound in self.backgrounds)}))

    def require(self, labels: Sequence[str]) -> None:
        """Raise DataError if a label names no class of this bank."""
        for label in labels:
            if label not in self.labels:
                raise DataError(f'unknown class "{label}"; {near_miss(label, self.labels)}')

    def phrases(self, label: str) -> tuple[str, ...]:
        """Return what the first clip of the class is called."""
        return self._phrases[label]


def clean_phrases(phrases: Iterable[str], label: str) -> tuple[str, ...]:
    """Return the phrases without those that state order, number, loudness or place; the bare label if none is left."""
    kept: list[str] = []
    for phrase in phrases:
        text = re.sub(r"[^\w\s'-]", " ", phrase)
        text = " ".join(text.split())
        if text and not CLAIM_WORDS & set(text.lower().split()):
            kept.append(text[0].lower() + text[1:] if text[1:2].islower() or text[:2] in ("A ", "I ") else text)
    unique: tuple[str, ...] = tuple(dict.fromkeys(kept))
    return unique or (label.replace("_", " "),)


def noises(sample_rate_hz: int, seed: int = 0, duration_s: float = 30.0) -> list[LabelledClip]:
    """Three steady backgrounds of known color, for when no recording of one is at hand: power falls as f^-2c."""
    colors = {
        "white noise": (0.0, ("a steady hiss", "white noise")),
        "pink noise": (0.5, ("soft steady noise", "pink noise")),
        "brown noise": (1.0, ("a low steady rumble", "brown noise")),
    }
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    frames = round(duration_s * sample_rate_hz)
    frequencies = np.maximum(np.fft.rfftfreq(frames, 1 / sample_rate_hz), 20.0)
    clips = []
    for label, (color, phrases) in colors.items():
        spectrum = np.fft.rfft(generator.standard_normal(frames)) * frequencies**-color
        samples = np.fft.irfft(spectrum, frames)
        samples = (0.1 * samples / np.sqrt(np.mean(samples**2))).astype(np.float32)
        clips.append(LabelledClip(samples, label, f"simulated:{label}", phrases, "background"))
    return clips


def a_weighting_db(frequency_hz: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """IEC 61672-1 A-weighting, 0 dB at 1 kHz; -inf at 0 Hz is held at -200 dB."""
    f2 = np.square(frequency_hz)
    gain = 12194.217**2 * f2**2 / ((f2 + 20.598997**2) * (f2 + 12194.217**2))
    gain /= np.sqrt((f2 + 107.65265**2) * (f2 + 737.86223**2))
    return np.asarray(20 * np.log10(np.maximum(gain, 1e-10)) + 2.0)


def _event(clip: LabelledClip, rate: int) -> Sound:
    samples = _checked(clip)
    frame = round(FRAME_S * rate)
    count = len(samples) // frame
    if count < 2:
        raise DataError(f"{clip.clip}: lasts less than {2 * FRAME_S:g} s; a sound of a scene needs more")
    rms_db = 10 * np.log10(np.mean(samples[: count * frame].reshape(count, frame) ** 2, axis=1) + 1e-20)
    active = rms_db > rms_db.max() + ACTIVE_DB
    first, last = int(np.argmax(active)), count - int(np.argmax(active[::-1]))
    samples = samples[first * frame : last * frame].copy()
    _fade(samples, rate)
    samples /= np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    loud = rms_db[first:last] > rms_db.max() + BURST_DB
    phrases = clean_phrases(clip.phrases, clip.label)
    weighting = _weighting_db(samples, rate)
    return Sound(
        samples, clip.label, clip.clip, phrases, clip.speaker, active[first:last], _is_single(loud), weighting
    )  # fmt: skip


def _loop(clip: LabelledClip, rate: int) -> Sound:
    """A background whose end runs into its start: the last 50 ms are cross-faded (equal power) with the first."""
    samples = _checked(clip)
    seam = min(round(SEAM_S * rate), len(samples) // 4)
    ramp = np.linspace(0, np.pi / 2, seam, dtype=np.float32)
    loop = samples[seam:].copy()
    loop[len(loop) - seam :] = loop[len(loop) - seam :] * np.cos(ramp) + samples[:seam] * np.sin(ramp)
    loop /= np.sqrt(np.mean(np.square(loop, dtype=np.float64)))
    phrases = clean_phrases(clip.phrases, clip.label)
    return Sound(loop, clip.label, clip.clip, phrases, clip.speaker, np.ones(1, bool), False, _weighting_db(loop, rate))


def _checked(clip: LabelledClip) -> FloatArray:
    samples = np.ascontiguousarray(clip.samples, dtype=np.float32)
    if samples.ndim != 1:
        raise DataError(f"{clip.clip}: samples have shape {samples.shape}; give one channel, shape (T,)")
    if not np.isfinite(samples).all():
        raise AudioError(f"{clip.clip}: holds NaN or infinite samples; repair the file or leave it out")
    if not len(samples) or np.abs(samples).max() < 1e-5:
        raise DataError(f"{clip.clip}: is silent (peak below -100 dBFS); leave it out")
    return samples


def _fade(samples: FloatArray, rate: int) -> None:
    """2 ms ramps at both ends, in place."""
    size = min(round(FADE_S * rate), len(samples) // 4)
    ramp = (np.arange(size, dtype=np.float32) + 1) / (size + 1)
    samples[:size] *= ramp
    samples[len(samples) - size :] *= ramp[::-1]


def _is_single(loud: NDArray[np.bool_]) -> bool:
    """False if two loud stretches are parted by a pause of 150 ms or more."""
    at = np.flatnonzero(loud)
    return bool(np.diff(at).max(initial=0) * FRAME_S < BURST_PAUSE_S)


def _weighting_db(samples: FloatArray, rate: int) -> float:
    import scipy.fft

    size = scipy.fft.next_fast_len(len(samples), real=True)
    power = np.abs(scipy.fft.rfft(samples, size)).astype(np.float64) ** 2
    weights = 10 ** (a_weighting_db(np.fft.rfftfreq(size, 1 / rate)) / 10)
    return float(10 * np.log10(max(float(np.sum(power * weights)), 1e-30) / float(np.sum(power))))
