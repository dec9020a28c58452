"""Intervals, verdicts and calibration of effects, against closed forms and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from aural.core.errors import ConfigError, DataError
from aural.reproduce import calibration
from aural.reproduce.card import Check, claim, parse_terms
from aural.reproduce.effect import combine, mean_of, rounded, t_interval, t_quantile, verdict_of
from aural.reproduce.effects import cost_of

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("degrees", [1, 2, 4, 9, 30, 31, 60, 200])
def test_t_quantiles_agree_with_scipy(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=2e-5)


def test_t_interval_agrees_with_scipy_and_needs_two_values() -> None:
    values = [0.1, 0.25, 0.18, 0.3]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx((low, high), abs=1e-6)
    assert t_interval([0.5]) is None


def test_the_wider_interval_is_reported() -> None:
    items = np.r_[np.ones(30), np.zeros(30)]
    same = [mean_of(items), mean_of(items)]
    interval = combine([(same, 1.0)], np.random.default_rng(0))
    assert (interval.by, interval.t) == ("items", (0.5, 0.5))
    half = 1.96 * np.sqrt(0.25 / 60)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
    noisy = [mean_of(np.zeros(60)), mean_of(np.ones(60))]
    assert combine([(noisy, 1.0)], np.random.default_rng(0)).by == "seeds"


def test_items_are_paired_and_units_are_drawn_whole() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    ours, other = [mean_of(hard + 0.1)] * 2, [mean_of(hard)] * 2
    interval = combine([(ours, 1.0), (other, -1.0)], rng)
    assert (interval.low, interval.high) == pytest.approx((0.1, 0.1))  # unpaired, the items' spread would show
    units = np.repeat(np.arange(20), 10)
    clip = np.repeat(rng.random(20), 10)
    wide = combine([([mean_of(clip, units)], 1.0)], np.random.default_rng(0))
    narrow = combine([([mean_of(clip)], 1.0)], np.random.default_rng(0))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)  # sqrt(10) in theory


def test_other_items_are_refused() -> None:
    with pytest.raises(DataError, match="different items"):
        combine([([mean_of(np.ones(3))], 1.0), ([mean_of(np.ones(4))], -1.0)], np.random.default_rng(0))


def test_terms_are_means_of_both_sides() -> None:
    a, b, c = ([mean_of(np.array([v, v + 1]))] for v in (1.0, 3.0, 5.0))
    weights = [weight for _, weight in parse_terms("a + b - c")]
    interval = combine(list(zip((a, b, c), weights, strict=True)), np.random.default_rng(0))
    assert interval.value == pytest.approx((1.5 + 3.5) / 2 - 5.5)
    for wrong in ("a -b", "a - a", "- a", "A - b"):
        with pytest.raises(ConfigError):
            parse_terms(wrong)


@pytest.mark.parametrize(
    ("rule", "bound", "interval", "verdict"),
    [
        ("above", 0.0, (0.1, 0.01, 0.2), "shown"),
        ("above", 0.0, (0.1, -0.01, 0.2), "not shown"),
        ("above", 0.0, (-0.1, -0.2, -0.01), "reversed"),
        ("above", -0.01, (0.0, -0.005, 0.01), "shown"),
        ("below", 0.0, (-0.1, -0.2, -0.01), "shown"),
        ("below", 0.0, (0.1, 0.01, 0.2), "reversed"),
        ("at_least", 0.75, (0.76, 0.7, 0.8), "shown"),
        ("at_least", 0.75, (0.74, 0.7, 0.8), "not shown"),
        ("at_least", 0.75, (0.6, 0.5, 0.7), "reversed"),
        ("at_most", 0.1, (0.1, 0.0, 0.2), "shown"),
        ("at_most", 0.1, (0.3, 0.2, 0.4), "reversed"),
    ],
)
def test_verdicts(rule: str, bound: float, interval: tuple[float, float, float], verdict: str) -> None:
    from aural.reproduce.effect import Interval

    check = Check.parse({"what": "w", "task": "t", "of": "a", rule: bound}, "check")
    value, low, high = interval
    assert verdict_of(check, Interval(value, low, high, "seeds", None, None, (value,))) == verdict


def test_rounding_has_no_minus_zero_and_no_nan() -> None:
    assert str(rounded({"a": [-1e-9, float("nan"), 0.12345678]})) == "{'a': [0.0, None, 0.123457]}"


def test_null_comparisons_exclude_zero_in_2_to_8_percent_and_planted_effects_are_found() -> None:
    noise = next(regime for regime in calibration.REGIMES if regime.name == "seeds and items")
    assert 0.02 <= calibration.null_rate(noise) <= 0.08
    assert calibration.power(noise) >= 0.9


def test_null_comparisons_of_real_runs_are_drawn_from_disjoint_seeds() -> None:
    rng = np.random.default_rng(0)
    noise = calibration.Noise("runs", seed=0.2, seeds=40)
    runs, _ = calibration.simulate(noise, rng)
    assert 0.0 < calibration.null_share(runs, seeds=5) < 0.12


def test_measured_costs_replace_estimates() -> None:
    card = claim("scenes-vs-labels")
    assert cost_of(card) == f"estimated {card.cost.gpu_min:g} GPU min"
    effect = {"seeds": [0, 1, 2], "run": {"seconds": 1920.0, "jobs": 16, "devices": ["NVIDIA H200"]}}
    assert cost_of(card, effect) == "measured 2 min, 3 seeds, 16 jobs, NVIDIA H200"
    alone = {"seeds": [0], "run": {"seconds": 90.0, "jobs": 1, "devices": ["cpu"]}}
    assert cost_of(card, alone) == "measured 1.5 min, 1 seed, 1 job, cpu"
