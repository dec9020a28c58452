"""Choose the samples of each step: a fixed number of windows, or as many clips of similar length as fit.

Legend: sample i is the i-th draw of a run (see `aural.train.loader`); a group is the samples of one step of all
processes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.train.config import BatchingConfig
from aural.train.draw import GROUPS, generator

Numbers: TypeAlias = NDArray[np.int64]
Seconds: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """The samples of one step, for all processes."""

    step: int
    numbers: Numbers

    def part(self, rank: int, world: int) -> Numbers:
        """Return the samples of one process. All processes have the same number of samples."""
        size = len(self.numbers) // world
        return self.numbers[rank * size : (rank + 1) * size]


class Windows:
    """Groups of `size` samples in the order of their numbers."""

    def __init__(self, size: int) -> None:
        self.size = size

    def group(self, step: int) -> Group:
        return Group(step, np.arange(step * self.size, (step + 1) * self.size))

    def steps(self, samples: float) -> int:
        """Return the number of steps that use so many samples."""
        return max(1, round(samples / self.size))


class Lengths:
    """Groups of samples of similar length whose padded length is within a budget.

    Samples are taken in pools of `config.pool`. A pool is sorted by length and cut from the longest down: a group takes
    as many samples as the budget holds at the length of its longest one, rounded down to a multiple of
    `config.multiple`. Every sample is used once; the last group of a pool can be small. A clip that a pool contains
    several times, because the data are few or an epoch ends there, is not in one group twice: its repetitions are cut
    separately, and only fewer than `config.multiple` clips that are left over join the next repetition. The groups of a
    pool come in random order, and so do the samples of a group. All of this is a function of seed and pool, so the
    groups are the same for any number of processes and after an interruption.
    """

    def __init__(
        self,
        config: BatchingConfig,
        budget_s: float,
        clips: Callable[[Numbers], tuple[Numbers, Seconds]],
        *,
        seed: int,
        world: int,
    ) -> None:
        """Args: clips: the function that gives the clips of samples and their lengths."""
        self.config, self.budget_s, self.clips, self.seed = config, budget_s, clips, seed
        if config.multiple % world:
            raise DataError(
                f"data.batching.multiple is {config.multiple}, which {world} processes cannot share equally; set it to "
                f"a multiple of {world}"
            )
        if config.pool % config.multiple:
            raise DataError(
                f"data.batching.pool is {config.pool}; set it to a multiple of data.batching.multiple, which is "
                f"{config.multiple}"
            )
        self.firsts: list[int] = [0]
        """First step of each pool whose number of groups is known, and of the one after."""
        self._last: tuple[int, list[Numbers]] | None = None

    def group(self, step: int) -> Group:
        """Return the group of a step. A step beyond the known pools makes all pools before it."""
        while step >= self.firsts[-1]:
            self._next()
        pool = bisect_right(self.firsts, step) - 1
        if self._last is None or self._last[0] != pool:
            self._last = pool, self._groups(pool)
        return Group(step, self._last[1][step - self.firsts[pool]])

    def steps(self, samples: float) -> int:
        """Return the number of steps that use at least so many samples: complete pools."""
        while (len(self.firsts) - 1) * self.config.pool < samples:
            self._next()
        return self.firsts[-1]

    def _next(self) -> None:
        pool = len(self.firsts) - 1
        self.firsts.append(self.firsts[-1] + len(self._cut(pool)))

    def _groups(self, pool: int) -> list[Numbers]:
        random, groups = generator(self.seed, GROUPS, pool), self._cut(pool)
        return [random.permutation(groups[i]) for i in random.permutation(len(groups))]

    def _cut(self, pool: int) -> list[Numbers]:
        """Return the groups of a pool, each with the longest samples first."""
        numbers = np.arange(pool * self.config.pool, (pool + 1) * self.config.pool)
        clips, lengths = self.clips(numbers)
        repetition = repetitions(clips)
        groups = list[Numbers]()
        left = np.empty(0, np.int64)  # places in the pool
        last = int(repetition.max())
        for turn in range(last + 1):
            places = np.concatenate([left, np.flatnonzero(repetition == turn)])
            places = places[np.argsort(-lengths[places], kind="stable")]
            kept = len(places) if turn == last else len(places) // self.config.multiple * self.config.multiple
            places, left = places[:kept], places[kept:]
            groups += [numbers[places[first:stop]] for first, stop in self._cuts(lengths[places])]
        return groups

    def _cuts(self, lengths: Seconds) -> list[tuple[int, int]]:
        """Return where each group begins and ends among samples with the longest first."""
        cuts, first, multiple = list[tuple[int, int]](), 0, self.config.multiple
        grid_s = self.config.round_s
        while first < len(lengths):
            padded_s = np.ceil(lengths[first] / grid_s - 1e-9) * grid_s
            fitting = int(self.budget_s / padded_s + 1e-9) // multiple * multiple
            stop = min(first + max(fitting, multiple), len(lengths))
            cuts.append((first, stop))
            first = stop
        return cuts


def repetitions(values: Numbers) -> Numbers:
    """Return for each value how often it occurred before.

    >>> repetitions(np.array([7, 3, 7, 7]))
    array([0, 0, 1, 2])
    """
    order = np.argsort(values, kind="stable")
    new = np.diff(values[order], prepend=values[order[:1]] - 1) != 0
    at = np.arange(len(values))
    counts = np.empty_like(at)
    counts[order] = at - np.maximum.accumulate(np.where(new, at, 0))
    return counts


Batching: TypeAlias = Windows | Lengths


def padding(frames: NDArray[np.int64], width: int) -> float:
    """Return the share of a padded batch that is padding.

    >>> padding(np.array([3, 4]), 4)
    0.125
    """
    return 1.0 - float(frames.sum()) / (len(frames) * width)
