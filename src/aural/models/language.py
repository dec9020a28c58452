"""Frozen language models that never saw a sound, from installed packages: states of tokens and vectors of texts.

    minilm    all-MiniLM-L6-v2: 6 bidirectional layers of width 384 (10.6 M weights without the table of tokens), tuned
              on pairs of sentences; a text is the mean over its tokens
    smollm2   SmolLM2-135M-Instruct: 30 decoder-only layers of width 576 (106.2 M weights without the table of tokens);
              a text is the state of its last token, the only one that saw all others

Legend: B texts, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from aural.core.registry import Registry
from aural.encoders.text import TEXT_TOWERS, TextEncoder
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models.gguf_files import dtype_option, gguf_options
from aural.models.packaged import MINILM, SMOLLM2
from aural.models.prefix import strip_prefix

Pooled: TypeAlias = Literal["mean", "last-token"]
Tokenize: TypeAlias = Callable[[Sequence[str]], tuple[Tensor, Tensor]]
BATCH = 32


@dataclass(frozen=True)
class LanguageModel:
    """A language model in evaluation mode. Texts are padded on the right."""

    tokenize: Tokenize
    """Texts to token ids and mask, both (B, L)."""
    layers: Callable[[Tensor, Tensor], Sequence[Tensor]]
    """Ids and mask to the states (B, L, D) after the table of tokens and after each layer."""
    pooling: Pooled
    dim: int
    module: nn.Module = field(repr=False)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], *, layer: int = -1) -> Tensor:
        """Return one vector per text (B, D) in float32, not normalized: the pooled states after a layer."""
        vectors = torch.empty(len(texts), self.dim)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # texts of like length need little padding
        for first in range(0, len(texts), BATCH):
            places = order[first : first + BATCH]
            ids, mask = self.tokenize([texts[i] for i in places])
            vectors[places] = pool(self.layers(ids, mask)[layer].float(), mask, self.pooling)
        return vectors


def pool(states: Tensor, mask: Tensor, pooling: Pooled) -> Tensor:
    """Pool states (B, L, D) over the tokens with mask 1, which are on the left.

    >>> states, mask = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]])
    >>> pool(states, mask, "mean").item(), pool(states, mask, "last-token").item()
    (2.0, 3.0)
    """
    if pooling == "last-token":
        return states[torch.arange(len(states)), mask.sum(1) - 1]
    weight = mask[..., None].to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1)


LANGUAGE_MODELS: Registry[Callable[[int | None], LanguageModel]] = Registry("language model")
"""Name -> function of the seed of random weights; None: the pretrained weights."""


@LANGUAGE_MODELS.register("minilm")
def minilm(random_seed: int | None = None) -> LanguageModel:
    """Load MiniLM, or the same network with random weights.

    Raises:
        MissingDependencyError: the package with the weights is not installed.
    """
    config = TEXT_TOWERS["minilm"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_seed or 0)
        encoder = TextEncoder(config).eval()
    if random_seed is None:
        holder: Any = SimpleNamespace(text=config)
        encoder.load_state_dict(strip_prefix(MINILM.tensors(holder), "text.encoder."))
    backend = load_backend(config.tokenizer)
    tokenizer = Tokenizer(backend, special=config.special_tokens, max_tokens=config.max_tokens, pad_id=config.pad_id)

    def tokenize(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens = tokenizer(texts)
        return tokens.ids, tokens.mask

    def layers(ids: Tensor, mask: Tensor) -> Sequence[Tensor]:
        inner = encoder(ids, mask, layers=True).layers
        assert inner is not None
        return inner

    return LanguageModel(tokenize, layers, "mean", config.dim, encoder)


@LANGUAGE_MODELS.register("smollm2")
def smollm2(random_seed: int | None = None) -> LanguageModel:
    """Load SmolLM2, or the same network with random weights.

    Raises:
        MissingDependencyError: the package with the weights, gguf or accelerate is not installed.
    """
    file = gguf_options(SMOLLM2.path())
    from transformers import AutoConfig, AutoModel

    tokenizer = _smollm2_tokenizer()
    if random_seed is None:
        model = AutoModel.from_pretrained(**file, **dtype_option(torch.float32))
    else:
        config = AutoConfig.from_pretrained(**file)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed)
            model = AutoModel.from_config(config)
    model.eval()

    def tokenize(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens = tokenizer(list(texts), return_tensors="pt", padding=True)
        return tokens.input_ids, tokens.attention_mask

    def layers(ids: Tensor, mask: Tensor) -> Sequence[Tensor]:
        states: Sequence[Tensor] = model(
            input_ids=ids, attention_mask=mask, use_cache=False, output_hidden_states=True
        ).hidden_states
        return states

    return LanguageModel(tokenize, layers, "last-token", int(model.config.hidden_size), model)


@cache
def _smollm2_tokenizer() -> Any:
    """Open the tokenizer, which takes a second."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(**gguf_options(SMOLLM2.path()), padding_side="right")
