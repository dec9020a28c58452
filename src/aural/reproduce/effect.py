"""The effect of a claim: differences per seed on the same held-out items, with a 95% interval and a verdict.

Two intervals are computed: a t interval over seeds, and a paired bootstrap over items of the mean over seeds (both arms
and all seeds are scored on the same resamples). The wider one is reported. Seeds alone would ignore that the held-out
items are a sample; items alone would ignore that training is random.

Legend: S seeds, N items, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.reproduce.card import Check, ClaimCard

RESAMPLES: Final = 1000
DIGITS: Final = 6
SHOWN: Final = "shown"
NOT_SHOWN: Final = "not shown"
REVERSED: Final = "reversed"
# 97.5% quantiles of Student's t with 1 to 30 degrees of freedom
T_975: Final = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
    2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963,
    2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.045230, 2.042272,
)  # fmt: skip
Z_975: Final = 1.959964

# Scores of one arm and one seed: (R, N) weights of items -> (R,) scores.
Scorer: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Measured:
    """Scores of one arm with one seed on one task: which items belong together, and the score of weighted items."""

    units: NDArray[np.int64]
    """(N,) number of the independent unit (a clip, with all its captions) of each item."""
    score: Scorer
    metric: str = "mean"


def mean_of(values: NDArray[np.float64], units: NDArray[np.int64] | None = None, metric: str = "mean") -> Measured:
    """Measure a task whose score is the mean of one value per item."""
    values = np.asarray(values, np.float64)

    def score(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = weights @ values / weights.sum(axis=1)
        return total

    return Measured(np.arange(len(values)) if units is None else units, score, metric)


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95% interval."""

    value: float
    low: float
    high: float
    by: str
    """ "seeds" or "items": which of the two intervals was wider."""
    t: tuple[float, float] | None
    bootstrap: tuple[float, float] | None
    per_seed: tuple[float, ...]


def t_quantile(degrees: int) -> float:
    """Return the 97.5% quantile of Student's t (a table to 30 degrees, then a Cornish-Fisher expansion).

    >>> round(t_quantile(4), 3)
    2.776
    """
    if degrees <= len(T_975):
        return T_975[degrees - 1]
    z = Z_975
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    return z + (z**3 + z) / (4 * degrees) + second + third


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95% t interval of the mean, or None for fewer than two values.

    >>> low, high = t_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return None
    half = t_quantile(len(array) - 1) * float(array.std(ddof=1)) / math.sqrt(len(array))
    return float(array.mean()) - half, float(array.mean()) + half


def combine(
    terms: Sequence[tuple[Sequence[Measured], float]], rng: np.random.Generator, resamples: int = RESAMPLES
) -> Interval:
    """Combine arms: `terms` holds S measurements and a weight per arm; seed s of all arms is compared with itself.

    Raises DataError where two measurements do not score the same items.
    """
    first = terms[0][0][0]
    for measured in (one for arm, _ in terms for one in arm):
        if not np.array_equal(measured.units, first.units):
            raise DataError("arms or seeds were scored on different items; delete the scores and run again")
    ones = np.ones((1, len(first.units)))
    per_seed = _differences(terms, ones)[:, 0]
    value = float(per_seed.mean())
    t = t_interval(per_seed.tolist())
    bootstrap = None
    count = int(first.units.max(initial=-1)) + 1
    if count > 1:
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
        means = _differences(terms, drawn[:, first.units].astype(np.float64)).mean(axis=0)
        low, high = np.nanquantile(means, [0.025, 0.975])
        bootstrap = (float(low), float(high))
    by, chosen = _wider(t, bootstrap, value)
    return Interval(value, chosen[0], chosen[1], by, t, bootstrap, tuple(float(v) for v in per_seed))


def _differences(
    terms: Sequence[tuple[Sequence[Measured], float]], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(S, R): the weighted sum over arms, per seed and resample."""
    total = np.zeros((len(terms[0][0]), len(weights)))
    for arm, weight in terms:
        total += weight * np.stack([one.score(weights) for one in arm])
    return total


def _wider(
    t: tuple[float, float] | None, bootstrap: tuple[float, float] | None, value: float
) -> tuple[str, tuple[float, float]]:
    if t is None and bootstrap is None:
        return "none", (value, value)
    if t is None or (bootstrap is not None and bootstrap[1] - bootstrap[0] > t[1] - t[0]):
        assert bootstrap is not None
        return "items", bootstrap
    return "seeds", t


def verdict_of(check: Check, interval: Interval) -> str:
    """Compare an interval with the bound of a check.

    above, below: "shown" if the whole interval is on that side of the bound, "reversed" if it is on the other side.
    at_least, at_most: "shown" if the mean reaches the bound, "reversed" if the whole interval misses it.
    Everything else is "not shown".
    """
    bound, sign = check.bound, 1.0 if check.rule in ("above", "at_least") else -1.0
    low, high = sorted((sign * interval.low, sign * interval.high))
    if check.rule in ("above", "below"):
        reached = low > sign * bound
    else:
        reached = sign * interval.value >= sign * bound - 10.0**-DIGITS
    if reached:
        return SHOWN
    return REVERSED if high < sign * bound else NOT_SHOWN


Trials: TypeAlias = Mapping[str, Mapping[int, Mapping[str, Measured]]]
"""arm -> seed -> "TASK" or "TASK/METRIC" -> its measurement."""


def effect_of(card: ClaimCard, trials: Trials, seeds: Sequence[int], *, smoke: bool = False) -> dict[str, Any]:
    """Return the content of effect.json: scores per arm and seed, checks with intervals, and verdicts.

    It is a function of the card and the measurements alone, so that it is the same to the byte after every resume.
    Seconds, device and commit are stored in run.json.
    """
    arms: dict[str, Any] = {}
    for arm, by_seed in trials.items():
        keys = sorted(set.intersection(*(set(by_seed[seed]) for seed in seeds)))
        arms[arm] = {key: _scores([by_seed[seed][key] for seed in seeds]) for key in keys}
    checks = []
    for check in card.check:
        key = f"{check.task}/{check.metric}" if check.metric else check.task
        terms = [([trials[arm][seed][key] for seed in seeds], weight) for arm, weight in check.terms]
        interval = combine(terms, np.random.default_rng(0))
        checks.append(
            {
                "what": check.what,
                "task": check.task,
                "metric": terms[0][0][0].metric,
                "of": check.of,
                "rule": check.rule,
                "bound": check.bound,
                "primary": check.primary,
                "verdict": verdict_of(check, interval),
                **asdict(interval),
            }
        )
    content = {
        "name": card.name,
        "card_hash": card.hash,
        "smoke": smoke,
        "seeds": list(seeds),
        "verdict": next(check["verdict"] for check in checks if check["primary"]),
        "checks": checks,
        "arms": arms,
    }
    rounded_values: dict[str, Any] = rounded(content)
    return rounded_values


def _scores(seeds: Sequence[Measured]) -> dict[str, Any]:
    values = [float(one.score(np.ones((1, len(one.units))))[0]) for one in seeds]
    return {"metric": seeds[0].metric, "mean": float(np.mean(values)), "per_seed": values}


def rounded(value: Any) -> Any:
    """Round every number of a JSON-like value to 6 digits after the point; a number that is not finite becomes None."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0 if math.isfinite(value) else None
    return value
