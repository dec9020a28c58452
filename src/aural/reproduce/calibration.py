"""Measure how often the interval of `effect.combine` excludes the truth and how often it finds a planted effect.

A simulated arm scores N items with S seeds. Whether an item is right depends on the item (the same for both arms), on
the seed (a shift of all items) and on both. The interval should exclude 0 in about 5% of the comparisons of two equal
arms. An effect of two standard deviations of the difference per seed should be found in at least 90%.

The same two numbers can be computed from real runs: `null_share` draws comparisons of one arm with itself, with
disjoint seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aural.reproduce.effect import Measured, combine, mean_of

COMPARISONS: Final = 200
RESAMPLES: Final = 400
PLANTED_DEVIATIONS: Final = 2.0


@dataclass(frozen=True)
class Noise:
    """Standard deviations in units of the log odds that an item is right, and sizes."""

    name: str
    seed: float
    """Of a shift that all items of one training run share."""
    item: float = 1.0
    """Of the difficulty of an item, the same in every run."""
    both: float = 0.5
    """Of what one training run adds to one item."""
    items: int = 300
    seeds: int = 5


REGIMES: Final = (
    Noise("items matter most", seed=0.0),
    Noise("seeds and items", seed=0.15),
    Noise("seeds matter most", seed=0.4),
    Noise("three seeds", seed=0.25, seeds=3),
)


def simulate(noise: Noise, rng: np.random.Generator, shift: float = 0.0) -> tuple[list[Measured], list[Measured]]:
    """Return S measurements of two arms on the same items; the first arm's log odds are higher by `shift`."""
    difficulty = 0.8 + noise.item * rng.standard_normal(noise.items)
    return _arm(noise, difficulty + shift, rng), _arm(noise, difficulty, rng)


def _arm(noise: Noise, log_odds: NDArray[np.float64], rng: np.random.Generator) -> list[Measured]:
    runs = []
    for _ in range(noise.seeds):
        shift = noise.seed * rng.standard_normal() + noise.both * rng.standard_normal(noise.items)
        chance = 1 / (1 + np.exp(-(log_odds + shift)))
        runs.append(mean_of((rng.random(noise.items) < chance).astype(np.float64)))
    return runs


def excluded(pairs: Iterator[tuple[Sequence[Measured], Sequence[Measured]]]) -> tuple[float, float]:
    """Return the shares of comparisons whose interval is above 0 and below 0."""
    above, below, total = 0, 0, 0
    for ours, other in pairs:
        interval = combine([(ours, 1.0), (other, -1.0)], np.random.default_rng(0), RESAMPLES)
        above += interval.low > 0
        below += interval.high < 0
        total += 1
    return above / total, below / total


def null_rate(noise: Noise, comparisons: int = COMPARISONS) -> float:
    """Return how often the interval excludes 0 where the arms do not differ."""
    rngs = np.random.default_rng(0).spawn(comparisons)
    return sum(excluded(simulate(noise, rng) for rng in rngs))


def power(noise: Noise, deviations: float = PLANTED_DEVIATIONS, comparisons: int = COMPARISONS) -> float:
    """Return how often a planted effect is found, in units of the standard deviation of the difference per seed."""
    shift = _shift_for(noise, deviations)
    rngs = np.random.default_rng(1).spawn(comparisons)
    return excluded(simulate(noise, rng, shift) for rng in rngs)[0]


def _shift_for(noise: Noise, deviations: float) -> float:
    """Return the shift of the log odds that moves the mean difference by so many standard deviations of a seed."""
    rng = np.random.default_rng(2)
    many = Noise(noise.name, noise.seed, noise.item, noise.both, noise.items, seeds=400)
    spread = float(np.std(_difference(many, 0.0, rng), ddof=1))
    low, high = 0.0, 6.0
    for _ in range(30):
        middle = (low + high) / 2
        gain = float(np.mean(_difference(many, middle, np.random.default_rng(3))))
        low, high = (middle, high) if gain < deviations * spread else (low, middle)
    return (low + high) / 2


def _difference(noise: Noise, shift: float, rng: np.random.Generator) -> list[float]:
    ones = np.ones((1, noise.items))
    ours, other = simulate(noise, rng, shift)
    return [float((a.score(ones) - b.score(ones))[0]) for a, b in zip(ours, other, strict=True)]


def null_share(runs: Sequence[Measured], seeds: int, comparisons: int = COMPARISONS) -> float:
    """Return how often the interval excludes 0 between two disjoint groups of `seeds` runs of the same arm.

    Groups overlap between comparisons, so the share varies more than that of independent comparisons.
    """
    rng = np.random.default_rng(0)

    def pairs() -> Iterator[tuple[list[Measured], list[Measured]]]:
        for _ in range(comparisons):
            order = rng.permutation(len(runs))
            yield [runs[i] for i in order[:seeds]], [runs[i] for i in order[seeds : 2 * seeds]]

    return sum(excluded(pairs()))


def report() -> Iterator[str]:
    """Yield a table: per kind of noise, the rate of false alarms and of planted effects that are found."""
    yield f"{COMPARISONS} comparisons per line; effects of {PLANTED_DEVIATIONS:g} standard deviations are planted"
    yield f"{'noise':24} {'seeds':>5} {'items':>5} {'null excluded':>14} {'effect found':>13}"
    for noise in REGIMES:
        rates = f"{null_rate(noise):14.1%} {power(noise):13.1%}"
        yield f"{noise.name:24} {noise.seeds:5} {noise.items:5} {rates}"
