"""Measure the level of sound inside spans, in steps of 10 ms.

Legend: K steps, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from aural.audio.io import as_source, blocks
from aural.core.types import AudioSource

if TYPE_CHECKING:
    from aural.models.locate import Span

STEPS_A_SECOND: Final = 100
STEP_S: Final = 1 / STEPS_A_SECOND
BLOCK_S: Final = 30.0
LEAST_STEPS: Final = 10
"""Steps in which a sound must be heard without the other one; with fewer, the other one's power is subtracted."""
PAUSE_S: Final = 0.2
PAUSE_DB: Final = -25.0
"""A pause divides a span in two soundings: all of it is so far below the span's loudest step. Chosen on scenes of
validation clips (docs/models/captions.md)."""


def step_powers(source: AudioSource) -> NDArray[np.float64]:
    """Return the mean square (K,) over samples and channels of each step; full scale is 1. The last may be shorter.

    Raises:
        AudioError: the sound cannot be read.
    """
    parts = []
    for block in blocks(as_source(source), BLOCK_S, mono=False):
        squares = np.square(block.samples, dtype=np.float64).mean(axis=0)
        count = -(-len(squares) * STEPS_A_SECOND // block.sample_rate_hz)
        edges = np.arange(count + 1) * block.sample_rate_hz // STEPS_A_SECOND
        edges[-1] = len(squares)
        parts.append(np.add.reduceat(squares, edges[:-1]) / np.diff(edges))
    return np.concatenate(parts)


def decibels(power: float) -> float:
    """Return a power in dB of full scale; a square wave of full scale has 0 dB.

    >>> round(decibels(0.1), 6)
    -10.0
    """
    return 10 * math.log10(max(power, 1e-20))


def covered(spans: Iterable[Span], count: int) -> NDArray[np.bool_]:
    """Return which of `count` steps (K,) are in spans; a span holds at least one step."""
    steps = np.zeros(count, bool)
    for span in spans:
        first = min(round(span.onset_s / STEP_S), count - 1)
        steps[first : max(round(span.offset_s / STEP_S), first + 1)] = True
    return steps


def mean_power(powers: NDArray[np.float64], spans: Sequence[Span]) -> float:
    """Return the mean power in all spans of a sound, with whatever else is heard there."""
    return float(powers[covered(spans, len(powers))].mean())


def two_powers(
    powers: NDArray[np.float64], first: Sequence[Span], second: Sequence[Span]
) -> tuple[float, float, bool] | None:
    """Return the mean powers of two sounds, each from the steps in which the other one is not heard.

    A sound that is heard without the other one in less than 0.1 s has the mean power of the steps of both less that of
    the other one alone (0 if that is negative), because powers of unrelated sounds add; the third value says whether
    that was necessary. None: neither is heard without the other one.
    """
    one, two = covered(first, len(powers)), covered(second, len(powers))
    alone = [powers[one & ~two], powers[two & ~one]]
    short = [len(of_one) < LEAST_STEPS for of_one in alone]
    if all(short):
        return None
    together = powers[one & two]
    means = [float(of_one.mean()) if len(of_one) else 0.0 for of_one in alone]
    for i in (0, 1):
        if short[i] and len(together):
            means[i] = max(float(together.mean()) - means[1 - i], 0.0)
    return means[0], means[1], any(short)


def soundings(powers: NDArray[np.float64], span: Span) -> int:
    """Return 1 and one more for each pause within a span."""
    inside = powers[covered([span], len(powers))]
    loud = np.flatnonzero(inside > inside.max() * 10 ** (PAUSE_DB / 10))
    return 1 + int((np.diff(loud) > round(PAUSE_S / STEP_S)).sum())
