from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from aural.objectives.sentences.context import (
    curved_targets,
    mixture_scores,
    mixtures,
    neighbor_contrast,
    pair_features,
)


def test_neighbors_of_the_same_document_only() -> None:
    """Rows 0, 1 are a document, row 2 another one: only 0 and 1 have a neighbor."""
    first = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    second = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    loss = neighbor_contrast(first, second, torch.tensor([4, 4, 5]), torch.tensor([0, 1, 2]))
    of_first = -math.log(math.exp(2) / (math.exp(2) + 1))  # candidates 1 and 2: inner products 2 and 0
    of_second = -math.log(1 / (1 + math.exp(3)))  # candidates 0 and 2: 0 and 3
    assert float(loss) == pytest.approx((of_first + of_second) / 2)


def test_no_neighbor_no_loss() -> None:
    rows = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert float(neighbor_contrast(rows, rows, torch.tensor([0, 1]), torch.tensor([0, 1]))) == 0.0


def test_time_runs_forward() -> None:
    assert curved_targets(torch.tensor([-3, 0, 1, 3, 6]), 5).tolist() == pytest.approx([0, 0, 1, 0.6, 0])


def test_mixture_scores_by_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    before, last, candidates = (
        normalize(torch.randn(n, 5, generator=generator, dtype=torch.float64), dim=1) for n in (4, 4, 3)
    )
    expected = torch.zeros(3, dtype=torch.float64)
    for i in range(4):
        for j in range(i + 1, 4):
            mixed = before[i] + last[j]
            expected += candidates @ (mixed / mixed.norm()) / 6
    torch.testing.assert_close(mixture_scores(before, last, candidates), expected)
    torch.testing.assert_close(mixtures(before, last).norm(dim=1), torch.ones(4, dtype=torch.float64))


def test_pair_features_of_equal_rows() -> None:
    rows = torch.tensor([[1.0, 2.0]])
    assert pair_features(rows, rows).tolist() == [[1, 2, 1, 2, 0, 0, 1, 4]]
