"""Compare groups of clips: retrieval per subgroup, and trained clips with others (membership).

Legend: N clips, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray
from aural.evaluate.metrics.labels import auroc
from aural.evaluate.stats import resample

RESAMPLES = 1000
SMALLEST_GROUP = 20
"""Groups of fewer clips are joined as "(small groups)", because their intervals say nothing."""


@dataclass(frozen=True)
class GroupGap:
    """The score of one group, and its difference to all other clips with an interval over all compared groups."""

    group: str
    clips: int
    score: float
    gap: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Return whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Membership:
    """The AUROC of the similarity of sound and caption, clips of the training data against others."""

    members: int
    others: int
    auroc: float
    low: float
    high: float

    @property
    def leaks(self) -> bool:
        """Return whether the interval is above 0.5."""
        return self.low > 0.5


def hits(sounds: FloatArray, texts: FloatArray, captions: Sequence[str], *, top: int = 10) -> NDArray[np.float64]:
    """Return 1 for each clip whose own caption is among the `top` captions most similar to it, else 0, (N,).

    Equal captions count once. A caption with the same cosine as the clip's caption ranks before it, so a collapsed
    tower scores 0 and not 1.

    sounds: unit rows (N, E). texts: unit rows (N, E) of the captions.
    """
    _, first, number = np.unique(np.asarray(captions), return_index=True, return_inverse=True)
    cosines = sounds @ texts[first].T
    matching = cosines[np.arange(len(sounds)), number.ravel()]
    before = (cosines >= matching[:, None]).sum(axis=1) - 1
    return (before < top).astype(np.float64)


def group_gaps(
    values: NDArray[np.float64], groups: Sequence[str], units: NDArray[np.int64], generator: np.random.Generator
) -> list[GroupGap]:
    """Return each group's mean and its difference to the mean of all other clips, largest deficit first.

    The interval is a percentile bootstrap over units at the level 1 - 0.05 / groups (Bonferroni), so that with no real
    difference at most 5% of audits name any group.

    values: (N,). groups: (N,), "" for clips without one, which are not compared. units: (N,), what was recorded
    together.
    """
    names = np.asarray(groups, dtype=object)
    present, counts = np.unique(names[names != ""].astype(str), return_counts=True)
    small = set(present[counts < SMALLEST_GROUP])
    names = np.array(["(small groups)" if name in small else name for name in names], dtype=object)
    present = np.unique(names[names != ""].astype(str))
    if len(present) < 2:
        return []
    compared = names != ""
    inside = np.stack([names[compared] == name for name in present]).astype(np.float64)
    values, units = values[compared], np.unique(units[compared], return_inverse=True)[1].ravel().astype(np.int64)
    draws = np.stack([_gaps(values, inside, resample(units, generator)) for _ in range(RESAMPLES)])
    tail = 0.05 / len(present) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0)
    gaps = _gaps(values, inside, np.ones(len(values)))
    rows = [
        GroupGap(str(name), int(m.sum()), float(values @ m / m.sum()), float(gaps[g]), float(low[g]), float(high[g]))
        for g, (name, m) in enumerate(zip(present, inside, strict=True))
    ]
    return sorted(rows, key=lambda row: row.gap)


def _gaps(
    values: NDArray[np.float64], inside: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return for each group (G, N) the weighted mean inside minus the weighted mean outside, (G,)."""
    total, count = float(weights @ values), float(weights.sum())
    sums, counts = inside @ (weights * values), inside @ weights
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums / counts - (total - sums) / (count - counts), np.float64)


def membership(
    values: NDArray[np.float64], trained: NDArray[np.bool_], units: NDArray[np.int64], generator: np.random.Generator
) -> Membership:
    """Return the AUROC of `values` for trained clips against others, with a 95% bootstrap interval over units.

    values: (N,) similarity of each sound and its caption. trained: (N,). units: (N,).
    """
    targets, scores = trained[:, None].astype(np.uint8), values[:, None]
    members = np.unique(units[trained], return_inverse=True)[1].ravel()
    others = np.unique(units[~trained], return_inverse=True)[1].ravel()
    weights = np.empty((RESAMPLES, len(values)))
    for row in weights:
        row[trained] = resample(members.astype(np.int64), generator)
        row[~trained] = resample(others.astype(np.int64), generator)
    low, high = np.nanquantile(auroc(targets, scores, weights)[:, 0], [0.025, 0.975])
    area = float(auroc(targets, scores)[0])
    return Membership(int(trained.sum()), int((~trained).sum()), area, float(low), float(high))
