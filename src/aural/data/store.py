"""Keep short sounds with their facts as one file of arrays, to be read many times without decoding files.

Sounds are stored as Opus at their rate (lossy, about 4 kB per second), one after another.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.types import FloatArray

Sound: TypeAlias = tuple[FloatArray, int, Mapping[str, Any]]
"""A wave (T,), its rate in Hz, and its facts."""


@dataclass(frozen=True)
class Store:
    """Sounds in memory: waves (T,) of one rate, and a record of facts for each."""

    waves: list[FloatArray]
    facts: list[dict[str, Any]]
    sample_rate_hz: int

    def __len__(self) -> int:
        return len(self.waves)


def pack_sounds(sounds: Iterable[Sound]) -> dict[str, NDArray[Any]]:
    """Return the arrays of sounds of one rate that Opus has (8, 12, 16, 24 or 48 kHz)."""
    parts, facts, lengths, rates = [], [], [], set()
    for wave, rate_hz, record in sounds:
        stream = BytesIO()
        soundfile.write(stream, wave, rate_hz, format="OGG", subtype="OPUS")
        parts.append(np.frombuffer(stream.getvalue(), np.uint8))
        facts.append(json.dumps(dict(record)))
        lengths.append(len(wave))
        rates.add(rate_hz)
    if len(rates) != 1:
        raise DataError(f"sounds to store must share one sample rate; there are {sorted(rates)}")
    return {
        "opus": np.concatenate(parts),
        "sizes": np.array([len(part) for part in parts]),
        "lengths": np.array(lengths),
        "facts": np.array(facts),
        "rate": np.array(rates.pop()),
    }


def unpack_sounds(arrays: Mapping[str, NDArray[Any]]) -> Store:
    """Return the sounds that `pack_sounds` stored."""
    waves, at = [], 0
    for size, length in zip(arrays["sizes"], arrays["lengths"], strict=True):
        samples, _ = soundfile.read(BytesIO(arrays["opus"][at : at + size].tobytes()), dtype="float32")
        wave = np.zeros(int(length), np.float32)
        wave[: len(samples)] = samples[: int(length)]
        waves.append(wave)
        at += int(size)
    return Store(waves, [json.loads(str(record)) for record in arrays["facts"]], int(arrays["rate"]))


@lru_cache(maxsize=16)
def _read(file: Path, changed_ns: int) -> Store:
    with np.load(file, allow_pickle=False) as stored:
        return unpack_sounds({name: stored[name] for name in stored.files})


def read_store(file: Path) -> Store:
    """Return the sounds of a file, from memory if this process read it before.

    Raises:
        DataError: there is no such file, or it holds something else.
    """
    try:
        return _read(file, file.stat().st_mtime_ns)
    except (OSError, KeyError, ValueError, soundfile.LibsndfileError) as error:
        raise DataError(f"{file}: is no file of stored sounds ({error}); write it again") from None
