"""Tokenizers and start weights of text encoders that learn sentence vectors."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from torch import Tensor

from aural.core.errors import CheckpointError
from aural.encoders.text import TextConfig, text_layout
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models.packaged import MINILM
from aural.models.weight_files import read_safetensors
from aural.train.start import PACKAGED
from aural.train.tokens import KEPT_TEXTS

WORLD_TOKENIZER: Final = "text-world"
"""The tokenizer of a recipe over the closed vocabulary of the text world (`aural.data.text.vocabulary`)."""


@lru_cache(maxsize=4)
def sentence_tokenizer(text: TextConfig, init: str = "random") -> Tokenizer:
    """Return the tokenizer of a text encoder: that of the start folder, of the text world, or of its name.

    It keeps the ids of the texts that it has seen.
    """
    folder = Path(init) if init not in ("random", PACKAGED) else None
    if folder is None and text.tokenizer == WORLD_TOKENIZER:
        from aural.data.text.vocabulary import world_backend

        backend = world_backend()
    else:
        backend = load_backend(text.tokenizer, folder)
    return Tokenizer(
        backend, special=text.special_tokens, max_tokens=text.max_tokens, pad_id=text.pad_id, keep=KEPT_TEXTS
    )


def start_weights(text: TextConfig, init: str) -> dict[str, Tensor]:
    """Return every tensor of the encoder from the package of MiniLM or from the model folder of an earlier run.

    Raises CheckpointError where a tensor is missing or has another shape than the config says.
    """
    file = MINILM.path() if init == PACKAGED else Path(init) / "model.safetensors"
    if not file.is_file():
        raise CheckpointError(f"system.init: {init} holds no model.safetensors; name the model folder of a run")
    state = read_safetensors(file)
    for name, shape in text_layout(text).items():
        if name not in state or tuple(state[name].shape) != shape:
            raise CheckpointError(f"{file}: {name} is missing or has another shape than system.text; copy its sizes")
    return {name: state[name].float() for name in text_layout(text)}
