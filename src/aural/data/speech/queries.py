"""Text queries for voices, from labels and from measured pitch, level and rate.

Queries are words for ranges of measured values, so no person writes them. Ranges are terciles of a set of clips: a
third of the clips is low, a third is medium, and a third is high.

Source of the idea: ParaCLAP (arXiv 2406.07203), section 2: queries from labels and from expert features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aural.audio.voice import VoiceMeasures

WORDS: Final = {
    "pitch": ("a low-pitched voice", "a voice of medium pitch", "a high-pitched voice"),
    "level": ("speaking quietly", "speaking at a medium volume", "speaking loudly"),
    "rate": ("at a slow pace", "at a medium pace", "at a fast pace"),
}
"""Measured property -> words for its low, medium and high third."""
LABEL_FRAMES: Final = ("speech that sounds {}", "the emotion of this voice is {}", "{} speech")


@dataclass(frozen=True)
class Terciles:
    """Bounds between the thirds of each measured property, as property -> (lower, upper)."""

    bounds: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, measures: Sequence[VoiceMeasures]) -> Terciles:
        """Return the terciles of a set of clips."""
        table = properties(measures)
        thirds = {name: np.quantile(values, [1 / 3, 2 / 3]) for name, values in table.items()}
        return cls({name: (float(low), float(high)) for name, (low, high) in thirds.items()})

    def places(self, measures: Sequence[VoiceMeasures]) -> dict[str, NDArray[np.int64]]:
        """Return property -> the third of each clip (N,): 0 low, 1 medium, 2 high."""
        table = properties(measures)
        return {name: np.searchsorted(self.bounds[name], values, side="right") for name, values in table.items()}


def properties(measures: Sequence[VoiceMeasures]) -> dict[str, NDArray[np.float64]]:
    """Return the measured properties as arrays (N,)."""
    return {
        "pitch": np.array([one.f0_hz for one in measures]),
        "level": np.array([one.level_dbfs for one in measures]),
        "rate": np.array([one.syllables_per_s for one in measures]),
    }


def label_queries(emotion: str) -> tuple[str, ...]:
    """Return queries that name an emotion.

    >>> label_queries("calm")[0]
    'speech that sounds calm'
    """
    return tuple(frame.format(emotion) for frame in LABEL_FRAMES)


def measured_queries(pitch: int, level: int, rate: int) -> tuple[str, ...]:
    """Return queries for the thirds of the measured properties: each property alone, and all together.

    >>> measured_queries(2, 2, 0)[-1]
    'a high-pitched voice speaking loudly at a slow pace'
    """
    words = [WORDS[name][place] for name, place in (("pitch", pitch), ("level", level), ("rate", rate))]
    return words[0], f"a person {words[1]}", f"a person speaking {words[2]}", " ".join(words)
