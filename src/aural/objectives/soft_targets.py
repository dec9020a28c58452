"""InfoNCE against a distribution over the batch instead of the one right answer."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, require_pairs, widen


class SoftTargetsConfig(Config):
    """Where the targets come from and how far they are believed."""

    source: Literal["given", "similarity"] = "given"
    weight: float = Field(default=1.0, ge=0, le=1)
    """Share of the soft target; the rest stays on the pair itself."""
    target_scale: float = Field(default=10.0, gt=0)
    """Multiplier (1 / temperature) of the similarities that targets are derived from; "similarity" only."""


@OBJECTIVES.register(
    "soft_targets",
    signal="similarity",
    contrast="input-input",
    loss="contrastive",
    negatives="batch",
    modality="any pair",
)
class SoftTargets(Objective):
    """How well does each of the batch's captions fit this clip? Near-twins are not punished as strangers.

    Also known as: soft-label CLIP, CLIP with similarity distillation, softened InfoNCE.

    Formula, with l_ij = logit_scale * <audio_i, text_j>, I the identity, w = weight:
        P = (1 - w) I + w * Q by rows,  P' = (1 - w) I + w * Q' by columns
        loss = (A + T) / 2,  A = -1/B sum_ij P_ij log softmax_j(l_i.)[j],  T = -1/B sum_ij P'_ij log softmax_i(l_.j)[i]
    source "given": Q and Q' are `targets`, its rows and its columns divided by their sums.
    source "similarity": Q = softmax_j(target_scale * (<audio_i, audio_j> + <text_i, text_j>) / 2) without gradient,
    Q' the same over i.

    Knobs: source; weight (share, 0 to 1); target_scale (1 / temperature). Needs audio_emb (B, E), text_emb (B, E),
    logit_scale (), and with source "given" also targets (B, B). A row or column of targets that sums to 0 leaves its
    whole weight on the pair itself.

    Source: targets from the two towers' own similarities as in Gao et al. 2023, SoftCLIP (arXiv 2303.17561), section 3;
    the mixture with the identity as in Gao et al. 2022, PyramidCLIP (arXiv 2204.14095), section 3.

    Relations: weight 0, or targets = identity, is `info_nce`; targets that are 1 within a group are `multi_positive`.

    >>> import torch
    >>> given = {"audio_emb": torch.eye(2), "text_emb": torch.eye(2), "logit_scale": torch.tensor(1.0)}
    >>> given["targets"] = torch.ones(2, 2)  # log(1 + 1/e) + 1/2
    >>> round(float(SoftTargets()(given)["loss"]), 4)
    0.8133
    """

    config_type = SoftTargetsConfig

    def __init__(self, config: SoftTargetsConfig | None = None) -> None:
        self.config = config or SoftTargetsConfig()
        given = {"targets"} if self.config.source == "given" else set()
        self.needs = frozenset({"audio_emb", "text_emb", "logit_scale"} | given)

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, scale = widen(tensors["audio_emb"], tensors["text_emb"], tensors["logit_scale"])
        require_pairs(audio, text)
        logits = scale * audio @ text.T  # (B, B)
        if self.config.source == "given":
            by_row, by_column = _shares(tensors["targets"].to(logits), len(audio))
        else:
            with torch.no_grad():
                alike = self.config.target_scale * (audio @ audio.T + text @ text.T) / 2
            by_row, by_column = alike.softmax(1), alike.softmax(0)
        audio_to_text = self._cross_entropy(by_row, logits.log_softmax(1))
        text_to_audio = self._cross_entropy(by_column, logits.log_softmax(0))
        loss = (audio_to_text + text_to_audio) / 2
        return {"loss": loss, "audio_to_text": audio_to_text, "text_to_audio": text_to_audio}

    def _cross_entropy(self, soft: Tensor, log_p: Tensor) -> Tensor:
        """- sum over all entries of target * log p, a mean over the B questions."""
        weight = self.config.weight
        return -(weight * (soft * log_p).sum() + (1 - weight) * log_p.diagonal().sum()) / len(log_p)


def _shares(targets: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """`targets` (B, B) with rows, and with columns, summing to 1; what is empty falls back to the identity."""
    if targets.shape != (batch, batch):
        raise ConfigError(
            f"targets {tuple(targets.shape)} must be ({batch}, {batch}), one row a clip, one column a caption"
        )
    own = torch.eye(batch, dtype=targets.dtype, device=targets.device)
    rows, columns = targets.sum(1, keepdim=True), targets.sum(0, keepdim=True)
    by_row = torch.where(rows > 0, targets / rows.where(rows > 0, 1), own)
    by_column = torch.where(columns > 0, targets / columns.where(columns > 0, 1), own)
    return by_row, by_column
