"""Analogies as parallel lines: word vectors from a contrastive loss over co-occurrence counts.

Claim: a contrastive loss over co-occurrence counts is enough for the difference vectors of a relation (form b to form
b') to be parallel across bases, so that analogies are solved by vector addition; skip-gram's binary loss is not needed.
Paper: Ri, Lee and Verma 2023 (arXiv 2306.08221). Arms and control were
fixed before the first run. Checks and sizes were fixed after runs with seeds 100 and 101, before the card's seeds ran.

World (synthetic): a grid of words, A bases x F forms ("king", "queen"; "man", "woman" ...). Word (a, f) occurs with
context c with probability proportional to exp(u_a . v_c + r_f . v_c) with Gaussian u, r, v: the statistics hold the
relation, the counts are samples of it. A relation is an ordered pair of forms.

Arms:
    contrastive  `soft_targets` with the counts as targets: cross entropy between counts and softmax over the batch, by
                 rows and by columns
    binary       skip-gram with negative sampling in expectation (one yes-or-no decision per word and context)
    shuffled     control: the vectors of "contrastive", with the forms of each base permuted. The statistics and the
                 vectors are the same; only the labels of the grid are wrong, so parallelism is at chance.
    untrained    control: initial vectors

Tasks, one item per relation and pair of bases (a, a'):
    offset-cosine     cosine of the offsets w[a, f'] - w[a, f] and w[a', f'] - w[a', f]
    analogy           1 if the word nearest to w[a, f'] - w[a, f] + w[a', f] by cosine, without these three, is (a', f')
    recovered-ratio   one item per relation and base: correlation over contexts of (w[a, f'] - w[a, f]) . c with the
                      true log ratio log P(c | a, f') / P(c | a, f). The paper's link between counts and geometry.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from aural.objectives import SoftTargets
from aural.reproduce.study import Scores, StudyContext

Array: TypeAlias = NDArray[np.float64]
Loss: TypeAlias = Literal["contrastive", "binary"]


@dataclass(frozen=True)
class Grid:
    """Sizes of the world and of the training."""

    bases: int = 24
    forms: int = 4
    latent: int = 8
    """Dimensions of u, r and v: the rank of the true log probabilities, up to a constant per word."""
    tokens: int = 4000
    """Co-occurrences that are counted per word."""
    dims: int = 8
    """Dimensions of the trained vectors. With more than `latent`, the extra ones hold sampling noise of the counts and
    the offsets are less parallel (0.75 instead of 0.96 with 16, seed 100)."""
    steps: int = 400

    @property
    def words(self) -> int:
        """Number of words, and of contexts."""
        return self.bases * self.forms


def run(context: StudyContext, **options: Any) -> Scores:
    """Return arm -> task -> scores; `options` are fields of `Grid`."""
    grid = Grid(**options)
    if context.smoke:
        grid = Grid(bases=6, forms=3, tokens=500, steps=20)
    rng = np.random.default_rng(context.seed)
    log_p = make_log_probabilities(grid, rng)
    counts = np.stack([rng.multinomial(grid.tokens, np.exp(row)) for row in log_p]).astype(np.float64)
    scores: dict[str, dict[str, Array]] = {}
    arms: dict[str, tuple[Loss, int]] = {
        "untrained": ("contrastive", 0),
        "contrastive": ("contrastive", grid.steps),
        "binary": ("binary", grid.steps),
    }
    for arm, (loss, steps) in arms.items():
        words, contexts = train(torch.from_numpy(counts), grid, loss, steps, context.seed)
        scores[arm] = evaluate(words, contexts, log_p, grid)
        if arm == "contrastive":
            permuted = shuffle_forms(grid, rng)
            scores["shuffled"] = evaluate(words[permuted], contexts, log_p, grid)
    return scores


def make_log_probabilities(grid: Grid, rng: np.random.Generator) -> Array:
    """Return (W, W): log P(context | word), with words numbered base * forms + form."""
    base = rng.standard_normal((grid.bases, 1, grid.latent))
    form = rng.standard_normal((1, grid.forms, grid.latent))
    context = rng.standard_normal((grid.words, grid.latent)) / np.sqrt(grid.latent)
    logits = (base + form).reshape(grid.words, -1) @ context.T
    log_p: Array = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return log_p


def shuffle_forms(grid: Grid, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return (W,): word numbers with the forms of each base permuted, each base by its own permutation."""
    return np.concatenate([base * grid.forms + rng.permutation(grid.forms) for base in range(grid.bases)])


def train(counts: Tensor, grid: Grid, loss: Loss, steps: int, seed: int) -> tuple[Array, Array]:
    """Return the vectors (W, E) of words and of contexts after `steps` steps of Adam on the full table of counts."""
    torch.manual_seed(seed)
    words, contexts = (torch.nn.Parameter(0.01 * torch.randn(grid.words, grid.dims)) for _ in range(2))
    bias = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.Adam([words, contexts, bias], lr=0.05)
    objective = SoftTargets()
    counts = counts.float()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        optimizer.zero_grad()
        if loss == "contrastive":
            given = {"audio_emb": words, "text_emb": contexts, "logit_scale": torch.ones(()), "targets": counts}
            value = objective(given)["loss"]
        else:
            value = skip_gram_loss(words @ contexts.T + bias, counts)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return words.detach().double().numpy(), contexts.detach().double().numpy()


def skip_gram_loss(logits: Tensor, counts: Tensor) -> Tensor:
    """Return the expectation of the skip-gram loss with one negative per co-occurrence.

    Formula, with p the joint distribution of the counts and p_i, p_j its margins:
    -sum_ij (p_ij log sigmoid(l_ij) + p_i p_j log sigmoid(-l_ij)). Its minimum is l_ij = log p_ij / (p_i p_j).
    Source: Levy and Goldberg 2014, section 3.1.
    """
    joint = counts / counts.sum()
    product = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return -(joint * logsigmoid(logits) + product * logsigmoid(-logits)).sum()


def evaluate(words: Array, contexts: Array, log_p: Array, grid: Grid) -> dict[str, Array]:
    """Return the scores per item of the three tasks; see the top of this module."""
    table = words.reshape(grid.bases, grid.forms, -1)
    truth = log_p.reshape(grid.bases, grid.forms, -1)
    unit = words / np.linalg.norm(words, axis=1, keepdims=True)
    cosines, solved, ratios = [], [], []
    for first, second in itertools.permutations(range(grid.forms), 2):
        offsets = table[:, second] - table[:, first]  # (A, E)
        lengths = np.linalg.norm(offsets, axis=1)
        left, right = np.triu_indices(grid.bases, k=1)
        cosines.append((offsets[left] * offsets[right]).sum(1) / (lengths[left] * lengths[right]))
        queries = offsets[left] + table[right, first]  # (pairs, E)
        similarity = queries @ unit.T
        for given in ((left, first), (left, second), (right, first)):
            similarity[np.arange(len(left)), given[0] * grid.forms + given[1]] = -np.inf
        solved.append(similarity.argmax(1) == right * grid.forms + second)
        ratios.append(_row_correlation(offsets @ contexts.T, truth[:, second] - truth[:, first]))
    return {
        "offset-cosine": np.concatenate(cosines),
        "analogy": np.concatenate(solved).astype(np.float64),
        "recovered-ratio": np.concatenate(ratios),
    }


def _row_correlation(left: Array, right: Array) -> Array:
    """Return Pearson's correlation of each row of `left` with the same row of `right`."""
    left = left - left.mean(1, keepdims=True)
    right = right - right.mean(1, keepdims=True)
    return (left * right).sum(1) / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))
