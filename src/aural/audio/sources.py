"""Accept sounds in the forms of other libraries: rows of `datasets`, mappings, and decoders of torchcodec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aural.core.errors import AudioError
from aural.core.types import AudioSource

SOUND_KEYS = frozenset(("array", "audio", "bytes", "path"))
"""Keys of which a mapping that is one sound has at least one."""


def as_source(sound: Any) -> AudioSource:
    """Convert a sound of another library to a source that aural reads; return anything else unchanged.

    Accepted are the mapping {"array", "sampling_rate"} and the undecoded {"bytes", "path"} of the `datasets` library,
    {"audio": sound} of sentence-transformers, and the AudioDecoder of torchcodec.
    """
    if is_decoder(sound):
        samples = sound.get_all_samples()
        return samples.data, int(samples.sample_rate)
    if not isinstance(sound, Mapping):
        return sound
    if "audio" in sound:
        return as_source(sound["audio"])
    if "array" in sound:
        if sound.get("sampling_rate") is None:
            raise AudioError(
                'array: its "sampling_rate" is not given; pass {"array": ..., "sampling_rate": rate in Hz}'
            )
        return sound["array"], sound["sampling_rate"]
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
