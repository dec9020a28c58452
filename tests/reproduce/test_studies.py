"""Studies on small sizes: parts with known answers, and controls at chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aural.objectives import divergence_bound
from aural.reproduce.studies import analogies, sufficiency, taxonomy
from aural.reproduce.study import StudyContext


def context(folder: Path) -> StudyContext:
    return StudyContext(seed=0, smoke=True, device="cpu", data=None, out=folder)


def test_true_log_probabilities_solve_analogies_and_shuffled_forms_do_not() -> None:
    """Offsets of log probabilities are equal up to a constant, which context vectors with mean 0 remove."""
    grid = analogies.Grid(bases=8, forms=3, latent=4)
    rng = np.random.default_rng(0)
    log_p = analogies.make_log_probabilities(grid, rng)
    assert np.exp(log_p).sum(axis=1) == pytest.approx(1)
    centered = log_p - log_p.mean(axis=1, keepdims=True)
    identity = np.eye(grid.words)
    scores = analogies.evaluate(centered, identity, log_p, grid)
    assert {name: values.min() for name, values in scores.items()} == pytest.approx(
        {"offset-cosine": 1, "analogy": 1, "recovered-ratio": 1}
    )
    items = 3 * 2 * 8 * 7 // 2
    assert {name: len(values) for name, values in scores.items()} == {
        "offset-cosine": items, "analogy": items, "recovered-ratio": 3 * 2 * 8,
    }  # fmt: skip
    shuffled = analogies.evaluate(centered[analogies.shuffle_forms(grid, rng)], identity, log_p, grid)
    assert shuffled["offset-cosine"].mean() < 0.5


def test_skip_gram_is_minimal_at_the_pointwise_mutual_information() -> None:
    counts = torch.tensor([[6.0, 1.0], [2.0, 4.0]], dtype=torch.float64)
    joint = counts / counts.sum()
    best = (joint / (joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True))).log().requires_grad_()
    analogies.skip_gram_loss(best, counts).backward()  # type: ignore[no-untyped-call]
    assert best.grad is not None
    assert best.grad.abs().max() < 1e-12


@pytest.mark.parametrize("name", sorted(sufficiency.EXAMPLES))
def test_the_true_ratio_beats_others_and_the_sufficient_statistic_has_no_excess_risk(name: str) -> None:
    sizes = sufficiency.Sizes(held_out=4000)
    example = sufficiency.EXAMPLES[name](sizes, np.random.default_rng(0))
    torch.manual_seed(0)
    critic = example.critic()
    generator = torch.Generator().manual_seed(0)
    for divergence in ("kl", "chi2"):
        loss, risk = sufficiency.measure(example, critic, sizes, divergence, generator)  # type: ignore[arg-type]
        assert loss > 0.05
        assert risk > 0.05

    def encode(views: torch.Tensor) -> torch.Tensor:
        return example.signal_of(views) if name == "linear" else example.posterior(views)  # type: ignore[attr-defined]

    critic.encode = encode  # type: ignore[method-assign]
    assert abs(example.excess_risk(critic, 4000, generator)) < 0.05


def test_the_true_ratio_of_gaussian_views_reaches_their_divergence() -> None:
    """KL of k signals of correlation rho is -k log(1 - rho^2) / 2."""
    sizes = sufficiency.Sizes()
    example = sufficiency.LinearExample(sizes, np.random.default_rng(0))
    left, right = example.views(3000, torch.Generator().manual_seed(0))
    ratio = example.true_log_ratio(left, right)
    unpaired = ratio[~torch.eye(len(ratio), dtype=torch.bool)]
    wanted = -sizes.signal * np.log(1 - sizes.rho**2) / 2
    assert float(divergence_bound(ratio.diagonal(), unpaired, "kl")) == pytest.approx(wanted, abs=0.03)


def test_rank_products_average_to_spearman() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 40))
    assert sufficiency.rank_products(left, right).mean() == pytest.approx(spearmanr(left, right).statistic)


def test_studies_return_every_arm_and_task(tmp_path: Path) -> None:
    scores = analogies.run(context(tmp_path))
    assert set(scores) == {"untrained", "contrastive", "shuffled", "binary"}
    scores = sufficiency.run(context(tmp_path))
    assert set(scores) == {"kl", "chi2", "unpaired", "shifted", "permuted"}
    assert set(scores["permuted"]) == {"linear-rank", "topic-rank"}
    scores = taxonomy.run(context(tmp_path))
    assert set(scores) == {"registry", "untrained", "input-input", "input-label"}
