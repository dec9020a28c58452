"""Convert the captions of a batch to token ids."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.encoders.packed import Packed, pack
from aural.encoders.text import TextConfig
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.train.config import DataConfig

KEPT_TEXTS: Final = 100_000
ROWS: Final = 4  # the number of packed rows is a multiple of this, so that few shapes occur


class Tokens:
    """The tokenizer of the system's text towers, padded as the recipe says."""

    def __init__(self, text: TextConfig | None, data: DataConfig) -> None:
        if text is None:
            raise ConfigError("data.fields.text: the recipe's system has no text tower")
        self.text, self.full = text, data.pad_text == "full"
        self.width = data.pack_text
        if self.width and self.width < text.max_tokens:
            raise ConfigError(
                f"data.pack_text is {self.width}, but a caption can have {text.max_tokens} tokens; set it to "
                f"{text.max_tokens} or more"
            )
        self.tokenizer = tokenizer_of(text)

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask, each (len(texts), L)."""
        tokens = self.tokenizer(texts)
        width = self.text.max_tokens - tokens.ids.shape[1] if self.full else 0
        pad = torch.nn.functional.pad
        return pad(tokens.ids, (0, width), value=self.text.pad_id), pad(tokens.mask, (0, width))

    def packed(self, texts: list[str]) -> tuple[Tensor, Packed]:
        """Return ids (R, W) of the texts packed into rows of `data.pack_text` tokens, and their places."""
        tokens = self.tokenizer(texts)
        return pack(tokens.ids, tokens.mask, width=self.width, pad_id=self.text.pad_id, multiple=ROWS)


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
