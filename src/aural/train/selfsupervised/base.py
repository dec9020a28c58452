"""The contract of a pretext task of self-supervised encoders of sounds.

A pretext task sees the latents of a batch and the encoder, and returns a loss. A recipe names a weighted list of them:
`system.pretexts: [{name: masked-contrast}, {name: masked-tokens, weight: 0.5}]`.

Legend: B clips, N frames, F bands, T tokens, D width, G codebooks, V codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from aural.core.config import Config
from aural.core.registry import Registry
from aural.encoders.sequence import SequenceConfig, SequenceEncoder
from aural.nn.gumbel import Codes


@dataclass(frozen=True)
class Shape:
    """The arguments of a pretext task's constructor.

    bands: F, of the front end. tokens: (G, V) of the tokenizer, (0, 0) without one. codes: (G, V) of the quantizer that
    is trained with the encoder, (0, 0) without one.
    """

    encoder: SequenceConfig
    bands: int
    tokens: tuple[int, int]
    codes: tuple[int, int]


@dataclass(frozen=True)
class Step:
    """The input of a pretext task in one step.

    frames: output of the front end (B, N, F). quantizer: trained with the encoder, or None. tokenizer: gives the tokens
    of frames, or None. teacher: the averaged encoder, or None. batch: other tensors and lists of the batch.
    """

    frames: Tensor
    encoder: SequenceEncoder
    quantizer: nn.Module | None
    tokenizer: nn.Module | None
    teacher: SequenceEncoder | None
    inputs: nn.Module | None
    batch: Mapping[str, Any]

    @cached_property
    def latents(self) -> Tensor:
        """The latents (B, T, D); with discrete inputs, the embeddings of the tokens."""
        if self.inputs is None:
            return self.encoder.latents(self.frames)
        embedded: Tensor = self.inputs(self.tokens)
        return embedded

    @cached_property
    def codes(self) -> Codes:
        """The quantized latents."""
        assert self.quantizer is not None
        codes: Codes = self.quantizer(self.latents)
        return codes

    @cached_property
    def tokens(self) -> Tensor:
        """The tokens (B, T, G) of the tokenizer."""
        assert self.tokenizer is not None
        with torch.no_grad():
            tokens: Tensor = self.tokenizer(self.frames, self.batch)
        return tokens

    @cached_property
    def layers(self) -> list[Tensor]:
        """The layers of the context network without masks."""
        return self.encoder.context(self.latents)


@dataclass(frozen=True)
class Outcome:
    """The result of a pretext task: its loss, a mean; the loss per clip (B,) if it has one; and scalars for the log."""

    loss: Tensor
    per_clip: Tensor | None = None
    scalars: Mapping[str, Tensor] | None = None


class Pretext(nn.Module, ABC):
    """A pretext task. Its parameters, such as predictors, are trained with the encoder's."""

    config_type: ClassVar[type[Config]] = Config
    needs: ClassVar[Sequence[str]] = ()
    """What the system must have: "quantizer", "tokenizer", "teacher"."""
    fields: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Batch fields that the task reads in addition to the sounds."""

    def __init__(self, config: Any, shape: Shape) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, step: Step) -> Outcome:
        """Return the loss of a batch."""


PRETEXTS: Registry[type[Pretext]] = Registry("pretext task")
