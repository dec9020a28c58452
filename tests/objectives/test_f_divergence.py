"""Bounds against divergences of small tables that are summed exactly."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives import FDivergence, FDivergenceConfig, InfoNCE, divergence_bound
from aural.objectives.f_divergence import Divergence

KINDS = get_args(Divergence)
JOINT = torch.tensor([[6.0, 1.0], [1.0, 4.0]], dtype=torch.float64) / 12
PRODUCT = JOINT.sum(1, keepdim=True) * JOINT.sum(0, keepdim=True)


def exact(kind: str) -> float:
    """D_f(joint || product) = sum q f(p / q) by its definition."""
    ratio = JOINT / PRODUCT
    f = {
        "kl": lambda r: r * r.log(),
        "chi2": lambda r: (r - 1) ** 2,
        "hellinger": lambda r: (r.sqrt() - 1) ** 2,
        "js": lambda r: r * r.log() - (r + 1) * ((r + 1) / 2).log(),
    }[kind]
    return float((PRODUCT * f(ratio)).sum())


def bound(log_ratio: Tensor, kind: Divergence) -> float:
    """The bound with expectations under the table: each cell repeated by its probability in units of 1/5040."""
    cells = [
        torch.repeat_interleave(log_ratio.flatten(), (5040 * p).round().long().flatten()) for p in (JOINT, PRODUCT)
    ]
    return float(divergence_bound(cells[0], cells[1], kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_ratio_reaches_the_divergence_and_others_stay_below(kind: Divergence) -> None:
    """Probabilities are multiples of 1/144, so 5040 = 35 * 144 repeats are exact."""
    truth = (JOINT / PRODUCT).log()
    assert bound(truth, kind) == pytest.approx(exact(kind), rel=1e-9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        other = truth + 0.3 * torch.randn(2, 2, generator=generator, dtype=torch.float64)
        assert bound(other, kind) < exact(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ratio_of_one_gives_zero_and_gradients_are_right(kind: Divergence) -> None:
    generator = torch.Generator().manual_seed(0)
    audio, text = (torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    scale, bias = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.5, 0.1))
    objective = FDivergence(FDivergenceConfig(divergence=kind))
    names = ("audio_emb", "text_emb", "logit_scale", "logit_bias")
    zero = torch.zeros((), dtype=torch.float64)
    assert float(objective(dict(zip(names, (audio, text, zero, zero), strict=True)))["loss"]) == pytest.approx(
        0, abs=1e-12
    )
    assert torch.autograd.gradcheck(
        lambda *t: objective(dict(zip(names, t, strict=True)))["loss"], (audio, text, scale, bias)
    )


def test_kl_and_info_nce_bound_the_same_divergence() -> None:
    """Gaussian pairs of correlation 0.8 in 1 dimension: both reach -log(1 - 0.64) / 2 with the true ratio."""
    rho, pairs = 0.8, 4000
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(pairs, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    y = rho * x + math.sqrt(1 - rho**2) * noise
    const = -math.log(1 - rho**2) / 2
    quadratic = rho**2 / (2 * (1 - rho**2))
    left = torch.cat([x * rho / (1 - rho**2), -quadratic * x**2, torch.ones_like(x)], 1)
    right = torch.cat([y, torch.ones_like(y), -quadratic * y**2], 1)
    given = {"audio_emb": left, "text_emb": right, "logit_scale": torch.tensor(1.0), "logit_bias": torch.tensor(const)}
    assert float(FDivergence()(given)["bound"]) == pytest.approx(const, abs=0.05)
    assert math.log(pairs) - float(InfoNCE()(given)["loss"]) == pytest.approx(const, abs=0.05)


def test_a_batch_of_one_is_refused() -> None:
    given = {"audio_emb": torch.ones(1, 2), "text_emb": torch.ones(1, 2)}
    given |= {"logit_scale": torch.tensor(1.0), "logit_bias": torch.tensor(0.0)}
    with pytest.raises(ConfigError, match="at least 2 pairs"):
        FDivergence()(given)
