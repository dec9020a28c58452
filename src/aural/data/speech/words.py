"""Speak random words of a language: new words from the syllables of its sentences, so that no text repeats.

An item has three words of one to three syllables, a voice of its split, a random pitch and rate, a random slope of the
spectrum (a channel) and noise. Languages differ in their phonemes and in which follow each other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field

from aural.audio.resample import resample
from aural.core.config import Config
from aural.core.errors import ConfigError, near_miss
from aural.core.seeds import generator
from aural.core.types import FloatArray
from aural.data.speech.espeak import Phone, Utterance, speak
from aural.data.speech.prosody import at_level, tilt
from aural.data.speech.sentences import SENTENCES, SPEAKERS, VOICES

RATE_HZ: Final = 16_000
LONGEST_S: Final = 1.6
"""Length of an item in seconds; longer utterances are spoken again with shorter words, shorter ones end with noise."""
VOWELS: Final = "aeiouyаеёиоуыэюя"
LEVEL_DBFS: Final = -26.0
SPLITS: Final = tuple(sorted(SPEAKERS))


class WordsConfig(Config):
    """Options of the world "words"."""

    languages: tuple[str, ...] = ("es",)
    """Languages to draw from: en, de, es, fr, it, ru."""
    split: str = "train"
    """Split whose voices are used: "train" or "test". Words are random in both."""
    seed: int = 0
    size: Annotated[int, Field(ge=1)] = 1000
    """Items per epoch; the same items come again in every epoch."""
    keywords: Annotated[int, Field(ge=0)] = 0
    """Number of different words to draw one from for each item; 0: three new words."""
    noise_db: float = 15.0
    """Mean signal-to-noise ratio of the white noise in dB; items differ by up to 10 dB."""


@dataclass(frozen=True)
class Spoken:
    """An item: what is spoken by whom, and the times of its phonemes."""

    language: str
    speaker: str
    text: str
    wave: FloatArray
    phones: tuple[Phone, ...]

    def facts(self) -> dict[str, Any]:
        """Return the truth record."""
        return {
            "synthetic": "espeak-ng; words without meaning",
            "language": self.language,
            "speaker": self.speaker,
            "transcript": self.text,
            "phones": [[one.symbol, round(one.onset_s, 4), round(one.offset_s, 4)] for one in self.phones],
        }


@cache
def syllables(language: str) -> tuple[str, ...]:
    """Return the syllables (consonants, then vowels) of the words of a language, without accents, sorted.

    >>> syllables("it")[:4]
    ('a', 'ba', 'be', 'blu')
    """
    if language not in VOICES:
        raise ConfigError(f'world "words": no language "{language}"; {near_miss(language, VOICES)}')
    text = unicodedata.normalize("NFD", " ".join(SENTENCES[language]).lower())
    words = re.findall(r"[^\W\d_]+", "".join(c for c in text if not unicodedata.combining(c)))
    pieces = {piece for word in words for piece in re.findall(f"[^{VOWELS}]?[lr]?[{VOWELS}]{{1,2}}", word)}
    return tuple(sorted(pieces))


def spoken_words(config: WordsConfig, index: int) -> Spoken:
    """Return item `index`, a pure function of the options and the index.

    Raises:
        MissingDependencyError: espeak-ng is not installed.
    """
    if config.split not in SPEAKERS:
        raise ConfigError(f'world "words": no split "{config.split}"; {near_miss(config.split, SPEAKERS)}')
    rng = generator(config.seed, index, SPLITS.index(config.split), 9)
    language = config.languages[int(rng.integers(len(config.languages)))]
    pieces, speakers = syllables(language), SPEAKERS[config.split]
    speaker = speakers[int(rng.integers(len(speakers)))]
    pitch, rate = int(rng.integers(30, 71)), int(rng.integers(150, 221))
    for most in (3, 3, 2, 2, 1):
        text = _text(pieces, [int(n) for n in rng.integers(max(1, most - 1), most + 1, 3)], rng)
        if config.keywords:
            text = _text(pieces, [2], generator(0, int(rng.integers(config.keywords)), 11))
        spoken = speak(Utterance(text, f"{VOICES[language]}+{speaker}", rate_wpm=rate, pitch=pitch))
        phones = tuple(phone for phone in spoken.phones if phone.symbol)
        end_s = phones[-1].offset_s
        if end_s <= LONGEST_S:
            break
    wave = resample(spoken.clip.samples, spoken.clip.sample_rate_hz, RATE_HZ)[0]
    wave = wave[: round(min(end_s, LONGEST_S) * RATE_HZ)]
    wave = at_level(tilt(wave, RATE_HZ, float(rng.uniform(-3, 3))), LEVEL_DBFS + float(rng.uniform(-6, 6)))
    ratio_db = config.noise_db + float(rng.uniform(-10, 10))
    scale = float(np.sqrt(np.mean(wave**2))) * 10 ** (-ratio_db / 20)
    noisy = scale * rng.standard_normal(round(LONGEST_S * RATE_HZ))
    noisy[: len(wave)] += wave
    return Spoken(language, speaker, text, np.clip(noisy, -1, 1).astype(np.float32), phones)


def _text(pieces: Sequence[str], counts: Sequence[int], rng: np.random.Generator) -> str:
    """Return a random word of so many syllables for each count."""
    return " ".join("".join(pieces[int(i)] for i in rng.integers(len(pieces), size=n)) for n in counts)
