"""Draw spoken sentences with planted emotion: item i is a pure function of the options, the seed and i."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from aural.audio.resample import resample
from aural.audio.voice import measure_voice
from aural.core.config import Config
from aural.core.errors import ConfigError, near_miss
from aural.core.seeds import generator
from aural.core.types import FloatArray
from aural.data.speech.espeak import Phone, Utterance, speak
from aural.data.speech.prosody import Prosody, at_level, emotion_of, prosody_of, tilt
from aural.data.speech.sentences import NAMES, SPEAKERS, VOICES, sentences_of

RATE_HZ: Final = 16_000
PERSON: Final = 0.04
"""Standard deviation of the logarithm of a person's own pitch and rate, on top of the planted factors."""
PERSON_DB: Final = 1.0
"""Standard deviation of a person's own level."""


class SpeechConfig(Config):
    """Options of the world "speech"."""

    languages: tuple[str, ...] = ("en", "es", "fr", "it", "ru")
    """Languages to draw from: en, de, es, fr, it, ru."""
    split: str = "train"
    """Split whose voices and sentences are used: "train" or "test". The two share neither."""
    seed: int = 0
    manifest: str = ""
    """Manifest with real speech, or its folder. If it is given, every second item is a clip of it."""


@dataclass(frozen=True)
class Plan:
    """An item before it is spoken."""

    language: str
    speaker: str
    text: str
    valence: float
    arousal: float
    prosody: Prosody
    """What was planted, a person's own deviation included."""

    @property
    def utterance(self) -> Utterance:
        """The settings of espeak-ng."""
        return Utterance(
            text=self.text,
            voice=f"{VOICES[self.language]}+{self.speaker}",
            rate_wpm=self.prosody.rate_wpm,
            pitch=self.prosody.pitch_setting,
            pitch_range=self.prosody.range_setting,
        )


def plan(config: SpeechConfig, index: int) -> Plan:
    """Draw item `index`: language, speaker, sentence, valence and arousal are independent and uniform."""
    for language in config.languages:
        if language not in VOICES:
            raise ConfigError(f'world "speech": no language "{language}"; {near_miss(language, VOICES)}')
    if config.split not in SPEAKERS:
        raise ConfigError(f'world "speech": no split "{config.split}"; {near_miss(config.split, SPEAKERS)}')
    rng = generator(config.seed, index, sorted(SPEAKERS).index(config.split))
    language = config.languages[int(rng.integers(len(config.languages)))]
    speakers, texts = SPEAKERS[config.split], sentences_of(language, config.split)
    speaker, text = speakers[int(rng.integers(len(speakers)))], texts[int(rng.integers(len(texts)))]
    valence, arousal = (float(value) for value in rng.uniform(-1, 1, 2))
    rule, person = prosody_of(valence, arousal), rng.standard_normal(3)
    prosody = Prosody(
        pitch=rule.pitch * float(np.exp(PERSON * person[0])),
        range_semitones=rule.range_semitones,
        rate=rule.rate * float(np.exp(PERSON * person[1])),
        level_dbfs=rule.level_dbfs + PERSON_DB * float(person[2]),
        brightness_db=rule.brightness_db,
    )
    return Plan(language, speaker, text, valence, arousal, prosody)


def render(one: Plan) -> tuple[FloatArray, tuple[Phone, ...]]:
    """Speak a plan: return its sound (T,) at `RATE_HZ` and the times of its phonemes."""
    spoken = speak(one.utterance)
    wave = resample(spoken.clip.samples, spoken.clip.sample_rate_hz, RATE_HZ)[0]
    wave = tilt(wave, RATE_HZ, one.prosody.brightness_db)
    return at_level(wave, one.prosody.level_dbfs), spoken.phones


def facts_of(one: Plan, wave: FloatArray, phones: tuple[Phone, ...]) -> dict[str, Any]:
    """Return the truth record of a spoken sentence: what was planted, what is measured, and the times of phonemes."""
    return {
        "synthetic": "espeak-ng; emotion is a planted rule for prosody",
        "language": one.language,
        "speaker": one.speaker,
        "sex": "female" if one.speaker.startswith("f") else "male",
        "transcript": one.text,
        "valence": round(one.valence, 4),
        "arousal": round(one.arousal, 4),
        "emotion": emotion_of(one.valence, one.arousal),
        "planted": {name: round(value, 4) for name, value in asdict(one.prosody).items()},
        "measured": {name: round(value, 3) for name, value in asdict(measure_voice(wave, RATE_HZ)).items()},
        "phones": [[phone.symbol, round(phone.onset_s, 4), round(phone.offset_s, 4)] for phone in phones],
    }


def caption_of(one: Plan) -> str:
    """Return a caption of a plan: "A female voice that sounds happy speaks French."."""
    sex = "female" if one.speaker.startswith("f") else "male"
    return f"A {sex} voice that sounds {emotion_of(one.valence, one.arousal)} speaks {NAMES[one.language]}."
