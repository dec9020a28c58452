"""Match an averaged teacher that sees the clip without masks: per clip and per token."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from aural.nn.functional import unit
from aural.objectives.predictive.self_distill import self_distillation
from aural.train.selfsupervised.base import PRETEXTS, Outcome, Pretext, Shape, Step
from aural.train.selfsupervised.reconstruct import ReconstructConfig, hide

CENTER_DECAY = 0.9


class DistillConfig(ReconstructConfig):
    """Options of self-distillation."""

    prototypes: Annotated[int, Field(ge=2)] = 128
    local: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the tokens next to that of the clip."""


@PRETEXTS.register("distill")
class Distill(Pretext):
    """Assign a clip with hidden patches, and its tokens, to the prototypes that an averaged teacher gives them.

    Source: ASiT (arXiv 2211.13189), sections 3.2 and 3.3 (local and global similarity learning).
    """

    config_type = DistillConfig
    config: DistillConfig
    needs = ("teacher",)
    clip_center: Tensor
    token_center: Tensor

    def __init__(self, config: DistillConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.prototypes = nn.Linear(shape.encoder.dim, config.prototypes, bias=False)
        self.head = nn.Linear(shape.encoder.dim, shape.encoder.dim)
        self.register_buffer("clip_center", torch.zeros(config.prototypes))
        self.register_buffer("token_center", torch.zeros(config.prototypes))

    def forward(self, step: Step) -> Outcome:
        assert step.teacher is not None
        frames = step.encoder.normalized(step.frames).detach()
        states = step.encoder.context(step.encoder.latents(frames.masked_fill(hide(frames, self.config), 0.0)))[-1]
        with torch.no_grad():
            seen = step.teacher.context(step.teacher.latents(frames))[-1]
            clip_target, token_target = self._scores(seen.mean(1)), self._scores(seen.flatten(0, 1))
        per_clip = self_distillation(self._student(states.mean(1)), clip_target, self.clip_center)
        if self.config.local:
            tokens = self_distillation(self._student(states.flatten(0, 1)), token_target, self.token_center)
            per_clip = per_clip + self.config.local * tokens.view(len(states), -1).mean(1)
        if self.training:
            self.clip_center.lerp_(clip_target.mean(0), 1 - CENTER_DECAY)
            self.token_center.lerp_(token_target.mean(0), 1 - CENTER_DECAY)
        return Outcome(per_clip.mean(), per_clip)

    def _student(self, states: Tensor) -> Tensor:
        return self._scores(states + self.head(states))

    def _scores(self, states: Tensor) -> Tensor:
        return unit(states.float()) @ unit(self.prototypes.weight.float()).T
