from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from aural.nn.sequences import attention_of_texts, interpolated_distance, resampled, warped_distance


def test_resampled_by_hand() -> None:
    """A sequence 0, 2 of length 2 at five places, and the same with padding behind it."""
    sequences = torch.tensor([[[0.0], [2.0], [9.0]], [[0.0], [2.0], [2.0]]])
    points = resampled(sequences, torch.tensor([2, 3]), 5)[..., 0]
    torch.testing.assert_close(points, torch.tensor([[0, 0.5, 1, 1.5, 2], [0, 1, 2, 2, 2]]))
    assert resampled(sequences, torch.tensor([1, 1]), 3).abs().sum() == 0


def brute_force(cost: np.ndarray) -> float:
    """Return the cheapest of all monotonic paths from the first cell to the last one."""
    rows, columns = cost.shape
    steps = ((1, 0), (0, 1), (1, 1))
    best = np.inf
    for length in range(max(rows, columns) - 1, rows + columns - 1):
        for path in itertools.product(steps, repeat=length):
            cells = np.cumsum([(0, 0), *path], axis=0)
            if tuple(cells[-1]) == (rows - 1, columns - 1) and (cells < (rows, columns)).all():
                best = min(best, cost[cells[:, 0], cells[:, 1]].sum())
    return float(best)


def test_warping_finds_the_cheapest_of_all_paths() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(shape, generator=generator) for shape in ((2, 3, 2), (3, 4, 2)))
    lengths = torch.tensor([3, 2]), torch.tensor([4, 3, 1])
    found = warped_distance(first, second, *lengths)
    for a, b in itertools.product(range(2), range(3)):
        cost = torch.cdist(first[a, : lengths[0][a]], second[b, : lengths[1][b]]).numpy()
        assert float(found[a, b]) == pytest.approx(brute_force(cost) / sum(cost.shape), rel=1e-5)


def test_distances_tell_orders_apart_and_means_do_not() -> None:
    events = torch.eye(3)
    forward, backward = events[None], events.flip(0)[None]
    assert float(interpolated_distance(forward, forward)) == 0
    assert float(interpolated_distance(forward, backward)) == pytest.approx(2 / 3 * 2**0.5)
    three = torch.tensor([3])
    assert float(warped_distance(forward, forward, three, three)) == 0
    assert float(warped_distance(forward, backward, three, three)) > 0.3
    torch.testing.assert_close(forward.mean(1), backward.mean(1))


def test_attention_is_the_mean_when_hot_and_the_best_segment_when_cold() -> None:
    segments = torch.nn.functional.normalize(torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)), dim=2)
    texts = torch.eye(4)[:3]
    cosine = torch.einsum("ate,be->abt", segments, texts)
    torch.testing.assert_close(attention_of_texts(segments, texts, 1e6)[0], cosine.mean(2), atol=1e-5, rtol=0)
    cold, attention = attention_of_texts(segments, texts, 1e-4)
    torch.testing.assert_close(cold, cosine.amax(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(attention.argmax(2), cosine.argmax(2))
