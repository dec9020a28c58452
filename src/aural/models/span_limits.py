"""Locate the sounds that a question names, with limits that depend on the file.

A question presupposes that its sounds are there, so they need less certainty than those that `aural locate` looks for.
The two shares were chosen on scenes of validation clips, where at most one absent sound in five reaches the floor
(docs/models/captions.md).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from aural.audio.io import as_source
from aural.core.types import AudioSource
from aural.models.locate import LocateConfig, Located, Locator, Track

FLOOR: Final = 0.7
"""Times the threshold of `aural locate`: with a lower highest probability, a sound is not heard."""
SHARE: Final = 0.5
"""Times the highest probability of the sound in the file: a span must reach it."""


def limit_of(best: float, threshold: float) -> float:
    """Return the probability that a span must reach.

    >>> [round(limit_of(best, 0.3), 2) for best in (0.1, 0.3, 0.9)]
    [0.21, 0.21, 0.45]
    """
    return max(FLOOR * threshold, SHARE * best)


def locate_named(locator: Locator, source: AudioSource) -> Located:
    """Return the spans of a locator's texts with the limit of each text; spans that do not touch are not joined.

    Raises:
        AudioError: the sound cannot be read.
    """
    parts = list(locator.scored(as_source(source)))
    probabilities = np.concatenate([rows for rows, _ in parts])
    times_s = np.concatenate([times for _, times in parts]).tolist()
    result = Located(duration_s=times_s[-1][1], threshold=FLOOR * locator.threshold, origin=locator.origin)
    config = LocateConfig(max_gap_s=0.0)
    for text, column in zip(locator.texts, probabilities.T.tolist(), strict=True):
        track = Track(text, limit_of(max(column), locator.threshold), config)
        for (start_s, end_s), probability in zip(times_s, column, strict=True):
            track.add(start_s, end_s, probability)
        track.close()
        result.best[text] = track.best
        result.spans += track.spans()
    result.spans.sort(key=lambda span: (span.onset_s, span.text))
    return result
