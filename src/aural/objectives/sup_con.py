"""Supervised contrast within one set of embeddings: items with the same label are positives."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, widen
from aural.objectives.multi_positive import positive_loss


class SupConConfig(Config):
    """Options of supervised contrast: the combination of the positives of an anchor."""

    positives: Literal["mean", "any"] = "mean"
    """"mean": mean of log p over the positives. "any": log of their summed p."""


@OBJECTIVES.register(
    "sup_con", signal="label", contrast="input-input", loss="contrastive", negatives="batch", modality="any"
)
class SupCon(Objective):
    """Pull items of the same label together and push items of other labels apart, within one modality.

    Also known as: supervised contrastive loss (SupCon). With two views per item and the item's number as its label,
    NT-Xent (the SimCLR loss).

    Formula, with l_ij = logit_scale * <audio_i, audio_j>, p_ij = exp l_ij / sum_{k != i} exp l_ik, and P(i) the other
    items with i's label:
        "mean": loss = -mean_i 1/|P(i)| sum_{j in P(i)} log p_ij
        "any":  loss = -mean_i log sum_{j in P(i)} p_ij
    The mean is over items with a positive. Items without one are negatives of the others; if no item has a positive,
    the loss is 0. "anchors" is the share of items with a positive.

    Knobs: positives. Needs audio_emb (B, E) unit rows, audio_group (B,) integer labels, logit_scale (). Rename the
    inputs for text or for other embeddings.

    Source: Khosla et al. 2020 (arXiv 2004.11362), equation 2 ("mean", the sum outside the logarithm); "any" is their
    equation 3 without its factor 1 / |P(i)| inside the logarithm.

    Relations: `multi_positive` is the same across two modalities.

    >>> import torch
    >>> emb = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> given = {"audio_emb": emb, "audio_group": torch.tensor([5, 5, 6]), "logit_scale": torch.tensor(1.0)}
    >>> round(float(SupCon()(given)["loss"]), 4)  # log(1 + 1/e) for both items of label 5
    0.3133
    """

    config_type = SupConConfig
    config: SupConConfig
    needs = frozenset({"audio_emb", "audio_group", "logit_scale"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        emb, scale = widen(tensors["audio_emb"], tensors["logit_scale"])
        group = tensors["audio_group"]
        if emb.ndim != 2 or len(emb) == 0 or group.shape != emb.shape[:1]:
            raise ConfigError(
                f"audio_group {tuple(group.shape)} must hold one label per row of audio_emb {tuple(emb.shape)}"
            )
        same_item = torch.eye(len(emb), dtype=torch.bool, device=emb.device)
        positive = (group[:, None] == group[None, :]) & ~same_item
        anchors = positive.any(1).float().mean()
        if len(emb) == 1:
            return {"loss": 0 * (scale * emb).sum(), "anchors": anchors}
        logits = (scale * emb @ emb.T).masked_fill(same_item, -math.inf)  # (B, B)
        return {"loss": positive_loss(logits, positive, self.config.positives), "anchors": anchors}
