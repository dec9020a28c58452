"""Test PSDS against sed_scores_eval on stored scores, by hand on two clips, and with weights as repetition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import Oracle, made_up

from aural.evaluate import cards
from aural.evaluate.metrics import METRICS
from aural.evaluate.metrics.psds import SETTINGS, count_detections, psds_arrays
from aural.evaluate.run import evaluate

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "psds.json").read_text(encoding="utf-8"))


def stored(keep: list[int] | None = None) -> dict[str, np.ndarray]:
    some = range(len(GOLDEN["scores"])) if keep is None else keep
    scores = [np.array(GOLDEN["scores"][n], np.float32) for n in some]
    events = [[tuple(event) for event in GOLDEN["events"][n]] for n in some]
    arrays = psds_arrays(scores, events, [10.0] * len(scores), GOLDEN["segment_s"])
    return arrays | {"units": np.repeat(np.arange(len(scores)), 20)}


@pytest.mark.parametrize("name", ["PSDS1", "PSDS2"])
def test_equal_to_sed_scores_eval(name: str) -> None:
    assert 0.01 < GOLDEN["psds"][name] < 0.99
    assert METRICS[name](stored(), None) == pytest.approx(GOLDEN["psds"][name], abs=1e-9)


@pytest.mark.parametrize("name", ["PSDS1", "PSDS2"])
def test_a_weight_is_a_repetition(name: str) -> None:
    times = np.random.default_rng(0).integers(0, 3, len(GOLDEN["scores"]))
    repeated = [n for n, count in enumerate(times) for _ in range(count)]
    expected = METRICS[name](stored(repeated), None)
    assert METRICS[name](stored(), np.repeat(times, 20).astype(float)) == pytest.approx(expected)


def test_counts_by_hand() -> None:
    found, true = np.array([[0.0, 1.0], [2.0, 4.0]]), np.array([[0.2, 1.0], [3.5, 5.0]])
    # 0.8 of the first detection is right, 0.5 of 2 s of the second; that covers all of the first event
    assert count_detections(found, true, {}, SETTINGS["PSDS1"]) == (1, 1, {})
    # with a tenth enough both detections are right, and 0.5 of 1.5 s finds the second event
    assert count_detections(found, true, {}, SETTINGS["PSDS2"]) == (2, 0, {})
    other = {4: np.array([[2.0, 2.7]])}
    assert count_detections(found, true[:1], other, SETTINGS["PSDS2"]) == (1, 1, {4: 1})  # 0.7 of 2 s is more than 0.3


def test_area_by_hand() -> None:
    # one class, an hour: two events; at 0.9 the first is found, at 0.5 a wrong detection besides, at 0.2 both events
    scores = np.full((3600, 1), 0.0, np.float32)
    scores[10:20], scores[100:110], scores[200:210] = 0.9, 0.5, 0.2
    arrays = psds_arrays([scores], [[(10.0, 20.0, 0), (200.0, 210.0, 0)]], [3600.0], 1.0)
    arrays["units"] = np.zeros(3600, int)
    # half of the events up to one wrong detection an hour, all of them from there on
    assert METRICS["PSDS1"](arrays, None) == pytest.approx((0.5 * 1 + 1.0 * 99) / 100)


def test_an_oracle_finds_every_event(tmp_path: Path) -> None:
    card = cards.task("desed-frames")
    root = made_up(card, tmp_path / "data", 30)
    run = evaluate(Oracle(card, root), [card], root, tmp_path / "out", resamples=10)
    assert run.scores["desed-frames@zero-shot"]["scores"]["PSDS1"] == pytest.approx(1.0)
