from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from aural.objectives import InfoNCE
from aural.objectives.sentences.contrast import energy_hinge, sentence_contrast
from aural.objectives.sentences.negatives import confident, inverse_propensity, noise_negatives, suspicion


def rows(count: int, seed: int, width: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(count, width, generator=generator, dtype=torch.float64), dim=1)


def test_contrast_is_the_query_half_of_info_nce() -> None:
    a, p = rows(5, 0), rows(5, 1)
    given = {"audio_emb": a, "text_emb": p, "logit_scale": torch.tensor(20.0)}
    expected = InfoNCE()(given)["audio_to_text"]
    torch.testing.assert_close(sentence_contrast(a, p, temperature=0.05), expected)


def test_a_hard_negative_equal_to_the_positive_adds_log_two() -> None:
    one = torch.tensor([[1.0, 0.0]])
    assert float(sentence_contrast(one, one)) == 0.0
    assert float(sentence_contrast(one, one, hard=one)) == pytest.approx(math.log(2))
    assert float(sentence_contrast(one, one, hard=one, extra=one)) == pytest.approx(math.log(3))


def test_weight_zero_leaves_a_column_out_and_the_positive_always_counts() -> None:
    a, p = rows(4, 2), rows(4, 3)
    weights = torch.ones(4, 5)
    weights[:, 4] = 0.0
    weights[0, 0] = 0.0  # the positive
    with_extra = sentence_contrast(a, p, extra=rows(1, 4), weights=weights)
    torch.testing.assert_close(with_extra, sentence_contrast(a, p))


def test_gradients_of_contrast_with_all_parts() -> None:
    parts = [rows(3, seed, 4).requires_grad_() for seed in range(4)]
    weights = torch.rand(3, 9, generator=torch.Generator().manual_seed(0)) + 0.1

    def loss(a: torch.Tensor, p: torch.Tensor, hard: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
        return sentence_contrast(a, p, temperature=0.5, hard=hard, extra=extra, weights=weights)

    assert torch.autograd.gradcheck(loss, parts)


def test_hinge_is_zero_beyond_the_margin_and_linear_inside() -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    positive = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    hard = torch.tensor([[0.0, 1.0], [0.8, 0.6]])
    assert float(energy_hinge(a, positive, hard, margin=0.1)) == pytest.approx(0.15)  # (0 + 0.1 + 0.8 - 0.6) / 2


def test_noise_moves_toward_the_sentences_and_takes_no_gradient() -> None:
    target = rows(8, 0).float().requires_grad_()
    options = {"generator": torch.Generator().manual_seed(1)}
    still = noise_negatives(target, 4, steps=0, **options)  # type: ignore[arg-type]
    options = {"generator": torch.Generator().manual_seed(1)}
    moved = noise_negatives(target, 4, steps=20, rate=0.2, **options)  # type: ignore[arg-type]
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(4))
    assert not moved.requires_grad
    crowding = [float((target @ noise.T / 0.05).logsumexp(1).mean().detach()) for noise in (still, moved)]
    assert crowding[1] > crowding[0] + 1.0


def test_suspicion_is_highest_for_a_copy() -> None:
    frozen = torch.cat([rows(4, 0), 3 * rows(4, 0)[:1]])
    value = suspicion(frozen)
    assert int(value[0].argmax()) == 4
    assert bool((value.diagonal() == -1).all())


def test_propensity_prefers_same_meaning_in_other_words_and_bounds_the_weight() -> None:
    surface, semantic = torch.tensor([[0.9, 0.1, 0.0]]), torch.tensor([[0.9, 0.9, 0.0]])
    p = inverse_propensity(surface, semantic)
    torch.testing.assert_close(p, torch.tensor([[0.1, 0.9, 0.0]]))
    torch.testing.assert_close(inverse_propensity(surface, 0 * semantic), torch.full((1, 3), 1 / 3))
    torch.testing.assert_close(inverse_propensity(surface, semantic, power=0.0), torch.tensor([[0.5, 0.5, 0.0]]))


def test_confident_keeps_at_least_one() -> None:
    assert confident(torch.tensor([0.1, 0.3]), 0.0).tolist() == [1]
    assert confident(torch.tensor([0.3, 0.1, 0.2]), 1.0).tolist() == [0, 1, 2]
