"""Sentences in their order: neighbors, distance in a dialogue, mixtures of earlier turns, and pair features."""

from __future__ import annotations

import torch
from torch import Tensor

from aural.objectives.multi_positive import positive_loss


def neighbor_contrast(first: Tensor, second: Tensor, document: Tensor, place: Tensor) -> Tensor:
    """Return the cross entropy of finding the neighbors of each sentence among all sentences of the batch, ().

    Formula, with s_ij = <f_i, g_j>, j != i, and N(i) the sentences of the same document one place before or after:
        loss = -mean_i 1/|N(i)| sum_{j in N(i)} log softmax_j(s_i.)[j]
    The mean is over sentences that have a neighbor in the batch; 0 if none has one.

    Args:
        first, second: rows (B, E) of two encoders, of any length; inner products are the logits.
        document, place: (B,) integers, the document of a sentence and its place in it.

    Source: Logeswaran and Lee 2018, Quick-Thoughts (arXiv 1803.02893), equation 2 and section 3 (context size 1 on
    both sides).

    >>> rows = torch.zeros(3, 2)
    >>> order = torch.arange(3)
    >>> round(float(neighbor_contrast(rows, rows, torch.zeros(3, dtype=torch.long), order)), 4)  # log 2: two candidates
    0.6931
    """
    same = torch.eye(len(first), dtype=torch.bool, device=first.device)
    near = (place[:, None] - place[None]).abs() == 1
    positive = near & (document[:, None] == document[None])
    return positive_loss((first @ second.T).masked_fill(same, -torch.inf), positive, "mean")


def curved_targets(distance: Tensor, window: int) -> Tensor:
    """Return the target similarity of an utterance to another one that follows `distance` turns later.

    Formula: 1 - (d - 1) / window for 1 <= d <= window, else 0: the next turn has 1, and turns that come before (d < 1)
    or much later have 0. The similarity is directed: a curved space, in which time runs forward.

    Source: Erker et al. 2022, Imagination Is All You Need (arXiv 2211.07591), section 3.1 (curved contrastive
    learning).

    >>> curved_targets(torch.tensor([-1, 1, 2, 4, 5]), window=4)
    tensor([0.0000, 1.0000, 0.7500, 0.2500, 0.0000])
    """
    target = 1 - (distance - 1) / window
    return target.where((distance >= 1) & (distance <= window), torch.zeros_like(target))


def mixture_scores(before: Tensor, last: Tensor, candidates: Tensor) -> Tensor:
    """Return the scores (N,) of candidates (N, E) as the next turn, from vectors of T earlier turns encoded one by one.

    Formula, with b_i = before_i and l_j = last_j: mean over pairs i < j of <(b_i + l_j) / |b_i + l_j|, candidate>. No
    weights are learned for the mixture, and no turn is encoded again when a new one arrives.

    Args:
        before, last: unit rows (T, E), T >= 2: each turn encoded as the earlier and as the later of two turns.
        candidates: unit rows (N, E).

    Source: Erker et al. 2024, Triple-Encoders (arXiv 2402.12332), equations 2 and 3.

    >>> turns = torch.eye(3)[:2]
    >>> round(float(mixture_scores(turns, turns, torch.eye(3)[:1])), 4)  # 1 / sqrt(2)
    0.7071
    """
    i, j = torch.triu_indices(len(before), len(before), offset=1, device=before.device)
    mixed = mixtures(before[i], last[j])
    return (mixed @ candidates.T).mean(0)


def mixtures(before: Tensor, last: Tensor) -> Tensor:
    """Return the unit sum (B, E) of corresponding rows of `before` and `last` (B, E).

    Source: Erker et al. 2024, Triple-Encoders (arXiv 2402.12332), section 3.2: two turns that occur together are
    averaged, and their mean is trained to fire for the turn that follows (Hebbian co-occurrence learning).
    """
    return torch.nn.functional.normalize(before + last, dim=-1)


def pair_features(first: Tensor, second: Tensor) -> Tensor:
    """Return (B, 4 E): two vectors, their absolute difference, and their product, as the input of a classifier.

    Source: Conneau et al. 2017, InferSent (arXiv 1705.02364), section 3.1 (entailment); Chen et al. 2019, DiscoEval
    (arXiv 1909.00142), section 3 (order and coherence).

    >>> pair_features(torch.tensor([[1.0]]), torch.tensor([[3.0]]))
    tensor([[1., 3., 2., 3.]])
    """
    return torch.cat([first, second, (first - second).abs(), first * second], -1)
