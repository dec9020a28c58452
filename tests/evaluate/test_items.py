"""Scores per item: their mean is the reported score, their ids are clips, and effects are computed from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import RandomEmbedder, made_up
from scipy import stats as scipy_stats

from aural.core.errors import DataError
from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.outcome import Outcome
from aural.evaluate.records import item_scores, read_arrays
from aural.evaluate.run import evaluate
from aural.evaluate.stats import paired_mean_interval, t_interval

ITEM_WISE = ("esc50", "clotho-text-to-audio", "clotho-audio-to-text", "clotho-paraphrase", "scenes-order")


@pytest.mark.parametrize("name", [*ITEM_WISE, "libre-retrieval", "scenes-retrieval"])
def test_the_mean_of_the_items_is_the_score(name: str, tmp_path: Path) -> None:
    card = cards.task(name)
    root = made_up(card, tmp_path / "data", 24)
    run = evaluate(RandomEmbedder(), [card], root, tmp_path / "out", resamples=10)
    record = run.scores[f"{name}@zero-shot"]
    ids, values = item_scores(tmp_path / "out", name)
    assert values.mean() == pytest.approx(record["score"], abs=1e-12)
    assert len(set(ids.tolist())) == record["units"]
    assert all((root.folder(card.dataset) / one).is_file() for one in set(ids.tolist()))


def test_probes_on_folds_keep_ids_with_their_clips(tmp_path: Path) -> None:
    card = cards.task("esc50")
    root = made_up(card, tmp_path / "data", 100)
    run = evaluate(RandomEmbedder(), [card], root, tmp_path / "out", methods=["zero-shot", "knn"], resamples=10)
    ids, values = item_scores(tmp_path / "out", "esc50", method="knn")
    assert values.mean() == pytest.approx(run.scores["esc50@knn"]["score"], abs=1e-12)
    true = {}
    for method in ("zero-shot", "knn"):
        arrays = read_arrays(tmp_path / "out", f"esc50@{method}")
        of_method, _ = item_scores(tmp_path / "out", "esc50", method=method)
        true[method] = dict(zip(of_method.tolist(), arrays["targets"].tolist(), strict=True))
    assert true["zero-shot"] == true["knn"]
    assert len(ids) == len(true["knn"])


def test_metrics_that_are_no_mean_are_refused(tmp_path: Path) -> None:
    card = cards.task("fsd50k")
    evaluate(RandomEmbedder(), [card], made_up(card, tmp_path / "data", 24), tmp_path / "out", resamples=10)
    with pytest.raises(DataError, match="mAP is no mean over items; choose one of CIDEr-D"):
        item_scores(tmp_path / "out", "fsd50k")
    with pytest.raises(DataError, match="no such file; evaluate the task"):
        item_scores(tmp_path / "out", "esc50")
    evaluate(RandomEmbedder(), [card], DataRoot(tmp_path / "none"), tmp_path / "out2")
    with pytest.raises(DataError, match="no such file"):
        item_scores(tmp_path / "out2", "fsd50k")


def test_an_outcome_is_read_like_a_folder() -> None:
    outcome = Outcome({"margin": np.array([1.0, 0.0, -1.0]), "units": np.array([0, 0, 1])}, ("a.wav", "b.wav"))
    ids, values = item_scores(outcome, metric="pair-accuracy")
    assert ids.tolist() == ["a.wav", "a.wav", "b.wav"]
    assert values.tolist() == [1.0, 0.5, 0.0]


def test_the_t_interval_is_that_of_scipy() -> None:
    values = [0.1, 0.3, 0.25, 0.18]
    expected = scipy_stats.t.interval(0.95, 3, np.mean(values), scipy_stats.sem(values))
    assert t_interval(values) == pytest.approx(expected)
    assert t_interval([0.5]) == (float("-inf"), float("inf"))


def test_the_bootstrap_over_items_draws_clips_with_all_their_items() -> None:
    generator = np.random.default_rng(0)
    per_clip = generator.normal(0.2, 1.0, 400)
    ids = np.repeat([f"{n}.wav" for n in range(400)], 5)
    differences = np.stack([np.repeat(per_clip, 5) + 0.3, np.repeat(per_clip, 5) - 0.3])
    low, high = paired_mean_interval(differences, ids, np.random.default_rng(1), resamples=2000)
    half = 1.96 * per_clip.std() / np.sqrt(400)  # items of one clip are equal, so five of them add nothing
    assert (low, high) == pytest.approx((per_clip.mean() - half, per_clip.mean() + half), abs=0.012)
