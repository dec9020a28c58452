"""Convert the captions of a batch to token ids."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.encoders.text import TextConfig
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.train.config import DataConfig

KEPT_TEXTS: Final = 100_000


class Tokens:
    """The tokenizer of the system's text towers, padded as the recipe says."""

    def __init__(self, text: TextConfig | None, data: DataConfig) -> None:
        if text is None:
            raise ConfigError("data.fields.text: the recipe's system has no text tower")
        self.text, self.full = text, data.pad_text == "full"
        self.tokenizer = tokenizer_of(text)

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask, each (len(texts), L)."""
        tokens = self.tokenizer(texts)
        width = self.text.max_tokens - tokens.ids.shape[1] if self.full else 0
        pad = torch.nn.functional.pad
        return pad(tokens.ids, (0, width), value=self.text.pad_id), pad(tokens.mask, (0, width))


@lru_cache(maxsize=4)
def tokenizer_of(text: TextConfig) -> Tokenizer:
    """Return the tokenizer of a text tower, one per process. It keeps the ids of captions."""
    return Tokenizer(
        load_backend(text.tokenizer),
        special=text.special_tokens,
        max_tokens=text.max_tokens,
        pad_id=text.pad_id,
        suffix=text.suffix,
        keep=KEPT_TEXTS,
    )
