"""PSDS, the polyphonic sound detection score: events with boundaries, over all thresholds at once.

At a threshold, every unbroken run of segments that score at least that much is a detection of the class. A detection
is correct if enough of it is inside events of its class (dtc). An event is detected if enough of it is inside correct
detections (gtc). A wrong detection that is inside events of another class (cttc) is also a cross trigger. PSDS is the
area under "share of events detected" (mean minus deviation over classes) against "wrong detections per hour", up to
100 per hour, divided by 100.

Source: Bilen et al. 2020 (ICASSP); all thresholds as in Ebbers, Serizel and Haeb-Umbach 2022 (ICASSP). Equal to
sed_scores_eval (tests/golden/psds.json).

Legend: S segments of a clip, K classes, U clips, C changes: one row per score at which some count changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.evaluate.metrics.base import METRICS, Arrays, Metric, Weights

MAX_PER_HOUR: Final = 100.0
DECIMALS: Final = 6  # intersections are compared in microseconds: 0.7 of 1 s is not 0.7000000001
Event = tuple[float, float, int]  # onset_s, offset_s, class


@dataclass(frozen=True)
class Setting:
    """Tolerances of correct detections, and the penalties for cross triggers and for unequal classes."""

    dtc: float
    gtc: float
    cttc: float = 0.0
    cross: float = 0.0  # alpha_ct
    unequal: float = 1.0  # alpha_st


SETTINGS: Final = {  # of the DCASE challenges: PSDS1 demands exact boundaries, PSDS2 the right class
    "PSDS1": Setting(0.7, 0.7),
    "PSDS2": Setting(0.1, 0.1, 0.3, 0.5),
}


def psds_arrays(
    scores: Sequence[NDArray[Any]], events: Sequence[Sequence[Event]], durations_s: Sequence[float], segment_s: float
) -> dict[str, NDArray[Any]]:
    """Return the counts that PSDS1 and PSDS2 sum, for U clips with scores (S, K), events and durations.

    - psds_unit, psds_class, psds_value (C,): clip, class and score of each change, by class and falling score.
    - psds_tp1 ... psds_ct2 (C,): what the change adds to each count. psds_other (C,): the class of a cross trigger.
    - psds_events, psds_events_s (U, K): number and total length of the true events. psds_duration_s (U,).
    """
    classes = scores[0].shape[1]
    number, length = np.zeros((len(scores), classes)), np.zeros((len(scores), classes))
    rows: list[tuple[int, int, float, int, int, int, int, int, int]] = []
    for u, (table, true, duration) in enumerate(zip(scores, events, durations_s, strict=True)):
        edges = np.minimum(np.arange(len(table) + 1) * segment_s, duration)
        for onset, offset, k in true:
            number[u, k] += 1
            length[u, k] += offset - onset
        for k in range(classes):
            same = np.array([(a, b) for a, b, c in true if c == k]).reshape(-1, 2)
            others = {c: np.array([(a, b) for a, b, d in true if d == c]) for c in {c for _, _, c in true} - {k}}
            rows += _changes(u, k, table[:, k], edges, same, others)
    ordered = sorted(rows, key=lambda row: (row[1], -row[2]))
    names = ("unit", "class", "value", "tp1", "fp1", "tp2", "fp2", "ct2", "other")
    columns = {f"psds_{name}": np.array([row[n] for row in ordered]) for n, name in enumerate(names)}
    totals = {"psds_events": number, "psds_events_s": length, "psds_duration_s": np.asarray(durations_s, np.float64)}
    return columns | totals


def _changes(
    u: int, k: int, values: NDArray[Any], edges: NDArray[Any], same: NDArray[Any], others: dict[int, NDArray[Any]]
) -> list[tuple[int, int, float, int, int, int, int, int, int]]:
    """Return the rows of one clip and class: what each threshold adds to the counts of the threshold above it."""
    rows = []
    before = (0, 0, 0, 0, dict.fromkeys(others, 0))
    for value in np.unique(values)[::-1]:
        on = np.diff(np.concatenate([[0], (values >= value).astype(np.int8), [0]]))
        detections = np.stack([edges[np.flatnonzero(on == 1)], edges[np.flatnonzero(on == -1)]], axis=1)
        tp1, fp1, _ = count_detections(detections, same, {}, SETTINGS["PSDS1"])
        tp2, fp2, crossed = count_detections(detections, same, others, SETTINGS["PSDS2"])
        steps = (tp1 - before[0], fp1 - before[1], tp2 - before[2], fp2 - before[3])
        if any(steps):
            rows.append((u, k, float(value), *steps, 0, 0))
        for other, count in crossed.items():
            if count != before[4][other]:
                rows.append((u, k, float(value), 0, 0, 0, 0, count - before[4][other], other))
        before = (tp1, fp1, tp2, fp2, crossed)
    return rows


def count_detections(
    detections: NDArray[Any], true: NDArray[Any], others: dict[int, NDArray[Any]], how: Setting
) -> tuple[int, int, dict[int, int]]:
    """Return (events detected, wrong detections, cross triggers by class) of detections (D, 2) and events (n, 2)."""
    lengths = detections[:, 1] - detections[:, 0]
    shared = _shared(detections, true)
    right = np.round(shared.sum(axis=1), DECIMALS) >= np.round(how.dtc * lengths, DECIMALS)
    covered = np.round(shared[right].sum(axis=0), DECIMALS)
    hits = covered >= np.round(how.gtc * (true[:, 1] - true[:, 0]), DECIMALS)
    crossed = {}
    for other, events in others.items():
        inside = np.round(_shared(detections[~right], events).sum(axis=1), DECIMALS)
        crossed[other] = int((inside >= np.round(how.cttc * lengths[~right], DECIMALS)).sum())
    return int(hits.sum()), int((~right).sum()), crossed


def _shared(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return the seconds that intervals a (A, 2) and b (B, 2) share, (A, B)."""
    ends = np.minimum(a[:, None, 1], b[None, :, 1]) if len(b) else np.zeros((len(a), 0))
    starts = np.maximum(a[:, None, 0], b[None, :, 0]) if len(b) else np.zeros((len(a), 0))
    both: NDArray[Any] = np.maximum(ends - starts, 0.0)
    return both


def psds(arrays: Arrays, weights: Weights, name: str) -> float:
    """Return the PSDS of stored changes; classes without an event (in a resample) are left out."""
    how, suffix = SETTINGS[name], name[-1]
    units = arrays["units"]
    w = np.ones(len(arrays["psds_duration_s"]))
    if weights is not None:
        w = weights[np.searchsorted(units, np.arange(len(w)))]
    hours = float(w @ arrays["psds_duration_s"]) / 3600
    events, seconds = w @ arrays["psds_events"], w @ arrays["psds_events_s"]
    drawn = w[arrays["psds_unit"]]
    wrong = drawn * arrays[f"psds_fp{suffix}"] / max(hours, 1e-12)
    if how.cross:
        rate = np.where(seconds > 0, 3600 / np.maximum(seconds, 1e-12), 0.0) * how.cross / max(len(events) - 1, 1)
        wrong = wrong + drawn * arrays["psds_ct2"] * rate[arrays["psds_other"]]
    hits = drawn * arrays[f"psds_tp{suffix}"]
    bounds = np.searchsorted(arrays["psds_class"], np.arange(len(events) + 1))
    curves = []
    for k in np.flatnonzero(events > 0):
        part = slice(bounds[k], bounds[k + 1])
        curves.append(_curve(arrays["psds_value"][part], hits[part] / events[k], wrong[part]))
    if not curves:
        return float("nan")
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    heights = np.stack([y[np.searchsorted(x, grid, side="right") - 1] for x, y in curves])
    height = np.maximum(heights.mean(axis=0) - how.unequal * heights.std(axis=0), 0.0)
    return float(height @ np.diff(grid, append=MAX_PER_HOUR) / MAX_PER_HOUR)


def _curve(values: NDArray[Any], hits: NDArray[Any], wrong: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the rates of wrong detections, rising up to the limit, and the best share of events detected at each."""
    last = np.append(values[1:] != values[:-1], True)[: len(values)]
    x = np.concatenate([[0.0], np.round(np.cumsum(wrong)[last], 9)])
    y = np.concatenate([[0.0], np.cumsum(hits)[last]])
    order = np.lexsort((y, x))
    best = np.maximum.accumulate(y[order])
    at, index = np.unique(x[order][::-1], return_index=True)
    best = best[::-1][index]
    return at[at <= MAX_PER_HOUR], best[at <= MAX_PER_HOUR]


def _metric(name: str) -> Metric:
    how = SETTINGS[name]

    def metric(arrays: Arrays, weights: Weights = None) -> float:
        return psds(arrays, weights, name)

    metric.__doc__ = (
        f"PSDS with dtc {how.dtc}, gtc {how.gtc}, cttc {how.cttc}, alpha_ct {how.cross}, alpha_st {how.unequal}, up to "
        f"{MAX_PER_HOUR:g} wrong detections per hour."
    )
    return metric


for _name in SETTINGS:
    METRICS.add(_name, _metric(_name))
