"""Masked language modeling: the start of encoders that begin with random weights, and a regularizer of others."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear

from aural.core.config import Config
from aural.train.sentences.base import TOGGLES, Shape, Special, Step, Toggle


class MaskedConfig(Config):
    """Options of masked language modeling."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the tokens that are predicted."""
    related: bool = False
    """Also read the paraphrases of each example."""


@TOGGLES.register("mlm")
class Masked(Toggle):
    """Predict masked tokens (Devlin et al. 2019, arXiv 1810.04805).

    Of the chosen tokens 80% become [MASK], 10% a random word, and 10% stay. The output layer shares the word vectors.
    """

    config_type = MaskedConfig
    config: MaskedConfig

    def __init__(self, config: MaskedConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.dense = nn.Linear(shape.text.dim, shape.text.dim)
        self.norm = nn.LayerNorm(shape.text.dim)
        self.bias = nn.Parameter(torch.zeros(shape.text.vocab_size))

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts = [example.text for example in step.examples]
        if self.config.related:
            texts += [text for example in step.examples for text in example.paraphrases[:1]]
        tokens = step.tokens(texts)
        ids, chosen = mask_tokens(tokens.ids, step.special, step.bert.config.vocab_size, self.config.share)
        states = step.bert(ids, tokens.mask).tokens
        return {"loss": self.loss(states, tokens.ids, chosen, step.bert.words)}

    def loss(self, states: Tensor, ids: Tensor, chosen: Tensor, words: Tensor) -> Tensor:
        """Return the mean cross-entropy of the true ids (B, L) at the chosen places of hidden states (B, L, D)."""
        logits = linear(self.norm(gelu(self.dense(states[chosen]))), words, self.bias)
        return cross_entropy(logits.float(), ids[chosen]) if len(logits) else states.sum() * 0.0


def mask_tokens(ids: Tensor, special: Special, words: int, share: float) -> tuple[Tensor, Tensor]:
    """Return masked ids (B, L) and which places (B, L) are to be predicted; special tokens are never chosen.

    Random choices come from torch's current generator.
    """
    ordinary = ~torch.isin(ids, ids.new_tensor(special.all))
    draw = torch.rand(ids.shape, device=ids.device)
    chosen = ordinary & (draw < share)
    masked = torch.where(chosen & (draw < 0.8 * share), torch.full_like(ids, special.mask), ids)
    random = chosen & (draw >= 0.8 * share) & (draw < 0.9 * share)
    return torch.where(random, torch.randint_like(ids, words), masked), chosen
