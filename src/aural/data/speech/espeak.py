"""Speak a sentence with the program espeak-ng and return its sound with the times of its phonemes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from aural.core.errors import ConfigError, DataError, MissingDependencyError
from aural.core.types import Clip, FloatArray
from aural.data.speech import phonemes

MISSING: Final = (
    "espeak-ng is not installed, and the world of speech runs it as a program: install it with "
    "`apt-get install espeak-ng` (Debian, Ubuntu), `dnf install espeak-ng` (Fedora) or `brew install espeak-ng` (macOS)"
)
TIMEOUT_S: Final = 60.0


@dataclass(frozen=True)
class Utterance:
    """A sentence and the settings of espeak-ng that speak it.

    A voice has an optional variant: "en", "fr+f3". The rate is 80 to 450 words per minute. The pitch is 0 to 99: the
    frequency is that of the voice times about 2 ** ((pitch - 50) / 62). The range is 0 (monotone) to 99.
    """

    text: str
    voice: str
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50


class Phone(NamedTuple):
    """A phoneme of an utterance; `symbol` is IPA, or empty for a pause."""

    symbol: str
    onset_s: float
    offset_s: float


class Spoken(NamedTuple):
    """An utterance as sound (1, T), at the rate of espeak-ng, and its phonemes in order."""

    clip: Clip
    phones: tuple[Phone, ...]


def speak(utterance: Utterance) -> Spoken:
    """Run espeak-ng on one utterance. Equal utterances give equal sounds.

    Raises:
        MissingDependencyError: espeak-ng is not installed.
        ConfigError: it has no such voice.
        DataError: it ended without a sound.
    """
    if shutil.which("espeak-ng") is None:
        raise MissingDependencyError(MISSING)
    command = [sys.executable, "-I", "-S", str(Path(phonemes.__file__))]
    request = json.dumps(asdict(utterance)).encode()
    try:
        process = subprocess.run(command, input=request, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f'espeak-ng: no answer within {TIMEOUT_S:.0f} s for "{utterance.text}"') from None
    if process.returncode == phonemes.NO_LIBRARY:
        raise MissingDependencyError(MISSING)
    if process.returncode == phonemes.NO_VOICE:
        raise ConfigError(f'espeak-ng has no voice "{utterance.voice}"; `espeak-ng --voices` lists the available ones')
    header, _, content = process.stdout.partition(b"\n")
    if process.returncode or not content:
        raise DataError(f'espeak-ng: no sound for "{utterance.text}" (exit code {process.returncode})')
    answer = json.loads(header)
    samples: FloatArray = (np.frombuffer(content, "<i2") / 32768).astype(np.float32)
    clip = Clip(samples[None], answer["sample_rate_hz"])
    return Spoken(clip, _phones(answer["phones"], clip))


def _phones(events: list[tuple[str, int]], clip: Clip) -> tuple[Phone, ...]:
    """Return phonemes that end where the next one begins; those without length are dropped."""
    ends = [sample for _, sample in events[1:]] + [clip.samples.shape[1]]
    spans = [
        (symbol, start / clip.sample_rate_hz, end / clip.sample_rate_hz)
        for (symbol, start), end in zip(events, ends, strict=True)
    ]
    return tuple(Phone(symbol, onset_s, offset_s) for symbol, onset_s, offset_s in spans if offset_s > onset_s)
