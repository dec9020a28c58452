"""Predict the features of masked patches that an averaged encoder computes from them alone (Masked Modeling Duo).

Legend: B clips, P patches, V visible patches, M = P - V masked patches, D features.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from aural.encoders.vit import TransformerBlock, Vit


class PatchPredictor(nn.Module):
    """Visible tokens (B, V, D) to values of masked patches (B, M, E): a small transformer with mask tokens.

    The mask tokens and the visible tokens have the positions of the encoder's patches, which are learned here.
    """

    def __init__(self, patches: int, dim: int, outputs: int, *, depth: int = 1, heads: int = 4) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(patches, dim))
        self.mask_token = nn.Parameter(torch.empty(dim))
        nn.init.trunc_normal_(self.position, std=0.02)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads, 2.0, 0.0) for _ in range(depth))
        self.output = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, outputs))

    def forward(self, tokens: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
        """Return the values of the patches `masked` (B, M) from the tokens of the patches `visible` (B, V)."""
        x = torch.cat([tokens + self.position[visible], self.mask_token + self.position[masked]], dim=1)
        for block in self.blocks:
            x = block(x)
        values: Tensor = self.output(x[:, visible.shape[1] :])
        return values


class MaskedDuo(nn.Module):
    """An online encoder that sees visible patches, a predictor, and an averaged encoder that sees masked patches.

    Formula, with online features o of the visible patches, predictions q(o)_m, and target features t_m of the masked
    patches, standardized over the features of each patch and without gradient:
        loss = mean over masked patches of 2 - 2 cos(q(o)_m, t_m)

    Source: Niizumi et al. 2023, Masked Modeling Duo (arXiv 2210.14648), section 2; with CLAP: arXiv 2406.02032.
    """

    def __init__(self, encoder: Vit, patches: int) -> None:
        super().__init__()
        self.predictor = PatchPredictor(patches, encoder.dim, encoder.dim)
        self.teacher = deepcopy(encoder).requires_grad_(requires_grad=False)

    @torch.no_grad()
    def average(self, encoder: Vit, momentum: float) -> None:
        """Move the averaged encoder toward the online encoder: t = momentum t + (1 - momentum) o."""
        for mean, value in zip(self.teacher.parameters(), encoder.parameters(), strict=True):
            mean.lerp_(value, 1 - momentum)

    def forward(self, encoder: Vit, mel: Tensor, visible: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the online features (B, V, D) of the visible patches."""
        online = encoder.encode_visible(mel, visible)[:, 1:]
        predicted = self.predictor(online, visible, masked)
        with torch.no_grad():
            target = self.teacher.encode_visible(mel, masked)[:, 1:]
            target = nn.functional.layer_norm(target, target.shape[-1:])
        return (2 - 2 * nn.functional.cosine_similarity(predicted, target, dim=-1)).mean(), online


def patch_values(mel: Tensor, encoder: Vit) -> Tensor:
    """Return the values of each patch of log-mels (B, N, F), standardized per patch: (B, P, values).

    The order of patches is that of the encoder: time, then frequency. Source of the standardized target: He et al.
    2021, MAE (arXiv 2111.06377), section 3.
    """
    c = encoder.config
    tiles = mel.unfold(1, c.patch_frames, c.stride_frames).unfold(2, c.patch_mels, c.stride_mels)  # (B, T, Q, ...)
    values = tiles.flatten(3).flatten(1, 2)
    return nn.functional.layer_norm(values, values.shape[-1:])
