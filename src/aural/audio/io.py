"""Read, write and inspect sounds: every source becomes float32 (C, T) with its rate in Hz.

Sources are paths, encoded bytes, binary file objects, clips, and (samples, rate) pairs of arrays or torch tensors.
Long files are read in blocks (`blocks`), so memory does not grow with their length.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from aural.audio.decode import MAX_RATE_HZ, MIN_RATE_HZ, AudioInfo, Decoder, open_decoder, source_name
from aural.audio.resample import QUALITY, resample
from aural.core.errors import AudioError
from aural.core.files import atomic_write
from aural.core.types import AudioSource, Clip, FloatArray, Source

MOST_S = 1e9
"""Times from here on are beyond the end of every file."""
READ_FRAMES = 1 << 18
SOUND_KEYS = frozenset(("array", "audio", "bytes", "path"))
"""Keys of which a mapping that is one sound has at least one."""
LARGEST_SAMPLE = 1e15
"""Larger samples are refused: their power spectrum exceeds float32. Full scale is 1."""


def info(source: AudioSource) -> AudioInfo:
    """Return format, rate, channels and length from the header, without decoding the sound."""
    source = as_source(source)
    if isinstance(source, Clip | tuple):
        clip = as_clip(source)
        return AudioInfo("array", "array", clip.sample_rate_hz, clip.channels, clip.frames)
    with _decoder(source) as decoder:
        return decoder.info


def read(
    source: AudioSource,
    *,
    sample_rate_hz: int | None = None,
    mono: bool = False,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> Clip:
    """Decode a sound, or the part from `start_s` for `duration_s`; resample and mix to mono (mean) on request.

    Raises AudioError for a missing, empty, corrupt or truncated source, samples that are NaN, infinite or above
    `LARGEST_SAMPLE`, and rates outside 1 kHz to 1 MHz.
    """
    source = as_source(source)
    parts = list(_native_blocks(source, start_s, duration_s))
    if not parts:
        raise AudioError(f"{source_name(source)}: holds no samples" + (f" after {start_s:g} s" if start_s else ""))
    rate = parts[0].sample_rate_hz
    samples = np.concatenate([part.samples for part in parts], axis=1) if len(parts) > 1 else parts[0].samples
    if mono:
        samples = to_mono(samples)
    if sample_rate_hz is not None:
        samples, rate = resample(samples, rate, sample_rate_hz), sample_rate_hz
        if not samples.shape[1]:
            raise AudioError(f"{source_name(source)}: is shorter than one sample at {sample_rate_hz} Hz")
    return Clip(samples, rate)


def blocks(
    source: AudioSource, block_s: float, *, sample_rate_hz: int | None = None, mono: bool = True, start_s: float = 0.0
) -> Iterator[Clip]:
    """Yield the sound from `start_s` on in blocks of `block_s` seconds, the last one shorter, in bounded memory.

    The concatenated blocks equal `read(source, sample_rate_hz=..., mono=..., start_s=...)`: the resampler keeps its
    state between blocks.
    """
    buffer: list[FloatArray] = []
    have = size = rate = 0
    stream: soxr.ResampleStream | None = None
    pieces = _native_blocks(source, start_s, None)
    current = next(pieces, None)
    if current is None:
        raise AudioError(f"{source_name(source)}: holds no samples" + (f" after {start_s:g} s" if start_s else ""))
    while current is not None:
        following = next(pieces, None)
        samples = to_mono(current.samples) if mono else current.samples
        if not rate:
            rate = sample_rate_hz or current.sample_rate_hz
            size = max(1, round(block_s * rate))
            if rate != current.sample_rate_hz:
                stream = soxr.ResampleStream(current.sample_rate_hz, rate, samples.shape[0], "float32", quality=QUALITY)
        if stream is not None:
            samples = stream.resample_chunk(np.ascontiguousarray(samples.T), last=following is None).T
        buffer.append(samples)
        have += samples.shape[1]
        while have >= size:
            joined = np.concatenate(buffer, axis=1)
            yield Clip(np.ascontiguousarray(joined[:, :size]), rate)
            buffer, have = [joined[:, size:]], have - size
        current = following
    if have:
        yield Clip(np.ascontiguousarray(np.concatenate(buffer, axis=1)), rate)


def is_silent(source: AudioSource) -> bool:
    """Return whether all samples are 0. A sound that is not is read only up to its first other block."""
    return not any(block.samples.any() for block in _native_blocks(as_source(source), 0.0, None))


def write(path: str | Path, clip: Clip, *, subtype: str | None = None) -> Path:
    """Write a clip in the format of the suffix (.wav, .flac, .ogg, .opus, .mp3, .aiff, .au ...) and return the path."""
    path = Path(path)
    suffix = path.suffix[1:].upper()
    container, sub = ("OGG", "OPUS") if suffix == "OPUS" else (suffix, subtype)
    stream = BytesIO()  # libsndfile does not report that a disk is full
    try:
        soundfile.write(stream, clip.samples.T, clip.sample_rate_hz, format=container, subtype=sub)
    except (soundfile.LibsndfileError, TypeError, ValueError, OSError) as error:
        raise AudioError(f"{path}: cannot be written ({error})") from None
    with atomic_write(path, AudioError) as part:
        part.write_bytes(stream.getvalue())
    return path


def to_mono(samples: FloatArray) -> FloatArray:
    """Return the mean of the channels (1, T) of samples (C, T)."""
    return samples if samples.shape[0] == 1 else samples.mean(axis=0, keepdims=True, dtype=np.float32)


def as_clip(source: Clip | tuple[Any, int]) -> Clip:
    """Convert samples in memory to a checked Clip; integers are scaled to full scale 1.0."""
    samples: Any
    samples, rate = (source.samples, source.sample_rate_hz) if isinstance(source, Clip) else _pair(source)
    if is_tensor(samples):
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    try:
        array = np.asarray(samples)
    except ValueError:
        raise AudioError("array: its rows differ in length; give one (C, T) array") from None
    if array.dtype == np.uint8:
        array = (array.astype(np.float32) - 128) / 128
    elif np.issubdtype(array.dtype, np.signedinteger):
        array = array.astype(np.float32) / -float(np.iinfo(array.dtype).min)
    elif not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"array: samples of type {array.dtype} are not sound; give floats in -1 to 1 or integers")
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[0] > max(array.shape[1], 32):
        raise AudioError(f"array: shape {np.shape(samples)} is not (T,) or (C, T); transpose it or pass one clip")
    if isinstance(rate, bool) or not float(rate).is_integer() or not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise AudioError(f"array: sample rate {rate!r} Hz is not a whole number in {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    return Clip(np.ascontiguousarray(array, dtype=np.float32), int(rate))


def as_source(sound: Any) -> AudioSource:
    """Convert a sound of another library to a source that aural reads; return anything else unchanged.

    Accepted are the mapping {"array", "sampling_rate"} and the undecoded {"bytes", "path"} of the `datasets` library,
    {"audio": sound} of sentence-transformers, and the AudioDecoder of torchcodec.
    """
    if is_decoder(sound):
        samples = sound.get_all_samples()
        return as_clip((samples.data, int(samples.sample_rate)))
    if not isinstance(sound, Mapping):
        return sound
    if "audio" in sound:
        return as_source(sound["audio"])
    if "array" in sound:
        if sound.get("sampling_rate") is None:
            raise AudioError(
                'array: its "sampling_rate" is not given; pass {"array": ..., "sampling_rate": rate in Hz}'
            )
        return as_clip((sound["array"], sound["sampling_rate"]))
    stored = sound.get("bytes") or sound.get("path")
    if stored is None:
        keys = ", ".join(map(str, sound))
        raise AudioError(
            f'a mapping with the keys ({keys}) is not a sound; give "array" and "sampling_rate", or "path"'
        )
    return stored


def is_decoder(sound: Any) -> bool:
    """Return whether a value is a decoder of torchcodec, without importing it."""
    return hasattr(sound, "get_all_samples")


def is_tensor(value: Any) -> bool:
    """Return whether a value is a torch tensor, without importing torch; files also have `detach`."""
    return hasattr(value, "detach") and hasattr(value, "is_floating_point")


def _pair(source: tuple[Any, int]) -> tuple[Any, int]:
    if len(source) != 2 or not isinstance(source[1], int | float | np.integer | np.floating):
        raise AudioError("array: give (samples, sample rate in Hz)")
    return source


@contextlib.contextmanager
def _decoder(source: AudioSource) -> Iterator[Decoder]:
    """Open a decoder and close it, with the file of a stored `Source`, at the end."""
    if isinstance(source, Source):
        with source.decoder_input() as opened, contextlib.closing(open_decoder(opened)) as decoder:
            yield decoder
        return
    with contextlib.closing(open_decoder(source)) as decoder:
        yield decoder


def _native_blocks(source: AudioSource, start_s: float, duration_s: float | None) -> Iterator[Clip]:
    """Yield blocks at the native rate and channels of the source, each checked for unusable samples."""
    if not 0 <= start_s <= MOST_S or (duration_s is not None and not duration_s > 0):
        name = source_name(source)
        raise AudioError(f"{name}: start {start_s} s and duration {duration_s} s must not be negative or 0")
    if duration_s is not None and duration_s > MOST_S:
        duration_s = None
    if isinstance(source, np.ndarray) or is_tensor(source):
        raise AudioError("array: its sample rate is not given; pass (samples, sample rate in Hz)")
    if isinstance(source, Clip | tuple):
        clip = as_clip(source)
        first = round(start_s * clip.sample_rate_hz)
        last = None if duration_s is None else first + round(duration_s * clip.sample_rate_hz)
        part = clip.samples[:, first:last]
        if part.shape[1]:
            yield Clip(_usable(part, "array", first), clip.sample_rate_hz)
        return
    with _decoder(source) as decoder:
        rate = decoder.info.sample_rate_hz
        at = round(start_s * rate)
        left = None if duration_s is None else round(duration_s * rate)
        if at:
            decoder.seek(at)
        while left is None or left > 0:
            want = READ_FRAMES if left is None else min(READ_FRAMES, left)
            block = decoder.read(want)
            if not block.shape[1]:
                return
            yield Clip(_usable(block, decoder.info.name, at), rate)
            at += block.shape[1]
            left = None if left is None else left - block.shape[1]


def _usable(samples: FloatArray, name: str, at: int) -> FloatArray:
    """Return the samples (C, T). Raises AudioError for NaN, infinity and values above `LARGEST_SAMPLE`."""
    if -LARGEST_SAMPLE <= samples.min() and samples.max() <= LARGEST_SAMPLE:  # False for NaN
        return samples
    bad = np.flatnonzero(~(np.abs(samples) <= LARGEST_SAMPLE).all(axis=0))[0]
    values = samples[:, bad]
    if np.isfinite(values).all():
        reason, fix = f"is {values[np.abs(values).argmax()]:.3g} where full scale is 1", "scale the sound down"
    else:
        reason, fix = "is NaN or infinite", "repair the file or replace such samples by 0"
    raise AudioError(f"{name}: sample {bad + at} {reason}; {fix}")
