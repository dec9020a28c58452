"""Losses of self-supervised encoders: closed forms, brute force, transformers."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from aural.objectives.predictive.aligned import aligned_loss, best_alignment
from aural.objectives.predictive.decorrelate import decorrelation_loss, effective_rank
from aural.objectives.predictive.masked_contrast import masked_contrast
from aural.objectives.predictive.masked_tokens import token_loss
from aural.objectives.predictive.next_step import next_step_loss
from aural.objectives.predictive.self_distill import self_distillation


def test_next_step_by_hand() -> None:
    predicted, targets = torch.randn(1, 3, 1, 2), torch.randn(1, 3, 2)
    loss, _ = next_step_loss(predicted, targets)
    terms = []
    for t in (0, 1):
        scores = targets[0] @ predicted[0, t, 0]
        terms.append(-math.log(math.exp(scores[t + 1]) / sum(math.exp(s) for s in scores)))
    assert loss.item() == pytest.approx(sum(terms) / 2, rel=1e-5)


def test_next_step_is_solved_by_the_true_frames() -> None:
    targets = normalize(torch.randn(2, 12, 16), dim=-1)
    ahead = torch.stack([targets.roll(-k, 1) for k in (1, 2)], 2)
    loss, accuracy = next_step_loss(50 * ahead, targets)
    assert loss.max() < 0.01
    assert accuracy == 1.0


def test_the_best_alignment_is_that_of_all_paths() -> None:
    torch.manual_seed(0)
    scores = torch.randn(6, 3)
    sums = []
    for stops in itertools.combinations(range(1, 6), 2):  # frames where the second and the third prediction begin
        path = [sum(frame >= stop for stop in stops) for frame in range(6)]
        sums.append(sum(float(scores[frame, path[frame]]) for frame in range(6)))
    assert best_alignment(scores).item() == pytest.approx(max(sums), rel=1e-5)


def test_one_prediction_per_frame_is_cpc_without_freedom() -> None:
    """With as many predictions as frames there is one path, so the loss is that of next steps."""
    torch.manual_seed(0)
    predicted, targets = torch.randn(2, 9, 3, 4), torch.randn(2, 9, 4)
    aligned = aligned_loss(predicted, targets, 3)
    logs = torch.einsum("btpe,bse->btps", predicted, targets).log_softmax(-1)
    plain = -torch.stack([logs[:, t, k, t + k + 1] for t in range(6) for k in range(3)]).mean(0)
    assert torch.allclose(aligned, plain, atol=1e-5)


def test_masked_contrast_equals_transformers() -> None:
    """Theirs draws negatives; given all other masked frames as negatives, both are equal."""
    from transformers import Wav2Vec2ForPreTraining

    torch.manual_seed(0)
    predicted, targets = torch.randn(1, 6, 8), torch.randn(1, 6, 8)
    negatives = torch.stack([torch.stack([targets[0, s] for s in range(6) if s != t]) for t in range(6)], 1)[:, None]
    logits = Wav2Vec2ForPreTraining.compute_contrastive_logits(targets[None], negatives, predicted, 0.1)
    expected = -logits[:, 0].log_softmax(0)[0].mean()
    loss, _ = masked_contrast(predicted, targets, torch.ones(1, 6, dtype=torch.bool))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_unmasked_frames_are_neither_questions_nor_distractors() -> None:
    torch.manual_seed(0)
    predicted, targets = torch.randn(1, 5, 4), torch.randn(1, 5, 4)
    mask = torch.tensor([[True, True, True, False, False]])
    loss, _ = masked_contrast(predicted, targets, mask)
    alone, _ = masked_contrast(predicted[:, :3], targets[:, :3], mask[:, :3])
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)


def test_tokens_count_where_they_are_asked() -> None:
    logits = torch.zeros(1, 3, 2, 4)
    logits[0, 0, :, 1] = 20.0
    ids = torch.ones(1, 3, 2, dtype=torch.long)
    loss, accuracy = token_loss(logits, ids, torch.tensor([[True, False, False]]))
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert accuracy == 1.0
    loss, _ = token_loss(logits, ids, torch.tensor([[False, True, True]]))
    assert loss.item() == pytest.approx(math.log(4))


def test_decorrelation_and_rank() -> None:
    torch.manual_seed(0)
    rows = torch.randn(4000, 6)
    assert decorrelation_loss(rows) < 0.002
    assert decorrelation_loss(rows[:, :1].repeat(1, 6)).item() == pytest.approx(1.0, abs=1e-3)
    assert effective_rank(rows).item() == pytest.approx(6.0, abs=0.01)
    assert effective_rank(torch.randn(100, 2) @ torch.randn(2, 6)) < 2.01


def test_self_distillation_is_a_cross_entropy() -> None:
    student, teacher, center = torch.randn(3, 5), torch.randn(3, 5), torch.randn(5)
    target = ((teacher - center) / 0.05).softmax(-1)
    expected = -(target * (student / 0.1).log_softmax(-1)).sum(-1)
    assert torch.allclose(self_distillation(student, teacher, center), expected, atol=1e-5)
    teacher.requires_grad_()
    student.requires_grad_()
    self_distillation(student, teacher, center).sum().backward()
    assert teacher.grad is None


def test_few_paths_are_found_as_many_are(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 7, 8, 4, requires_grad=True)
    with torch.inference_mode():  # a cached tensor must not be bound to it
        best_alignment(scores)
    at_once = best_alignment(scores)
    (expected,) = torch.autograd.grad(at_once.sum(), scores)
    monkeypatch.setattr("aural.objectives.predictive.aligned.MOST_PATHS", 0)
    by_frame = best_alignment(scores)
    (gradient,) = torch.autograd.grad(by_frame.sum(), scores)
    assert torch.allclose(at_once, by_frame, atol=1e-5)
    assert torch.equal(gradient, expected)


def test_next_step_is_the_mean_of_cross_entropies_per_step() -> None:
    torch.manual_seed(0)
    predicted, targets = torch.randn(2, 9, 3, 4), torch.randn(2, 9, 4)
    scores = torch.einsum("btke,bse->bkts", predicted, targets)
    parts = [
        torch.stack([cross_entropy(row[: 9 - k], torch.arange(k, 9)) for row in scores[:, k - 1]]) for k in (1, 2, 3)
    ]
    loss, _ = next_step_loss(predicted, targets)
    assert torch.allclose(loss, torch.stack(parts).mean(0), atol=1e-5)
