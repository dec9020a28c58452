"""BERT in plain torch: what training of sentence vectors needs beyond `encoders.text`.

The tensors have the names of transformers, so pretrained weights load, and a trained encoder is written as a folder
that transformers opens. Unlike the encoder of transformers it takes a prefix of vectors, another dropout per call, and
returns all layers and attention weights without another implementation.

Legend: B texts, L tokens, P positions of a prefix, D width, H heads, V vocabulary.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, scaled_dot_product_attention

from aural.core.errors import ConfigError
from aural.encoders.text import TextConfig


class BertFeatures(NamedTuple):
    """The output of `Bert`, without the positions of a prefix except in `attention`.

    pooled: (B, D), mean over the tokens that are not padding, or the first token with pooling "cls". tokens: last
    hidden states (B, L, D). mask: (B, L). layers: the input of the first layer and the output of each layer, depth + 1
    tensors (B, L, D). attention: weights per layer (B, H, P + L, P + L); empty unless requested.
    """

    pooled: Tensor
    tokens: Tensor
    mask: Tensor
    layers: tuple[Tensor, ...]
    attention: tuple[Tensor, ...] = ()


class Bert(nn.Module):
    """A BERT encoder with post-norm layers and exact GELU (Devlin et al. 2019, arXiv 1810.04805).

    rate: dropout of embeddings, attention weights and sublayers in training.
    """

    def __init__(self, config: TextConfig, rate: float = 0.1) -> None:
        super().__init__()
        if config.architecture != "bert" or config.pooling not in ("mean", "cls"):
            raise ConfigError('text: sentence vectors need architecture "bert" with pooling "mean" or "cls"')
        self.config, self.dim, self.rate = config, config.dim, rate
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(config.depth))})
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    @property
    def words(self) -> Tensor:
        """The word vectors (V, D), which output layers over the vocabulary may share."""
        return self.embeddings.word_embeddings.weight

    def embed(self, ids: Tensor) -> Tensor:
        """Return the word vectors (B, L, D) of token ids, before positions are added."""
        vectors: Tensor = self.embeddings.word_embeddings(ids)
        return vectors

    def forward(
        self,
        ids: Tensor | None,
        mask: Tensor,
        *,
        embedded: Tensor | None = None,
        prefix: Tensor | None = None,
        rate: float | None = None,
        attention: bool = False,
    ) -> BertFeatures:
        """Return the features of texts (B, L).

        embedded: word vectors (B, L, D) that replace those of `ids`. prefix: vectors (P, D) or (B, P, D) in front of
        every text. rate: dropout of this call. attention: also return the attention weights.
        """
        if embedded is None:
            assert ids is not None
            embedded = self.embed(ids)
        rate = (self.rate if rate is None else rate) if self.training else 0.0
        seen, before = mask, 0
        if prefix is not None:
            before = prefix.shape[-2]
            embedded = torch.cat([prefix.expand(len(mask), before, -1), embedded], 1)
            seen = torch.cat([mask.new_ones(len(mask), before), mask], 1)
        x = dropout(self.embeddings(embedded), rate)
        layers, weights = [x], []
        visible = seen[:, None, None, :].bool()
        for layer in self.encoder["layer"]:  # type: ignore[attr-defined]
            x, attended = layer(x, visible, rate, attention)
            layers.append(x)
            weights.append(attended)
        layers = [one[:, before:] for one in layers]
        tokens = layers[-1]
        pooled = tokens[:, 0] if self.config.pooling == "cls" else mean_over(tokens, mask)
        return BertFeatures(pooled, tokens, mask, tuple(layers), tuple(weights) if attention else ())


class Embeddings(nn.Module):
    """The sum of word vectors, positions and the first token type, normalized."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.position_embeddings = nn.Embedding(config.positions, config.dim)
        self.token_type_embeddings = nn.Embedding(config.token_types, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim, eps=config.layer_norm_eps)

    def forward(self, embedded: Tensor) -> Tensor:
        positions = self.position_embeddings.weight[: embedded.shape[1]]
        normed: Tensor = self.LayerNorm(embedded + self.token_type_embeddings.weight[0] + positions)
        return normed


class Layer(nn.Module):
    """One layer: attention and a perceptron, each added to its input and then normalized."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": Attention(config), "output": Added(config.dim, config)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.dim, config.hidden_dim)})
        self.output = Added(config.hidden_dim, config)

    def forward(self, x: Tensor, visible: Tensor, rate: float, weights: bool) -> tuple[Tensor, Tensor | None]:
        attended, weight = self.attention["self"](x, visible, rate, weights)
        x = self.attention["output"](attended, x, rate)
        return self.output(gelu(self.intermediate["dense"](x)), x, rate), weight


class Added(nn.Module):
    """A linear layer whose output is added to another tensor and normalized."""

    def __init__(self, width: int, config: TextConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, to: Tensor, rate: float) -> Tensor:
        added: Tensor = self.LayerNorm(dropout(self.dense(x), rate) + to)
        return added


class Attention(nn.Module):
    """Attention of every position to the visible ones, in `heads` heads."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query, self.key, self.value = (nn.Linear(config.dim, config.dim) for _ in range(3))

    def forward(self, x: Tensor, visible: Tensor, rate: float, weights: bool) -> tuple[Tensor, Tensor | None]:
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        weight = None
        if weights:
            scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
            weight = scores.masked_fill(~visible, float("-inf")).softmax(-1)
            out = dropout(weight, rate) @ v
        else:
            out = scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=rate)
        return out.transpose(1, 2).flatten(2), weight


def mean_over(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean (B, D) of states (B, L, D) where the mask (B, L) is 1."""
    weight = mask[..., None].to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1).clamp_min(1e-9)
