"""Test scores of stored predictions against laion-clap's retrieval code, trec_eval and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import RandomEmbedder, made_up
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aural.evaluate import cards
from aural.evaluate.examples import examples
from aural.evaluate.metrics import METRICS
from aural.evaluate.metrics.ranking import retrieval_arrays
from aural.evaluate.run import evaluate

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "retrieval.npz")  # made by make_retrieval.py beside it
LAION = dict(zip(GOLDEN["names"].tolist(), GOLDEN["values"].tolist(), strict=True))
OWNER = np.repeat(np.arange(len(GOLDEN["audio"])), 5)


def both_ways() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    cosines = GOLDEN["text"] @ GOLDEN["audio"].T
    right = OWNER[:, None] == np.arange(len(GOLDEN["audio"]))
    return {"text_to_audio": (cosines, right), "audio_to_text": (cosines.T, right.T)}


@pytest.mark.parametrize("way", ["text_to_audio", "audio_to_text"])
def test_recall_at_k_of_laion_clap(way: str) -> None:
    arrays = retrieval_arrays(*both_ways()[way])
    for k in (1, 5, 10):
        assert METRICS[f"R@{k}"](arrays, None) == pytest.approx(LAION[f"{way}_R@{k}"])


def test_one_right_answer_of_laion_clap() -> None:
    arrays = retrieval_arrays(*both_ways()["text_to_audio"])
    assert METRICS["mAP@10"](arrays, None) == pytest.approx(LAION["text_to_audio_mAP@10"])
    assert METRICS["mAP@10/all"](arrays, None) == pytest.approx(LAION["text_to_audio_mAP@10"])
    assert arrays["first"].mean() == pytest.approx(LAION["text_to_audio_mean_rank"])
    assert METRICS["median-rank"](arrays, None) == LAION["text_to_audio_median_rank"]


def test_several_right_answers_are_not_what_laion_clap_prints() -> None:
    """laion-clap pairs 1, 2, 3 ... with unsorted ranks, so its value is above the one its comment defines."""
    scores, right = both_ways()["audio_to_text"]
    arrays = retrieval_arrays(scores, right)
    printed = []
    for row, mine in zip(scores, right, strict=True):
        rank = np.argsort(np.argsort(-row))[mine]
        within = rank[rank < 10]
        printed.append(np.sum(np.arange(1, len(within) + 1) / (within + 1)) / 5)
    assert np.mean(printed) == pytest.approx(LAION["audio_to_text_mAP@10"])
    assert METRICS["mAP@10/all"](arrays, None) < LAION["audio_to_text_mAP@10"]


@pytest.mark.parametrize("way", ["text_to_audio", "audio_to_text"])
def test_trec_eval(way: str) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    scores, right = both_ways()[way]
    truth = {str(q): {str(d): 1 for d in np.flatnonzero(row)} for q, row in enumerate(right)}
    ranked = {str(q): {str(d): float(value) for d, value in enumerate(row)} for q, row in enumerate(scores)}
    names = {"success_1,5,10", "recall_1,5,10", "map_cut_10", "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(truth, names).evaluate(ranked).values()
    arrays = retrieval_arrays(scores, right)
    pairs = {"mAP@10/all": "map_cut_10", "MRR": "recip_rank"}
    pairs |= {f"R@{k}": f"success_{k}" for k in (1, 5, 10)} | {f"recall@{k}": f"recall_{k}" for k in (1, 5, 10)}
    for ours, theirs in pairs.items():
        assert METRICS[ours](arrays, None) == pytest.approx(np.mean([one[theirs] for one in found]))


class Blurred(RandomEmbedder):
    """An embedder of class vectors with noise, so that a probe is sometimes correct."""

    def __init__(self, label_of: dict[str, int]) -> None:
        super().__init__()
        self.label_of, self.revision = label_of, "blurred"

    def embed_audio(self, clips: list[Path]) -> np.ndarray:
        rows = [self._vector(f"class {self.label_of[Path(c).name]}") + 2.5 * self._vector(Path(c).name) for c in clips]
        return np.stack(rows).astype(np.float32)


def test_five_folds_of_esc50(tmp_path: Path) -> None:
    card = cards.task("esc50")
    root = made_up(card, tmp_path / "data", 400)
    found = examples(card, root)
    embedder = Blurred({Path(row.path).name: int(k) for row, k in zip(found.rows, found.single, strict=True)})
    run = evaluate(embedder, [card], root, tmp_path / "out", methods=["zero-shot", "linear-probe"], resamples=10)
    vectors = embedder.embed_audio([Path(row.path) for row in found.rows])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    folds = np.array(found.folds)
    split = PredefinedSplit(folds.astype(int))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, random_state=0))
    expected = dict(zip("12345", cross_val_score(probe, vectors, found.single, cv=split), strict=True))
    record = run.scores["esc50@linear-probe"]
    assert 0.1 < record["score"] < 0.9
    assert record["folds"] == pytest.approx(expected)
    stored = np.load(tmp_path / "out" / "arrays" / "esc50@linear-probe.npz")
    predicted = cross_val_predict(probe, vectors, found.single, cv=split)
    assert record["score"] == pytest.approx(accuracy_score(found.single, predicted))
    assert sorted(zip(stored["folds"], stored["targets"], stored["predicted"], strict=True)) == sorted(
        zip(folds, found.single, predicted, strict=True)
    )
    shot = np.load(tmp_path / "out" / "arrays" / "esc50@zero-shot.npz")
    for fold, score in run.scores["esc50@zero-shot"]["folds"].items():
        of = shot["folds"] == fold
        assert score == pytest.approx(accuracy_score(shot["targets"][of], shot["predicted"][of]))


@pytest.mark.parametrize("name", ["fsd50k", "audioset", "nsynth-qualities"])
def test_multi_label_scores_of_a_stored_run(name: str, tmp_path: Path) -> None:
    card = cards.task(name)
    run = evaluate(RandomEmbedder(), [card], made_up(card, tmp_path / "data", 80), tmp_path / "out", resamples=10)
    stored = np.load(tmp_path / "out" / "arrays" / f"{name}@zero-shot.npz")
    targets, scores = stored["targets"], stored["scores"]
    known = (targets.max(axis=0) == 1) & (targets.min(axis=0) == 0)
    expected = average_precision_score(targets[:, known], scores[:, known], average="macro")
    assert run.scores[f"{name}@zero-shot"]["scores"]["mAP"] == pytest.approx(expected)
    expected = roc_auc_score(targets[:, known], scores[:, known], average="macro")
    assert run.scores[f"{name}@zero-shot"]["scores"]["AUROC"] == pytest.approx(expected)
