from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from aural.objectives.sentences.views import attention_information, cross_view, layers_distance, self_guided


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def test_self_guidance_by_the_loops_of_its_formula() -> None:
    c, h = rows(3, 5), rows(3, 2, 5, seed=1)
    total = 0.0
    for i in range(3):
        for k in range(2):
            e = torch.exp(torch.einsum("e,mke->mk", c[i], h) / 0.1)
            others = sum(float(e[m].sum()) for m in range(3) if m != i)
            total -= math.log(float(e[i, k]) / (float(e[i, k]) + others))
    assert float(self_guided(c, h)) == pytest.approx(total / 6)


def test_cross_view_is_the_cross_entropy_over_the_queue_and_spares_the_target() -> None:
    first, second, queue = rows(4, 5).requires_grad_(), rows(4, 5, seed=1), rows(7, 5, seed=2)
    loss = cross_view(first, second, queue)
    targets = [(x.detach() @ queue.T / 0.05).softmax(1) for x in (second, first)]
    expected = sum(
        cross_entropy(x @ queue.T / 0.1, t) for x, t in zip((first, second), targets, strict=True)
    ) / 2  # fmt: skip
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, first)
    (of_one,) = torch.autograd.grad(cross_entropy(first @ queue.T / 0.1, targets[0]) / 2, first)
    torch.testing.assert_close(gradient, of_one)


def test_information_of_attention_by_hand_and_for_equal_and_unrelated_maps() -> None:
    mask = torch.tensor([[1, 1, 0]])
    logs = torch.tensor([1.0, -1.0, 1.0, -1.0])
    other = torch.tensor([1.0, 1.0, -1.0, -1.0])

    def padded(values: torch.Tensor) -> torch.Tensor:
        map_ = torch.full((1, 1, 3, 3), 0.5)  # what stands in the padding must not count
        map_[0, 0, :2, :2] = values.view(2, 2).exp() / 10
        return map_

    assert float(attention_information(padded(logs), padded(other), mask)) == pytest.approx(0.0, abs=1e-6)
    equal = attention_information(padded(logs), padded(logs), mask, ceiling=0.9)
    assert float(equal) == pytest.approx(0.5 * math.log(1 - 0.81), abs=1e-5)
    mixed = attention_information(padded(logs), padded(logs + other), mask)  # correlation 1 / sqrt(2)
    assert float(mixed) == pytest.approx(0.5 * math.log(0.5), abs=1e-5)


def test_layers_distance_ignores_scale_and_spares_the_teacher() -> None:
    student, teacher = rows(4, 6).requires_grad_(), rows(4, 6).requires_grad_()
    assert float(layers_distance([student], [3 * teacher + 1]).detach()) == pytest.approx(0.0, abs=1e-3)
    layers_distance([student], [rows(4, 6, seed=3)]).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_gradients() -> None:
    c, h = rows(2, 3).requires_grad_(), rows(2, 2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda c, h: self_guided(c, h, temperature=0.5), (c, h))
    maps = [rows(1, 2, 3, 3, seed=s).square().requires_grad_() for s in (2, 3)]
    mask = torch.ones(1, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, y: attention_information(x, y, mask), maps)
