from __future__ import annotations

import itertools
import math

import pytest
import torch

from aural.objectives.sentences.ranks import graded_cosine, list_mle, list_net


def test_graded_cosine_by_hand() -> None:
    first, second = torch.eye(2), torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    assert float(graded_cosine(first, second, torch.tensor([1.0, 0.0]))) == pytest.approx((0.16 + 1.0) / 2)


def test_list_net_is_least_at_the_gold_scores() -> None:
    gold = torch.tensor([[1.0, 0.7, 0.2, 0.0]])
    best = list_net(gold, gold)
    target = (gold / 0.05).softmax(1)
    torch.testing.assert_close(best, -(target * target.log()).sum())
    assert list_net(gold.flip(1), gold) > best


def test_list_mle_is_a_distribution_over_orders() -> None:
    scores = torch.tensor([[0.3, -0.1, 0.2]])
    orders = [torch.tensor([order], dtype=torch.float32) for order in itertools.permutations((0.0, 1.0, 2.0))]
    total = sum(math.exp(-float(list_mle(scores, gold, temperature=0.5))) for gold in orders)
    assert total == pytest.approx(1.0, abs=1e-5)


def test_gradients() -> None:
    scores = torch.tensor([[0.3, -0.1, 0.2], [0.1, 0.2, 0.0]], dtype=torch.float64, requires_grad=True)
    gold = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]], dtype=torch.float64)
    for loss in (list_net, list_mle):
        assert torch.autograd.gradcheck(lambda s, loss=loss: loss(s, gold, temperature=0.5), scores)
