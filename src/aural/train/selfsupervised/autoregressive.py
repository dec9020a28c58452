"""Predict the next tokens, and continue sounds by drawing them."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from aural.core.config import Config
from aural.objectives.predictive.masked_tokens import token_loss
from aural.train.selfsupervised.base import PRETEXTS, Outcome, Pretext, Shape, Step


class NextTokenConfig(Config):
    """Options of the prediction of tokens."""

    steps: Annotated[int, Field(ge=1)] = 1
    """Tokens ahead that are predicted, each by a head."""


@PRETEXTS.register("next-token")
class NextToken(Pretext):
    """Classify the next tokens given those so far; the encoder must be causal.

    Source: Dhariwal et al. 2020, Jukebox (arXiv 2005.00341), section 3.3; Tuckute et al. 2025, AuriStream (arXiv
    2508.11598), section 2.
    """

    config_type = NextTokenConfig
    config: NextTokenConfig

    def __init__(self, config: NextTokenConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.groups, self.codes = shape.tokens
        self.heads = nn.ModuleList(nn.Linear(shape.encoder.dim, self.groups * self.codes) for _ in range(config.steps))

    def forward(self, step: Step) -> Outcome:
        states, ids = step.layers[-1], step.tokens
        losses = []
        for k, head in enumerate(self.heads, 1):
            logits = head(states[:, :-k]).unflatten(-1, (self.groups, self.codes))
            every = torch.ones(ids[:, k:].shape[:2], dtype=torch.bool, device=ids.device)
            losses.append(token_loss(logits, ids[:, k:], every))
        per_clip = torch.stack([loss for loss, _ in losses]).mean(0)
        return Outcome(per_clip.mean(), per_clip, {"accuracy": losses[0][1]})

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits (B, T, G, V) of the token after each state (B, T, D)."""
        return self.heads[0](states).unflatten(-1, (self.groups, self.codes))
