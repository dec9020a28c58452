"""The contract of an objective for sentence vectors.

A toggle is one objective, view or regularizer. It sees the examples of a batch and the encoder, encodes what it needs,
and returns a loss. A recipe names a weighted list of them:
`system.toggles: [{name: simcse}, {name: mlm, weight: 0.1}]`.

Legend: B texts, L tokens, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from aural.core.config import Config
from aural.core.registry import Registry
from aural.data.text.example import Example
from aural.encoders.bert import Bert, BertFeatures
from aural.encoders.text import TextConfig
from aural.encoders.tokenize import Tokenizer, Tokens


@dataclass(frozen=True)
class Special:
    """Ids of the special tokens."""

    pad: int
    cls: int
    sep: int
    mask: int
    unk: int

    @property
    def all(self) -> tuple[int, ...]:
        return (self.pad, self.cls, self.sep, self.mask, self.unk)


@dataclass(frozen=True)
class Shape:
    """The arguments of a toggle's constructor."""

    text: TextConfig
    tokenizer: Tokenizer
    bert: Bert
    """The encoder with its start weights, to copy from. A toggle must not keep it: `Step.bert` is the encoder."""

    @property
    def special(self) -> Special:
        """Ids of the special tokens of the tokenizer."""
        names = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
        return Special(*(self.tokenizer.backend.token_to_id(name) or 0 for name in names))


@dataclass(frozen=True)
class Step:
    """The input of a toggle in one step.

    second: the frozen copy of the start weights or the exponential average, if the system has one; without gradient.
    rng: random choices of this step, a function of the seed and the step. number: steps before this one.
    """

    examples: Sequence[Example]
    bert: Bert
    second: Bert | None
    tokenizer: Tokenizer
    special: Special
    rng: np.random.Generator
    number: int
    device: torch.device

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Return ids and mask (B, L) of texts on the device."""
        tokens = self.tokenizer(texts)
        put = {"device": self.device, "non_blocking": True}
        return Tokens(tokens.ids.to(**put), tokens.mask.to(**put), tokens.cut)  # type: ignore[call-overload]

    def encode(self, texts: Sequence[str] | Tokens, **options: Any) -> BertFeatures:
        """Return the encoder's features of texts; options as in `Bert.forward`."""
        tokens = texts if isinstance(texts, Tokens) else self.tokens(texts)
        features: BertFeatures = self.bert(tokens.ids, tokens.mask, **options)
        return features

    def vectors(self, texts: Sequence[str] | Tokens) -> Tensor:
        """Return the pooled vectors (B, D) of texts."""
        return self.encode(texts).pooled

    def second_vectors(self, texts: Sequence[str] | Tokens) -> Tensor:
        """Return the pooled vectors (B, D) of the second encoder, in evaluation mode and without gradient."""
        assert self.second is not None
        tokens = texts if isinstance(texts, Tokens) else self.tokens(texts)
        with torch.no_grad():
            vectors: Tensor = self.second(tokens.ids, tokens.mask).pooled
        return vectors


class Toggle(nn.Module, ABC):
    """An objective of sentence vectors. Its parameters, such as heads, are trained with the encoder's."""

    config_type: ClassVar[type[Config]] = Config
    second: ClassVar[str] = ""
    """ "frozen" or "ema" if it needs a second encoder."""

    def __init__(self, config: Any, shape: Shape) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return "loss", a mean over what the toggle compares, and other scalars for the log."""

    def embed(self, step: Step, texts: Sequence[str]) -> Tensor | None:
        """Return the vectors (B, D) of texts at test time; None: the pooled vectors of the encoder."""
        return None


TOGGLES: Registry[type[Toggle]] = Registry("toggle")
