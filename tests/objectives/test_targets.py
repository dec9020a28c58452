from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives import TARGETS, InfoNCE, MultiPositive, SoftTargets, SoftTargetsConfig, build_targets
from aural.objectives.targets import (
    false_negative_weights,
    frozen_targets,
    label_targets,
    overlap_targets,
    propensity_weights,
    tree_paths,
    tree_similarity,
    tree_targets,
)


def draw(pairs: int = 4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    audio, text = (torch.randn(pairs, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    return {"audio_emb": audio, "text_emb": text, "logit_scale": torch.tensor(2.0, dtype=torch.float64)}


def test_every_producer_states_its_axes() -> None:
    assert list(TARGETS) == ["false_negatives", "frozen", "label_sets", "labels", "propensity", "tree"]
    assert TARGETS.missing_axes() == {}


def test_label_targets_make_soft_targets_equal_multi_positive() -> None:
    given, label = draw(), torch.tensor([0, 0, 1, 2])
    soft = SoftTargets()(given | {"targets": label_targets(label)})
    multi = MultiPositive()(given | {"audio_group": label, "text_group": label})
    torch.testing.assert_close(soft["loss"], multi["loss"])
    assert torch.equal(label_targets(label, torch.tensor([1, 0])), torch.tensor([[0, 1], [0, 1], [1, 0], [0, 0.0]]))


def test_overlap_by_hand() -> None:
    labels = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]])
    wanted = torch.tensor([[1, 1 / 4, 0], [1 / 4, 1, 0], [0, 0, 0]])
    torch.testing.assert_close(overlap_targets(labels), wanted)


def test_tree_by_hand() -> None:
    """animal > mammal > dog (depth 3) and animal > bird (depth 2) share depth 1: 2 * 1 / 5."""
    similarity = tree_similarity([["animal", "mammal", "dog"], ["animal", "bird"], ["engine"]])
    wanted = torch.tensor([[1, 2 / 5, 0], [2 / 5, 1, 0], [0, 0, 1]])
    torch.testing.assert_close(similarity, wanted)
    picked = tree_targets(torch.tensor([2, 0]), similarity, torch.tensor([1, 0, 0]))
    torch.testing.assert_close(picked, wanted[[2, 0]][:, [1, 0, 0]])
    with pytest.raises(ConfigError, match="path of at least one node"):
        tree_similarity([["a"], []])


def test_tree_paths_follow_parents_to_the_top() -> None:
    paths = tree_paths({"dog": "animal", "cat": "animal", "poodle": "dog"})
    assert paths == {
        "animal": ("animal",),
        "cat": ("animal", "cat"),
        "dog": ("animal", "dog"),
        "poodle": ("animal", "dog", "poodle"),
    }
    with pytest.raises(ConfigError, match='circle through "a"'):
        tree_paths({"a": "b", "b": "a"})


def test_flat_tree_is_labels() -> None:
    label = torch.tensor([0, 2, 2, 1])
    similarity = tree_similarity([["a"], ["b"], ["c"]])
    assert torch.equal(tree_targets(label, similarity), label_targets(label))


def test_frozen_targets_by_hand_and_without_gradient() -> None:
    emb = torch.tensor([[3.0, 0.0], [1.0, 1.0], [-2.0, 0.0]], requires_grad=True)
    targets = frozen_targets(emb)
    half = (1 + 2**-0.5) / 2
    torch.testing.assert_close(targets, torch.tensor([[1, half, 0], [half, 1, 1 - half], [0, 1 - half, 1]]))
    assert not targets.requires_grad


def test_opposite_frozen_embeddings_of_a_pair_reduce_to_info_nce() -> None:
    """Two items that the frozen model finds opposite: targets are the identity."""
    given = draw(2)
    targets = frozen_targets(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    torch.testing.assert_close(SoftTargets()(given | {"targets": targets})["loss"], InfoNCE()(given)["loss"])


def test_propensity_undoes_repetition() -> None:
    """A caption that occurs 3 times in the columns, weighted by 1 / 3, counts as one."""
    logits = torch.tensor([[0.3, -0.2, -0.2, -0.2]], dtype=torch.float64)
    weights = propensity_weights(torch.tensor([1.0, 3, 3, 3]), rows=1).double()
    p = (logits + weights.log()).softmax(1)
    torch.testing.assert_close(p[:, :1], logits[:, :2].softmax(1)[:, :1])
    assert torch.equal(propensity_weights(torch.tensor([1.0, 3.0]), power=0.0), torch.ones(2, 2))
    with pytest.raises(ConfigError, match="must be positive"):
        propensity_weights(torch.tensor([1.0, 0.0]))


def test_a_false_negative_leaves_the_denominator() -> None:
    """Pair 0 and 1 are duplicates: the weighted loss is that of batches without the duplicate."""
    given = draw()
    frozen = torch.tensor([[1.0, 0, 0], [1.0, 0.01, 0], [0, 1.0, 0], [0, 0, 1.0]])
    weights = false_negative_weights(frozen, 0.9)
    objective = SoftTargets(SoftTargetsConfig(negatives="weighted"))
    tensors = given | {"targets": torch.eye(4), "weights": weights}
    found = objective(tensors)["audio_to_text"]
    logits = 2.0 * given["audio_emb"] @ given["text_emb"].T
    rows = [logits[i].masked_fill(weights[i] == 0, -torch.inf).log_softmax(0)[i] for i in range(4)]
    torch.testing.assert_close(found, -torch.stack(rows).mean())
    assert weights[0].tolist() == [1, 0, 1, 1]
    leaf = given["audio_emb"].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: objective(tensors | {"audio_emb": x})["loss"], (leaf,))


def test_equal_weights_change_nothing_and_bad_ones_are_refused() -> None:
    given = draw() | {"targets": torch.eye(4)}
    objective = SoftTargets(SoftTargetsConfig(negatives="weighted"))
    assert objective.needs - SoftTargets().needs == {"weights"}
    torch.testing.assert_close(objective(given | {"weights": torch.ones(4, 4)})["loss"], SoftTargets()(given)["loss"])
    with pytest.raises(ConfigError, match=r"weights \(2, 4\) must be \(4, 4\)"):
        objective(given | {"weights": torch.ones(2, 4)})
    with pytest.raises(ConfigError, match="positive on the diagonal"):
        objective(given | {"weights": 1 - torch.eye(4)})


def test_producers_call_the_functions_and_name_what_they_give() -> None:
    label, emb = torch.tensor([0, 1, 1]), torch.eye(3)
    paths = [["animal", "dog"], ["animal", "cat"]]
    cases: list[tuple[str, dict[str, object], dict[str, Tensor], Tensor]] = [
        ("labels", {}, {"label": label}, label_targets(label)),
        ("label_sets", {}, {"label_sets": emb}, overlap_targets(emb)),
        ("tree", {"paths": paths}, {"label": label}, tree_targets(label, tree_similarity(paths))),
        ("frozen", {}, {"frozen_emb": emb}, frozen_targets(emb)),
        ("propensity", {"power": 0.5}, {"count": label + 1}, propensity_weights(label + 1, power=0.5)),
        ("false_negatives", {"threshold": 0.2}, {"frozen_emb": emb}, false_negative_weights(emb, 0.2)),
    ]
    assert sorted(name for name, *_ in cases) == list(TARGETS)
    for name, options, given, wanted in cases:
        producer = build_targets(name, options)
        assert producer.needs == set(given)
        assert producer.gives == TARGETS.axes_of(name)["gives"]
        assert torch.equal(producer(given), wanted)
    with pytest.raises(ConfigError, match="LabelTargets needs label, which is not given"):
        build_targets("labels")({})
    with pytest.raises(ConfigError, match='target producer "tree": key "paths" is missing'):
        build_targets("tree")
