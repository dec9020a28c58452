"""Contrast a clip's caption with captions of the same clip whose events are in a wrong order."""

from __future__ import annotations

import torch
from torch import Tensor

from aural.core.config import Config
from aural.objectives.base import OBJECTIVES, Objective, with_hard_captions


class TemporalFocusConfig(Config):
    """Options of the temporal loss."""

    masked: bool = False
    """Whether clips may have fewer than H false captions; then `hard_text_mask` is needed."""


@OBJECTIVES.register(
    "temporal_focus", signal="pair", contrast="input-input", loss="contrastive", negatives="built", modality="any pair"
)
class TemporalFocus(Objective):
    """Find each clip's caption among false captions of the same clip, such as captions with swapped event order.

    Also known as: temporal-focused contrastive loss.

    Formula, with l_i = logit_scale * <audio_i, text_i> and h_ik = logit_scale * <audio_i, hard_text_ik>:
        loss = -1/B' sum_i log( exp l_i / (exp l_i + sum_k exp h_ik) )
    over the B' clips that have a false caption; 0 if none has. Other clips of the batch do not occur, so the loss
    cannot be lowered by distinguishing scenes.

    Knobs: masked. Needs audio_emb (B, E), text_emb (B, E), hard_text_emb (B, H, E), logit_scale (), and when masked
    hard_text_mask (B, H). It is used next to a loss over the batch: T-CLAP adds 0.5 times this loss to InfoNCE.

    Source: Yuan et al. 2024, T-CLAP (arXiv 2404.17806), L = L_c + 0.5 L_t. The formula of L_t is written
    from the paper's description; its code is not public.

    Relations: `hard_negatives` puts the false captions into the denominator of the batch loss instead.

    >>> import torch
    >>> given = {"audio_emb": torch.eye(2), "text_emb": torch.eye(2), "logit_scale": torch.tensor(1.0)}
    >>> given["hard_text_emb"] = torch.eye(2).flip(0)[:, None]  # cosine 0: log(1 + 1/e)
    >>> round(float(TemporalFocus()(given)["loss"]), 4)
    0.3133
    """

    config_type = TemporalFocusConfig
    config: TemporalFocusConfig
    needs = frozenset({"audio_emb", "text_emb", "hard_text_emb", "logit_scale"})

    def extra_needs(self) -> set[str]:
        return {"hard_text_mask"} if self.config.masked else set()

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, hard, scale = with_hard_captions(tensors)
        matching = scale * (audio * text).sum(1, keepdim=True)  # (B, 1)
        near = scale * torch.einsum("be,bhe->bh", audio, hard)  # (B, H)
        mask = tensors["hard_text_mask"].bool() if self.config.masked else torch.ones_like(near, dtype=torch.bool)
        logits = torch.cat([matching, near.masked_fill(~mask, -torch.inf)], dim=1)
        has = mask.any(1)
        losses = torch.where(has, logits.logsumexp(1) - matching[:, 0], 0.0)
        return {"loss": losses.sum() / has.sum().clamp_min(1)}
