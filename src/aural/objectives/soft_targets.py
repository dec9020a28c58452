"""InfoNCE against graded targets, and with weighted negatives."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, require_pairs, widen


class SoftTargetsConfig(Config):
    """Options of soft targets: their source, their share, and weights of negatives."""

    source: Literal["given", "similarity"] = "given"
    """"given": the tensor `targets`, from a producer of `aural.objectives.targets`. "similarity": derived from the two
    towers' own similarities."""
    weight: float = Field(default=1.0, ge=0, le=1)
    """Share of the soft target; the rest stays on the matching pair."""
    target_scale: float = Field(default=10.0, gt=0)
    """Multiplier (1 / temperature) of the similarities that targets are derived from; "similarity" only."""
    negatives: Literal["equal", "weighted"] = "equal"
    """"weighted": entries of the softmax are multiplied by the tensor `weights`; 0 removes a false negative."""


@OBJECTIVES.register(
    "soft_targets",
    signal="similarity",
    contrast="input-input",
    loss="contrastive",
    negatives="batch",
    modality="any pair",
)
class SoftTargets(Objective):
    """Match a distribution over the batch's captions instead of one correct caption.

    Captions that also fit a clip are not treated as plain negatives. Also known as: soft-label CLIP, CLIP with
    similarity distillation, softened InfoNCE; with targets from a frozen tower, continuously weighted contrastive loss
    (CWCL).

    Formula, with l_ij = logit_scale * <audio_i, text_j>, I the identity, w = weight:
        P = (1 - w) I + w * Q by rows,  P' = (1 - w) I + w * Q' by columns
        loss = (A + T) / 2,  A = -1/B sum_ij P_ij log softmax_j(l_i.)[j],  T = -1/B sum_ij P'_ij log softmax_i(l_.j)[i]
    source "given": Q and Q' are `targets`, its rows and its columns divided by their sums.
    source "similarity": Q = softmax_j(target_scale * (<audio_i, audio_j> + <text_i, text_j>) / 2) without gradient,
    Q' the same over i.
    negatives "weighted": l_ij becomes l_ij + log weights_ij in both softmaxes. An entry of weight 0 has probability 0
    and its target is dropped.

    Knobs: source; weight (share, 0 to 1); target_scale (1 / temperature); negatives. Needs audio_emb (B, E), text_emb
    (B, E), logit_scale (), with source "given" also targets (B, B), with negatives "weighted" also weights (B, B). A
    row or column of targets that sums to 0 leaves its whole weight on the matching pair.

    Source: targets from the two towers' own similarities as in Gao et al. 2023, SoftCLIP (arXiv 2303.17561), section 3;
    the mixture with the identity as in Gao et al. 2022, PyramidCLIP (arXiv 2204.14095), section 3; weighted negatives
    as in Zhou et al. 2022, DCLR (arXiv 2205.00656), section 3.2.

    Relations: weight 0, or targets = identity, is `info_nce`; targets that are 1 within a group are `multi_positive`;
    targets = counts and free row lengths are a contrastive word model over co-occurrences.

    >>> import torch
    >>> given = {"audio_emb": torch.eye(2), "text_emb": torch.eye(2), "logit_scale": torch.tensor(1.0)}
    >>> given["targets"] = torch.ones(2, 2)  # log(1 + 1/e) + 1/2
    >>> round(float(SoftTargets()(given)["loss"]), 4)
    0.8133
    """

    config_type = SoftTargetsConfig
    config: SoftTargetsConfig

    def extra_needs(self) -> set[str]:
        targets = {"targets"} if self.config.source == "given" else set()
        return targets | ({"weights"} if self.config.negatives == "weighted" else set())

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, scale = widen(tensors["audio_emb"], tensors["text_emb"], tensors["logit_scale"])
        require_pairs(audio, text)
        logits = scale * audio @ text.T  # (B, B)
        if self.config.source == "given":
            by_row, by_column = _shares(tensors["targets"].to(logits), len(audio))
        else:
            with torch.no_grad():
                similarity = self.config.target_scale * (audio @ audio.T + text @ text.T) / 2
            by_row, by_column = similarity.softmax(1), similarity.softmax(0)
        if self.config.negatives == "weighted":
            weights = _checked_weights(tensors["weights"].to(logits), len(audio))
            logits = logits + weights.log()
            by_row, by_column = (share.where(weights > 0, 0) for share in (by_row, by_column))
        audio_to_text = self._cross_entropy(by_row, logits.log_softmax(1))
        text_to_audio = self._cross_entropy(by_column, logits.log_softmax(0))
        loss = (audio_to_text + text_to_audio) / 2
        return {"loss": loss, "audio_to_text": audio_to_text, "text_to_audio": text_to_audio}

    def _cross_entropy(self, share: Tensor, log_p: Tensor) -> Tensor:
        """Return -1/B times the sum of target * log p over all entries; entries of probability 0 have target 0."""
        weight = self.config.weight
        if self.config.negatives == "weighted":
            log_p = log_p.where(log_p > -torch.inf, 0)
        return -(weight * (share * log_p).sum() + (1 - weight) * log_p.diagonal().sum()) / len(log_p)


def _shares(targets: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Return `targets` (B, B) with rows, and with columns, that sum to 1; empty ones become the identity's."""
    if targets.shape != (batch, batch):
        raise ConfigError(
            f"targets {tuple(targets.shape)} must be ({batch}, {batch}), one row per clip, one column per caption"
        )
    identity = torch.eye(batch, dtype=targets.dtype, device=targets.device)
    rows, columns = targets.sum(1, keepdim=True), targets.sum(0, keepdim=True)
    by_row = torch.where(rows > 0, targets / rows.where(rows > 0, 1), identity)
    by_column = torch.where(columns > 0, targets / columns.where(columns > 0, 1), identity)
    return by_row, by_column


def _checked_weights(weights: Tensor, batch: int) -> Tensor:
    """Return `weights`; raise ConfigError unless they are (B, B), non-negative and positive on the diagonal."""
    if weights.shape != (batch, batch):
        raise ConfigError(f"weights {tuple(weights.shape)} must be ({batch}, {batch}), one row per clip")
    if bool((weights < 0).any()) or bool((weights.diagonal() <= 0).any()):
        raise ConfigError("weights must not be negative, and must be positive on the diagonal (the matching pairs)")
    return weights
