"""Predict the next steps of the latents by contrast: CPC, wav2vec, modified CPC and aligned CPC."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from aural.core.config import Config
from aural.objectives.predictive.aligned import aligned_loss
from aural.objectives.predictive.decorrelate import decorrelation_loss
from aural.objectives.predictive.next_step import next_step_loss
from aural.train.selfsupervised.base import PRETEXTS, Outcome, Pretext, Shape, Step

Count = Annotated[int, Field(ge=1)]
SCALE = 10.0
"""Multiplier of the cosines of predictions and targets."""


class NextStepConfig(Config):
    """Options of the prediction of next steps."""

    steps: Count = 6
    """Tokens ahead that are predicted; of aligned CPC, the window of future tokens."""
    predictions: Annotated[int, Field(ge=0)] = 0
    """Number of predictions that are aligned with the window; 0: one per step, without alignment."""
    predictor: Literal["linear", "transformer"] = "linear"
    """linear: a matrix per step (CPC). transformer: a causal layer before them (modified CPC)."""
    quantized: bool = False
    """Compare with the quantized latents (vq-wav2vec)."""
    decorrelation: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the decorrelation of the context."""
    diversity: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the even use of the codes."""


@PRETEXTS.register("next-step")
class NextStep(Pretext):
    """Choose the latents that follow among those of the clip, given the context so far.

    Formula: `next_step_loss`, or `aligned_loss` with `predictions`, over cosines times 10. With a context of both
    directions, the forward half predicts the next and the backward half the previous steps.

    Source: wav2vec (arXiv 1904.05862); vq-wav2vec (arXiv 1910.05453); Riviere et al. 2020, modified CPC (arXiv
    2002.02848), section 3.1; Chorowski et al. 2021, aligned CPC (arXiv 2104.11946); Borgholt et al. 2021, both
    directions (arXiv 2102.00850).
    """

    config_type = NextStepConfig
    config: NextStepConfig

    def __init__(self, config: NextStepConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        dim = shape.encoder.dim
        self.ways = 2 if shape.encoder.context == "two-ways" else 1
        width, self.count = dim // self.ways, config.predictions or config.steps
        self.heads = nn.ModuleList(nn.Linear(width, self.count * dim) for _ in range(self.ways))
        if config.predictor == "transformer":
            self.layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)

    def forward(self, step: Step) -> Outcome:
        codes = step.codes if self.config.quantized else None
        targets = step.latents if codes is None else codes.vectors
        parts = [self._way(part, targets, way) for way, part in enumerate(step.layers[-1].chunk(self.ways, -1))]
        per_clip = torch.stack([loss for loss, _ in parts]).mean(0)
        loss, scalars = per_clip.mean(), {}
        if self.config.predictions == 0:
            scalars["accuracy"] = torch.stack([hits for _, hits in parts]).mean()
        if codes is not None:
            loss = loss + added(codes, self.config.diversity)
        if self.config.decorrelation:
            loss = loss + self.config.decorrelation * decorrelation_loss(step.layers[-1].flatten(0, 1))
        return Outcome(loss, per_clip, scalars)

    def _way(self, context: Tensor, targets: Tensor, way: int) -> tuple[Tensor, Tensor]:
        """Return the loss per clip and the share of right choices in one direction of time."""
        if way == 1:
            context, targets = context.flip(1), targets.flip(1)
        if self.config.predictor == "transformer":
            T = context.shape[1]
            context = self.layer(context, src_mask=torch.ones(T, T, dtype=torch.bool, device=context.device).triu(1))
        predicted = self.heads[way](context).unflatten(-1, (self.count, -1))
        predicted, targets = SCALE * normalize(predicted, dim=-1), normalize(targets, dim=-1)
        if self.config.predictions:
            return aligned_loss(predicted, targets, self.config.steps), context.new_zeros(())
        return next_step_loss(predicted, targets)


def added(codes: object, diversity: float) -> Tensor:
    """Return the losses of a quantizer in addition to the task's: even use of its codes, and its distance to them."""
    from aural.nn.code_usage import diversity_loss
    from aural.nn.gumbel import Codes

    assert isinstance(codes, Codes)
    total = codes.vectors.new_zeros(())
    if codes.soft is not None and diversity:
        total = total + diversity * diversity_loss(codes.soft)
    return total if codes.loss is None else total + codes.loss
