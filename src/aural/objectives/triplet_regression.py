"""Triplets of items ordered by a continuous label, such as a quality score."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, widen


class TripletRegressionConfig(Config):
    """Options of the triplet loss: its margin."""

    margin: Literal["adaptive", "fixed"] = "adaptive"
    """"adaptive": proportional to how much farther the negative's label is than the positive's."""
    size: float = Field(default=1.0, gt=0)
    """The fixed margin, or the margin of the largest difference of labels in the batch."""


@OBJECTIVES.register(
    "triplet_regression", signal="similarity", contrast="input-input",
    loss="contrastive", negatives="batch", modality="any",
)  # fmt: skip
class TripletRegression(Objective):
    """Place items whose labels are closer nearer to each other than items whose labels are farther away.

    Also known as: contrastive regression by triplets, SCOREQ loss.

    Formula, with distances d_ij = |z_i - z_j| of embeddings, label distances y_ij = |y_i - y_j|_1, and R the largest
    label distance of the batch, over all triplets of different items with y_ij < y_ik:
        m_ijk = size * (y_ik - y_ij) / R ("adaptive") or size ("fixed")
        loss = mean over the triplets with a positive term of max(0, d_ij - d_ik + m_ijk)
    "active" is the share of triplets with a positive term. Without any triplet the loss is 0.

    Knobs: margin, size. Needs audio_emb (B, E), values (B, D) continuous labels. Memory grows with B^3.

    Source: Ragano, Skoglund and Hines 2024, SCOREQ (arXiv 2410.06675), section 3; the mean over active triplets:
    Hermans et al. 2017 (arXiv 1703.07737), "batch all".

    Relations: `rank_n_contrast` orders by the same label distances with a softmax; `regress` has no order.

    >>> import torch
    >>> given = {"audio_emb": torch.tensor([[0.0], [1.0], [3.0]]), "values": torch.tensor([[0.0], [2.0], [1.0]])}
    >>> # anchor 0 should be nearer to 2 than to 1 and is farther by 2: 2 + 1/2; anchor 1: 2 - 1 + 1/2
    >>> round(float(TripletRegression()(given)["loss"]), 4)
    2.0
    """

    config_type = TripletRegressionConfig
    config: TripletRegressionConfig
    needs = frozenset({"audio_emb", "values"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        emb, values = widen(tensors["audio_emb"], tensors["values"])
        if emb.ndim != 2 or values.ndim != 2 or len(values) != len(emb):
            raise ConfigError(f"values {tuple(values.shape)} must be (B, D) labels of audio_emb {tuple(emb.shape)}")
        squares = (emb[:, None] - emb[None]).square().sum(2)
        distance = squares.clamp(min=1e-12).sqrt()  # a finite gradient where two rows are equal
        label = (values[:, None] - values[None]).abs().sum(2)
        farther = label[:, None, :] - label[:, :, None]  # (i, j, k): y_ik - y_ij
        different = ~torch.eye(len(emb), dtype=torch.bool, device=emb.device)
        triplet = (farther > 0) & different[:, :, None] & different[:, None, :]
        margin = torch.full_like(farther, self.config.size)
        if self.config.margin == "adaptive":
            margin = self.config.size * farther / label.max().clamp(min=1e-12)
        terms = (distance[:, :, None] - distance[:, None, :] + margin).clamp(min=0) * triplet
        active = (terms > 0).sum()
        share = active / triplet.sum().clamp(min=1)
        return {"loss": terms.sum() / active.clamp(min=1), "active": share}
