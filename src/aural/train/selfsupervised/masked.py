"""Predict what was hidden: the quantized latents by contrast, or tokens by classification."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from aural.core.config import Config
from aural.nn.code_usage import code_perplexity
from aural.nn.masking import span_mask
from aural.objectives.predictive.masked_contrast import masked_contrast
from aural.objectives.predictive.masked_tokens import token_loss
from aural.train.selfsupervised.base import PRETEXTS, Outcome, Pretext, Shape, Step
from aural.train.selfsupervised.next_step import added

Share = Annotated[float, Field(gt=0, lt=1)]


class MaskConfig(Config):
    """Options of masks and of the layer that predicts."""

    share: Share = 0.5
    """Share of masked tokens if spans did not overlap."""
    span: Annotated[int, Field(ge=1)] = 5
    """Tokens per span."""
    layer: Annotated[int, Field(ge=0)] = 0
    """Layer of the context network that predicts, from 1; 0: the last."""


def masked_layer(step: Step, config: MaskConfig) -> tuple[Tensor, Tensor]:
    """Return the predicting layer (B, T, D) of masked latents, and the mask (B, T)."""
    latents = step.latents
    mask = span_mask(*latents.shape[:2], share=config.share, span=config.span, device=latents.device)
    return step.encoder.context(latents, mask)[config.layer - 1], mask


class MaskedContrastConfig(MaskConfig):
    """Options of masked contrast."""

    temperature: Annotated[float, Field(gt=0)] = 0.1
    diversity: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the even use of the codes."""
    quantized: bool = True
    """False: the targets are the latents themselves, without gradient."""


@PRETEXTS.register("masked-contrast")
class MaskedContrast(Pretext):
    """Choose the quantized latents of masked tokens among those of other masked tokens of the clip.

    Source: Baevski et al. 2020, wav2vec 2.0 (arXiv 2006.11477), section 3.
    """

    config_type = MaskedContrastConfig
    config: MaskedContrastConfig

    def __init__(self, config: MaskedContrastConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.head = nn.Linear(shape.encoder.dim, shape.encoder.dim)
        self.target = nn.Linear(shape.encoder.dim, shape.encoder.dim)

    def forward(self, step: Step) -> Outcome:
        states, mask = masked_layer(step, self.config)
        codes = step.codes if self.config.quantized else None
        targets = step.latents.detach() if codes is None else self.target(codes.vectors)
        per_clip, accuracy = masked_contrast(self.head(states), targets, mask, temperature=self.config.temperature)
        scalars = {"accuracy": accuracy}
        if codes is None:
            return Outcome(per_clip.mean(), per_clip, scalars)
        scalars["perplexity"] = code_perplexity(codes.ids, step.quantizer.codes)  # type: ignore[union-attr, arg-type]
        return Outcome(per_clip.mean() + added(codes, self.config.diversity), per_clip, scalars)


class MaskedTokensConfig(MaskConfig):
    """Options of masked tokens."""

    source: Literal["tokenizer", "quantizer"] = "tokenizer"
    """quantizer: predict the codes that another pretext task learns (w2v-BERT)."""


@PRETEXTS.register("masked-tokens")
class MaskedTokens(Pretext):
    """Classify the tokens of masked frames, in every codebook.

    Source: HuBERT (arXiv 2106.07447); Chung et al. 2021, w2v-BERT (arXiv 2108.06209), section 2.2; BEATs (arXiv
    2212.09058).
    """

    config_type = MaskedTokensConfig
    config: MaskedTokensConfig

    def __init__(self, config: MaskedTokensConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.groups, self.codes = shape.tokens if config.source == "tokenizer" else shape.codes
        self.head = nn.Linear(shape.encoder.dim, self.groups * self.codes)

    def forward(self, step: Step) -> Outcome:
        states, mask = masked_layer(step, self.config)
        ids = step.tokens if self.config.source == "tokenizer" else step.codes.ids
        logits = self.head(states).unflatten(-1, (self.groups, self.codes))
        per_clip, accuracy = token_loss(logits, ids, mask)
        return Outcome(per_clip.mean(), per_clip, {"accuracy": accuracy})
