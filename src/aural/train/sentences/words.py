"""Word vectors to start a small encoder from: those of MiniLM's word pieces, reduced to the width of the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from aural.core.errors import CheckpointError
from aural.encoders.text import TextConfig
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models.packaged import MINILM
from aural.models.weight_files import read_safetensors
from aural.train.start import PACKAGED

SPREAD: Final = 0.05
"""Standard deviation of the values; that of random start weights is 0.02."""
NAME: Final = "words"


def word_vectors(text: TextConfig, tokenizer: Tokenizer, source: str) -> Tensor:
    """Return the word vectors (V, D) of an encoder from MiniLM ("packaged-minilm") or from a safetensors file.

    A vocabulary entry has the mean of MiniLM's input vectors of its word pieces. The entries are centered and reduced
    to D principal components, whose common scale is `SPREAD`.

    Raises CheckpointError where the file holds no tensor "words" of this shape.
    """
    if source == PACKAGED:
        return packaged_words(tokenizer, text.vocab_size, text.dim)
    state = read_safetensors(Path(source))
    if NAME not in state or tuple(state[NAME].shape) != (text.vocab_size, text.dim):
        shape = f"({text.vocab_size}, {text.dim})"
        raise CheckpointError(f'system.words: {source} holds no tensor "{NAME}" of shape {shape}; write it again')
    return state[NAME].float()


def packaged_words(tokenizer: Tokenizer, entries: int, dim: int) -> Tensor:
    """Return the reduced vectors (entries, dim) of the vocabulary of a tokenizer."""
    table = read_safetensors(MINILM.path())["embeddings.word_embeddings.weight"].double()
    pieces = load_backend("bert-base-uncased")
    rows = []
    for number in range(entries):
        entry = tokenizer.backend.id_to_token(number) or "[UNK]"
        piece = pieces.token_to_id(entry)
        ids = [piece] if piece is not None else pieces.encode(entry, add_special_tokens=False).ids
        rows.append(table[ids].mean(0))
    vectors = torch.stack(rows)
    vectors = vectors - vectors.mean(0)
    left, spread, _ = torch.linalg.svd(vectors, full_matrices=False)
    reduced = left[:, :dim] * spread[:dim]
    return (reduced * (SPREAD / reduced.std())).float()
