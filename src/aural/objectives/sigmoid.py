"""Pairwise sigmoid loss: one independent match decision per clip and caption."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from aural.core.config import Config
from aural.objectives.base import OBJECTIVES, Objective, pair_logits


class SigmoidConfig(Config):
    """An empty config; temperature and bias belong to the model."""


@OBJECTIVES.register(
    "sigmoid", signal="pair", contrast="input-input", loss="binary", negatives="batch", modality="any pair"
)
class Sigmoid(Objective):
    """Decide for each of the B * B pairs of clip and caption whether they match, independently of the others.

    Also known as: SigLIP loss, pairwise logistic loss.

    Formula, with l_ij = logit_scale * <audio_i, text_j> + logit_bias, z_ij = 1 if i = j else -1:
        loss = -1/B sum_ij log sigmoid(z_ij l_ij)
    "positive" and "negative" are the shares of i = j and of the rest; they sum to the loss.

    Knobs: none. Needs audio_emb (B, E), text_emb (B, E), logit_scale (), logit_bias (). The paper starts from
    logit_scale = 10 and logit_bias = -10, so that the many negatives do not dominate the first steps.

    Source: Zhai et al. 2023 (arXiv 2303.15343), section 3.2 and algorithm 1.

    Relations: `info_nce` normalizes over the batch. This loss does not, so no rank needs the sums of another rank.
    `tiled_sigmoid` computes the same number with memory linear in B.

    >>> import torch
    >>> unit = torch.eye(2)
    >>> given = {"audio_emb": unit, "text_emb": unit}
    >>> given |= {"logit_scale": torch.tensor(2.0), "logit_bias": torch.tensor(-1.0)}
    >>> {name: round(float(value), 4) for name, value in Sigmoid()(given).items()}  # 2 log(1 + 1/e), by halves
    {'loss': 0.6265, 'positive': 0.3133, 'negative': 0.3133}
    """

    config_type = SigmoidConfig
    config: SigmoidConfig
    needs = frozenset({"audio_emb", "text_emb", "logit_scale", "logit_bias"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        logits = pair_logits(tensors)  # (B, B)
        positive = -logsigmoid(logits.diagonal()).sum() / len(logits)
        match = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        negative = -logsigmoid((-logits).masked_fill(match, torch.inf)).sum() / len(logits)
        return {"loss": positive + negative, "positive": positive, "negative": negative}
