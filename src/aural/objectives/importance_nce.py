"""InfoNCE whose negatives count more the more similar they are."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from aural.core.config import Config
from aural.objectives.base import OBJECTIVES, Objective, require_pairs, widen


class ImportanceNCEConfig(Config):
    """Options of importance sampling: how sharply and how much."""

    sharpness: float = Field(default=0.5, ge=0)
    """Exponent of the weights; 0: all negatives have the weight 1."""
    positive: float = Field(default=1.0, gt=0, le=1)
    """Factor of the positive in the denominator; smaller values push hard negatives away more."""


@OBJECTIVES.register(
    "importance_nce", signal="pair", contrast="input-input", loss="contrastive", negatives="batch", modality="any pair"
)
class ImportanceNCE(Objective):
    """Find each clip's caption among the batch, with hard negatives sampled up by importance weights.

    Also known as: hard-negative noise contrastive estimation (HN-NCE), importance-sampled negatives.

    Formula, with l_ij = logit_scale * <audio_i, text_j>, a = positive and b = sharpness:
        w_ij = (B - 1) exp(b l_ij) / sum_{k != i} exp(b l_ik), without gradient
        A = -1/B sum_i log( exp l_ii / (a exp l_ii + sum_{j != i} w_ij exp l_ij) )
        loss = (A + T) / 2, T the same over captions
    The weights of an anchor have the mean 1.

    Knobs: sharpness, positive. Needs audio_emb (B, E), text_emb (B, E), logit_scale ().

    Source: Radenovic et al. 2023, DiHT (arXiv 2301.02280), section 3.3, equations 4 to 6; the weights: Robinson et al.
    2020 (arXiv 2010.04592).

    Relations: with sharpness 0 and positive 1 it is `info_nce`; `hard_negatives` adds written captions instead.

    >>> import torch
    >>> given = {"audio_emb": torch.eye(2), "text_emb": torch.eye(2), "logit_scale": torch.tensor(1.0)}
    >>> round(float(ImportanceNCE()(given)["loss"]), 4)  # a single negative has the weight 1: log(1 + 1/e)
    0.3133
    """

    config_type = ImportanceNCEConfig
    config: ImportanceNCEConfig

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, scale = widen(tensors["audio_emb"], tensors["text_emb"], tensors["logit_scale"])
        require_pairs(audio, text)
        logits = scale * audio @ text.T  # (B, B)
        audio_to_text, text_to_audio = self._direction(logits), self._direction(logits.T)
        return {
            "loss": (audio_to_text + text_to_audio) / 2,
            "audio_to_text": audio_to_text,
            "text_to_audio": text_to_audio,
        }

    def _direction(self, logits: Tensor) -> Tensor:
        """Return the loss of the rows of logits (B, B)."""
        itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        sharp = (self.config.sharpness * logits.detach()).masked_fill(itself, -torch.inf)
        negatives = max(1, len(logits) - 1)
        log_weight = sharp.log_softmax(1) + torch.log(logits.new_tensor(float(negatives)))
        log_positive = torch.log(logits.new_tensor(self.config.positive))
        weighted = logits + torch.where(itself, log_positive, log_weight)
        if len(logits) == 1:  # no negative
            weighted = logits + log_positive
        return (weighted.logsumexp(1) - logits.diagonal()).mean()
