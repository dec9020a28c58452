"""Discover subgroups of items that a model serves worse, as combinations of facts.

Legend: N items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Subgroup:
    """Items that share the values of some facts, such as language "fr" and sex "female"."""

    conditions: Mapping[str, str]
    items: int
    score: float
    divergence: float
    """Mean score of its items minus the mean of all items; below 0: served worse."""
    z: float
    """Difference to the other items in standard errors (Welch)."""

    def contains(self, facts: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Return which items belong to it (N,)."""
        return np.all([facts[name] == value for name, value in self.conditions.items()], axis=0)


def weakest_subgroups(
    facts: Mapping[str, NDArray[Any]],
    scores: NDArray[Any],
    *,
    most: int = 4,
    fewest: int = 20,
    facts_per_group: int = 2,
) -> list[Subgroup]:
    """Return the subgroups with the lowest scores, the most certain one first.

    All combinations of the values of up to `facts_per_group` facts with at least `fewest` items are compared with the
    other items. Those with a lower score are ordered by their difference in standard errors (Welch's t).

    facts: name -> value per item (N,). scores: (N,), such as 1 for a correct answer.

    Source: Pastor et al. 2021, DivExplorer: exhaustive subgroups with a minimum support, ordered by divergence.

    >>> facts = {"sex": np.array(list("ffffmmmm")), "age": np.array(list("oyoyoyoy"))}
    >>> [one.conditions for one in weakest_subgroups(facts, np.array([0, 1, 0, 1, 1, 1, 1, 1.0]), fewest=2, most=1)]
    [{'sex': 'f', 'age': 'o'}]
    """
    scores = np.asarray(scores, np.float64)
    groups = []
    for count in range(1, facts_per_group + 1):
        for chosen in combinations(facts, count):
            for values in product(*(np.unique(facts[name]) for name in chosen)):
                conditions = {name: str(value) for name, value in zip(chosen, values, strict=True)}
                inside = Subgroup(conditions, 0, 0.0, 0.0, 0.0).contains(facts)
                if fewest <= inside.sum() <= len(scores) - fewest:
                    groups.append(_compared(conditions, scores, inside))
    worse = [one for one in groups if one.divergence < 0]
    return sorted(worse, key=lambda one: one.z)[:most]


def _compared(conditions: Mapping[str, str], scores: NDArray[np.float64], inside: NDArray[np.bool_]) -> Subgroup:
    of, others = scores[inside], scores[~inside]
    error = np.sqrt(of.var(ddof=1) / len(of) + others.var(ddof=1) / len(others))
    z = (of.mean() - others.mean()) / max(float(error), 1e-9)
    return Subgroup(conditions, len(of), float(of.mean()), float(of.mean() - scores.mean()), float(z))
