"""Changes of sounds (noise, codecs, rooms, speed ...) and of words, at several levels.

Every change is a pure function of the clip and a level. Noise is drawn from a generator that depends on the clip alone,
so every run and every model receives the same sound. Speed, noise and gain are those of `aural.audio.augment`.

Legend: C channels, T samples.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from aural.audio import augment
from aural.core.registry import Registry
from aural.core.types import Clip, FloatArray

Level: TypeAlias = "float | str"
SoundChange: TypeAlias = Callable[[Clip, Any, np.random.Generator], Clip]
WordChange: TypeAlias = Callable[[str], str]


@dataclass(frozen=True)
class Change:
    """A family of changes: the function, its levels from mild to harsh, and the label of the axis."""

    apply: SoundChange
    levels: tuple[Level, ...]
    axis: str


SOUND_CHANGES: Registry[Change] = Registry("change of sound")
WORD_CHANGES: Registry[WordChange] = Registry("change of words")


def noise(clip: Clip, snr_db: float, generator: np.random.Generator) -> Clip:
    """Add white noise at a signal-to-noise ratio over the whole clip; silence stays silent."""
    hiss = generator.standard_normal(clip.samples.shape).astype(np.float32)
    return Clip(augment.mix(clip.samples, hiss, snr_db), clip.sample_rate_hz)


def codec(clip: Clip, how: str, generator: np.random.Generator) -> Clip:
    """Encode and decode a clip by libsndfile.

    how: codec and optional compression level. "mp3 0.9" is MP3 at level 0.9 (small files), "u-law" is G.711.
    """
    import soundfile

    name, _, level = how.partition(" ")
    format_, subtype = {
        "mp3": ("MP3", "MPEG_LAYER_III"),
        "vorbis": ("OGG", "VORBIS"),
        "opus": ("OGG", "OPUS"),
        "u-law": ("WAV", "ULAW"),
        "8-bit": ("WAV", "PCM_U8"),
    }[name]
    rate = clip.sample_rate_hz
    if name == "opus":
        rate = 48_000
    elif name == "mp3" and rate > 48_000:
        rate = 44_100
    samples = _resampled(np.clip(clip.samples, -1, 1), clip.sample_rate_hz, rate)
    stream = io.BytesIO()
    options = {"compression_level": float(level)} if level else {}
    soundfile.write(stream, samples.T, rate, format=format_, subtype=subtype, **options)
    stream.seek(0)
    read, rate = soundfile.read(stream, dtype="float32", always_2d=True)
    return Clip(np.ascontiguousarray(read.T), rate)


def reverb(clip: Clip, rt60_s: float, generator: np.random.Generator) -> Clip:
    """Convolve with a direct sound and noise of equal power that decays by 60 dB in `rt60_s`; the level is kept."""
    from scipy.signal import fftconvolve

    count = round(rt60_s * clip.sample_rate_hz)
    tail = generator.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    response = tail / np.linalg.norm(tail)
    response[0] += 1.0
    wet = fftconvolve(clip.samples, response[None], axes=1)
    power = np.sqrt(np.mean(clip.samples**2) / max(float(np.mean(wet**2)), 1e-20))
    return Clip((wet * power).astype(np.float32), clip.sample_rate_hz)


def speed(clip: Clip, factor: float, generator: np.random.Generator) -> Clip:
    """Play faster (above 1) or slower: pitch and length change together."""
    return Clip(augment.change_speed(clip.samples, factor), clip.sample_rate_hz)


def clipping(clip: Clip, share: float, generator: np.random.Generator) -> Clip:
    """Clip the samples at the level that the given share of them exceeds."""
    level = float(np.quantile(np.abs(clip.samples), 1 - share))
    return Clip(np.clip(clip.samples, -level, level), clip.sample_rate_hz)


def low_pass(clip: Clip, cut_hz: float, generator: np.random.Generator) -> Clip:
    """Apply a Butterworth low-pass of order 8 forward and backward; no change if the clip has no higher frequencies."""
    return _filtered(clip, cut_hz, "lowpass")


def high_pass(clip: Clip, cut_hz: float, generator: np.random.Generator) -> Clip:
    """Apply a Butterworth high-pass of order 8 forward and backward."""
    return _filtered(clip, cut_hz, "highpass")


def gain(clip: Clip, gain_db: float, generator: np.random.Generator) -> Clip:
    """Change the level, without clipping."""
    return Clip(augment.scaled(clip.samples, gain_db), clip.sample_rate_hz)


def _filtered(clip: Clip, cut_hz: float, kind: str) -> Clip:
    from scipy.signal import butter, sosfiltfilt

    if not 0 < cut_hz < clip.sample_rate_hz / 2 or clip.frames < 64:
        return clip
    sections = butter(8, cut_hz, kind, fs=clip.sample_rate_hz, output="sos")
    filtered = sosfiltfilt(sections, clip.samples, axis=1, padlen=min(51, clip.frames - 1))
    return Clip(filtered.astype(np.float32), clip.sample_rate_hz)


def _resampled(samples: FloatArray, rate: int, to: int) -> FloatArray:
    from aural.audio.resample import resample

    return samples if rate == to else resample(samples, rate, to)


SOUND_CHANGES.add("noise", Change(noise, (40.0, 20.0, 10.0, 0.0, -10.0), "SNR in dB"))
SOUND_CHANGES.add("codec", Change(codec, ("8-bit", "u-law", "vorbis 0.9", "opus 0.9", "mp3 0.9"), "codec"))
SOUND_CHANGES.add("reverberation", Change(reverb, (0.2, 0.5, 1.0, 2.0), "reverberation time in s"))
SOUND_CHANGES.add("speed", Change(speed, (0.7, 0.85, 1.15, 1.4), "speed"))
SOUND_CHANGES.add("clipping", Change(clipping, (0.01, 0.05, 0.2), "share of samples clipped"))
SOUND_CHANGES.add("low-pass", Change(low_pass, (8000.0, 4000.0, 2000.0, 1000.0), "cut-off in Hz"))
SOUND_CHANGES.add("high-pass", Change(high_pass, (100.0, 300.0, 1000.0), "cut-off in Hz"))
SOUND_CHANGES.add("gain", Change(gain, (-40.0, -20.0, 10.0), "gain in dB"))

# Words ------------------------------------------------------------------------------------------------------

SYNONYMS: Final = dict(  # of `paraphrase`
    pair.split("=")
    for pair in [
        "sound=noise",
        "person=human",
        "man=male",
        "woman=female",
        "talking=speaking",
        "speaks=talks",
        "loud=noisy",
        "car=automobile",
        "engine=motor",
        "small=little",
        "big=large",
        "rain=rainfall",
        "children=kids",
        "people=persons",
        "while=as",
        "then=afterwards",
    ]
)


@WORD_CHANGES.register("paraphrase")
def paraphrase(text: str) -> str:
    """Put the sentence into a frame and replace words by simple synonyms; the meaning stays."""
    words = [SYNONYMS.get(word, word) for word in text.rstrip(".").split()]
    return "what one hears here is " + " ".join(words)


@WORD_CHANGES.register("word order")
def word_order(text: str) -> str:
    """Reverse the words: the meaning is lost, the words stay. A model with the same score reads a bag of words."""
    return " ".join(reversed(text.rstrip(".").split()))


@WORD_CHANGES.register("negation")
def negation(text: str) -> str:
    """Negate the sentence: a model that understands it no longer retrieves the sound."""
    return "there is no " + re.sub(r"^(an?|the)\s+", "", text.rstrip("."), flags=re.IGNORECASE)


@WORD_CHANGES.register("upper case")
def upper_case(text: str) -> str:
    """Return the text in capitals."""
    return text.upper()
