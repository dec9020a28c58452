"""Agreement of two views of an item without negatives."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from aural.core.config import Config
from aural.objectives.base import OBJECTIVES, Objective, require_rows, widen


class ByolConfig(Config):
    """Options of BYOL: the directions of prediction."""

    symmetric: bool = True
    """False: only view a predicts view b, and only `predicted_a` and `target_b` are needed."""


@OBJECTIVES.register("byol", signal="self", contrast="none", loss="regression", negatives="none", modality="any pair")
class Byol(Objective):
    """Predict the target embedding of one view of an item from the other view. There are no negatives.

    Also known as: bootstrap your own latent, negative-free self-distillation; with the student itself as the target
    network, SimSiam.

    Formula, with cosines between predictions p and targets t (any length; targets receive no gradient):
        one direction: D(p, t) = 1/B sum_i (2 - 2 cos(p_i, t_i))
        loss = D(predicted_a, target_b) + D(predicted_b, target_a), or only the first if not symmetric
    "spread" reports collapse: sqrt(E) times the mean standard deviation of the dimensions of the unit targets. It is 0
    if all targets are equal and about 1 if they are spread evenly over the sphere.

    Knobs: symmetric. Needs predicted_a (B, E), target_b (B, E), and if symmetric predicted_b (B, E), target_a (B, E).
    The predictions come from a predictor head on the student, the targets from an averaged or frozen teacher.

    Source: Grill et al. 2020 (arXiv 2006.07733), section 3.1, equation 2; SimSiam: Chen and He 2020 (arXiv 2011.10566),
    section 3, whose collapse monitor "spread" is.

    Relations: `regress` is half of one direction with unit rows; `info_nce` over two views adds negatives.

    >>> import torch
    >>> views = {"predicted_a": torch.eye(2), "target_b": 3 * torch.eye(2)}
    >>> views |= {"predicted_b": torch.eye(2), "target_a": torch.eye(2).flip(0)}
    >>> {name: round(float(value), 4) for name, value in Byol()(views).items()}  # 0 for a to b, 2 for b to a
    {'loss': 2.0, 'spread': 1.0}
    """

    config_type = ByolConfig
    config: ByolConfig
    needs = frozenset({"predicted_a", "target_b"})

    def extra_needs(self) -> set[str]:
        return {"predicted_b", "target_a"} if self.config.symmetric else set()

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        target = normalize(widen(tensors["target_b"].detach())[0], dim=1)
        spread = target.std(0).mean() * target.shape[1] ** 0.5 if len(target) > 1 else target.new_zeros(())
        loss = _direction(tensors, "predicted_a", "target_b")
        if self.config.symmetric:
            loss = loss + _direction(tensors, "predicted_b", "target_a")
        return {"loss": loss, "spread": spread}


def _direction(tensors: dict[str, Tensor], predicted_name: str, target_name: str) -> Tensor:
    """Return the mean of 2 - 2 cosine between predictions and detached targets."""
    predicted, target = widen(tensors[predicted_name], tensors[target_name].detach())
    require_rows(predicted_name, predicted, target_name, target)
    return (2 - 2 * (normalize(predicted, dim=1) * normalize(target, dim=1)).sum(1)).mean()
