"""Test every task card on a synthetic data set: a random embedder scores chance, an oracle 100%."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import Oracle, RandomEmbedder, RandomWriter, made_up

from aural.evaluate import cards
from aural.evaluate.metrics import METRICS
from aural.evaluate.run import evaluate
from aural.evaluate.stats import interval

OF_SCENES = {"temporal", "scene-questions"}  # need the truth of scenes: test_temporal.py, test_questions.py
NAMES = [name for name in cards.names() if cards.task(name).kind not in OF_SCENES]
WRITTEN = [name for name in NAMES if cards.task(name).kind == "captioning"]
TEXTS = {"similarity", "text-retrieval", "text-probe"}  # their texts come from the text world, which no oracle knows
SCORED = [name for name in NAMES if name not in WRITTEN and cards.task(name).kind not in TEXTS]


@pytest.mark.parametrize("name", NAMES)
def test_random_vectors_land_on_chance(name: str, tmp_path: Path) -> None:
    card = cards.task(name)
    root = made_up(card, tmp_path / "data", 120)
    model = RandomWriter(card, root) if name in WRITTEN else RandomEmbedder()
    run = evaluate(model, [card], root, tmp_path / "out", resamples=20)
    assert not run.missing
    record = run.scores[f"{name}@zero-shot"]
    arrays = dict(np.load(tmp_path / "out" / "arrays" / f"{name}@zero-shot.npz"))
    low, high = interval(METRICS[record["metric"]], arrays, np.random.default_rng(1), resamples=200)
    low, high = low - (high - low) / 2, high + (high - low) / 2  # four standard errors: there are fifty tasks
    assert low - 1e-9 <= record["chance"] <= high + 1e-9, (record["score"], (low, high), record["chance"])


@pytest.mark.parametrize("name", SCORED)
def test_an_oracle_scores_everything(name: str, tmp_path: Path) -> None:
    card = cards.task(name)
    root = made_up(card, tmp_path / "data", 30)
    run = evaluate(Oracle(card, root), [card], root, tmp_path / "out", resamples=20)
    assert not run.missing
    record = run.scores[f"{name}@zero-shot"]
    assert record["score"] == pytest.approx(1.0)
    assert record["interval"][0] < 1.0
    assert record["interval"][1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", WRITTEN)
def test_an_oracle_writes_reference_captions(name: str, tmp_path: Path) -> None:
    card = cards.task(name)
    root = made_up(card, tmp_path / "data", 30)
    record = evaluate(Oracle(card, root), [card], root, tmp_path / "out", resamples=20).scores[f"{name}@zero-shot"]
    for metric in ("ROUGE-L", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"):
        assert record["scores"][metric] == pytest.approx(1.0)
    # 10 only if all references of a clip were one: each equals itself and shares words with the four others
    assert 10 / 5 < record["scores"]["CIDEr-D"] < 10
    assert record["scores"]["CIDEr-D"] > 2 * record["chance"]
