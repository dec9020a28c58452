"""Spoken sentences for studies of voices: log-mels, planted emotion and measured properties, in 8 bits per value.

The sentences are those of the world "speech" (espeak-ng). They are spoken once and kept in the cache folder of studies,
so a machine without espeak-ng can use them (docs/reproduce.md). A smoke test takes humming toy voices instead, which
need no program.

Legend: N clips, F mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.audio.voice import VoiceMeasures, measure_voice
from aural.core.types import FloatArray
from aural.data.manifest import Row
from aural.data.speech.prosody import LEVEL_DBFS, emotion_of
from aural.data.speech.simulator import RATE_HZ, Plan, SpeechConfig, plan, render
from aural.reproduce.shared import shared_arrays
from aural.reproduce.studies.frozen_text import WIDTH, Clips, Data, Towers, audio_tower, text_table
from aural.reproduce.study import StudyContext
from aural.reproduce.worlds import MEL, log_mel
from aural.train.config import Recipe
from aural.train.mels import fit_mel, steps

VERSION: Final = 1
"""Counts up when the content changes."""
SECONDS: Final = 4.0
FRAMES: Final = round(SECONDS * MEL.sample_rate_hz / MEL.hop)
SIZES: Final = {"train": 1200, "test": 300}
LOWEST_DB: Final = -96.0
STEP_DB: Final = 0.5
MEASURES: Final = ("f0_hz", "level_dbfs", "syllables_per_s")


@dataclass(frozen=True)
class Voices:
    """Spoken sentences of one split."""

    mel: Tensor
    """16-bit log-mels (N, frames, F) on the device."""
    plans: list[Plan]
    measures: list[VoiceMeasures]

    @property
    def plane(self) -> NDArray[np.float64]:
        """Valence and arousal (N, 2)."""
        return np.array([[one.valence, one.arousal] for one in self.plans])

    @property
    def emotions(self) -> list[str]:
        """Names of the planted emotions."""
        return [emotion_of(one.valence, one.arousal) for one in self.plans]

    @property
    def female(self) -> NDArray[np.int64]:
        """1 for a female voice, 0 for a male one (N,)."""
        return np.array([one.speaker.startswith("f") for one in self.plans], np.int64)

    def clips(self, captions: list[list[int]]) -> Clips:
        """Return them with captions, given as places in a table of texts."""
        rows = [Row(path=f"{n}", source="speech", split="", language=one.language) for n, one in enumerate(self.plans)]
        return Clips(rows, self.mel, captions)


def load_voices(context: StudyContext, split: str) -> Voices:
    """Return the spoken sentences of a split, spoken now if they are not in the cache."""
    config = SpeechConfig(split=split)
    count = 24 if context.smoke else SIZES[split]
    plans = [plan(config, i) for i in range(count)]

    def compute() -> dict[str, NDArray[Any]]:
        return pack_clips([toy_voice(one) for one in plans] if context.smoke else spoken(plans))

    key = repr((VERSION, MEL, FRAMES, plans))
    stored = shared_arrays(context, f"speech-{split}", key, compute)
    measures = [VoiceMeasures(*(float(value) for value in row)) for row in stored["measures"]]
    return Voices(unpack_clips(stored, device_of(context)), plans, measures)


def device_of(context: StudyContext) -> torch.device:
    """Return the device of a study; "auto" is the CPU."""
    return torch.device("cpu" if context.device == "auto" else context.device)


def new_towers(context: StudyContext, recipe: Recipe, clips: Clips, texts: list[str]) -> Towers:
    """Return towers with the random weights of the seed; the head over MiniLM's vectors knows all `texts`."""
    table = text_table(context, Data(clips, clips, texts), "minilm", 8 if context.smoke else WIDTH)
    return Towers(audio_tower(recipe, context.seed), table, context.seed)


def spoken(plans: Sequence[Plan]) -> list[FloatArray]:
    """Speak plans with espeak-ng, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return [wave for wave, _ in pool.map(render, plans)]


def pack_clips(waves: Sequence[FloatArray]) -> dict[str, NDArray[Any]]:
    """Return log-mels in 8 bits, one after another, with their lengths and the measured properties of the voices."""
    mels = [to_bytes(log_mel(wave)[:FRAMES]) for wave in waves]
    measured = [asdict(measure_voice(wave, RATE_HZ)) for wave in waves]
    return {
        "mel": np.concatenate(mels),
        "length": np.array([len(mel) for mel in mels]),
        "measures": np.array([[one[name] for name in MEASURES] for one in measured]),
    }


def unpack_clips(stored: dict[str, NDArray[Any]], device: torch.device) -> Tensor:
    """Return 16-bit log-mels (N, frames, F); short clips are repeated."""
    parts = np.split(from_bytes(stored["mel"]), stored["length"].cumsum()[:-1])
    unused = partial(np.random.default_rng, 0)  # crop "first" draws nothing
    return torch.from_numpy(np.stack([fit_mel(mel, FRAMES, "first", unused) for mel in parts])).to(device)


def to_bytes(mel: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Convert 16-bit steps to 8 bits: half decibels from `LOWEST_DB` on."""
    decibels = mel / steps(MEL)
    return np.clip(np.rint((decibels - LOWEST_DB) / STEP_DB), 0, 255).astype(np.uint8)


def from_bytes(stored: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Convert 8 bits back to 16-bit steps."""
    return np.rint((stored * STEP_DB + LOWEST_DB) * steps(MEL)).astype(np.int16)


def toy_voice(one: Plan) -> FloatArray:
    """Return a hum with the planted pitch, rate and level: a stand-in for smoke tests."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    f0_hz = (190 if one.speaker.startswith("f") else 110) * one.prosody.pitch
    tones = sum(np.sin(2 * np.pi * f0_hz * k * time_s) / k for k in range(1, 6))
    pulses = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * one.prosody.rate * time_s)
    gain = 10 ** ((one.prosody.level_dbfs - LEVEL_DBFS) / 20) / 20
    wave: FloatArray = (gain * tones * pulses).astype(np.float32)
    return wave
