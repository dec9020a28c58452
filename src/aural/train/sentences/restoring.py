"""Words as supervision of the sentence vector: restore a sentence from it, and detect edited words given it.

Legend: B texts, L tokens, D width.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from aural.core.config import Config
from aural.encoders.tokenize import Tokens
from aural.nn.vector_decoder import VectorDecoder, continuous_noise
from aural.objectives.sentences.restore import mask_words, replaced, restored, sampled_words
from aural.train.sentences.base import TOGGLES, Shape, Step, Toggle

Rate = Annotated[float, Field(gt=0, lt=1)]


def ordinary(tokens: Tokens, step: Step) -> Tensor:
    """Return which tokens (B, L) are words: no padding, no special tokens."""
    return ~torch.isin(tokens.ids, tokens.ids.new_tensor(step.special.all))


class Words(nn.Module):
    """A head from states (B, L, D) to word logits (B, L, V) that shares the word vectors of the encoder."""

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(words))

    def forward(self, states: Tensor, words: Tensor) -> Tensor:
        logits: Tensor = self.norm(nn.functional.gelu(self.dense(states))) @ words.T + self.bias
        return logits


class DenoiseConfig(Config):
    """Options of the denoising loss."""

    discrete: Rate = 0.5
    """Share of masked words in the decoder's input."""
    continuous: Rate = 0.8
    """Share of zeroed numbers in the decoder's word vectors."""
    depth: Annotated[int, Field(ge=1)] = 1


@TOGGLES.register("denoise")
class Denoise(Toggle):
    """Restore a sentence from its vector and a version with discrete and continuous noise.

    Source: Wang et al. 2024, DenoSent (arXiv 2401.13621), section 3.
    """

    config_type = DenoiseConfig
    config: DenoiseConfig

    def __init__(self, config: DenoiseConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.decoder = VectorDecoder(shape.text.dim, shape.text.dim, depth=config.depth)
        self.head = Words(shape.text.dim, shape.text.vocab_size)

    def forward(self, step: Step) -> dict[str, Tensor]:
        tokens = step.tokens([example.text for example in step.examples])
        words = ordinary(tokens, step)
        noisy, _ = mask_words(tokens.ids, words, mask_id=step.special.mask, share=self.config.discrete)
        embedded = continuous_noise(step.bert.embed(noisy).detach(), self.config.continuous)
        places = step.bert.embeddings.position_embeddings.weight[: noisy.shape[1]].detach()
        states = self.decoder(step.vectors(tokens), embedded + places, tokens.mask)
        return {"loss": restored(self.head(states, step.bert.words.detach()), tokens.ids, words)}


class BottleneckConfig(Config):
    """Options of the bottleneck."""

    encoder: Rate = 0.3
    """Share of replaced words in the encoder's input."""
    decoder: Rate = 0.5
    """Share of replaced words in the decoder's input."""
    depth: Annotated[int, Field(ge=1)] = 1


@TOGGLES.register("bottleneck")
class Bottleneck(Toggle):
    """Restore replaced words from the encoder's states, and more of them from a shallow decoder and the vector.

    A frozen copy of the start encoder with a head that learns along proposes the replacements.

    Source: Wang et al. 2022, SimLM (arXiv 2207.02578), section 3.1. The vector is the mean of the states, not the first
    token.
    """

    config_type = BottleneckConfig
    config: BottleneckConfig
    second = "frozen"

    def __init__(self, config: BottleneckConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        width, words = shape.text.dim, shape.text.vocab_size
        self.decoder = VectorDecoder(width, width, depth=config.depth)
        self.generator, self.encoder_head, self.decoder_head = (Words(width, words) for _ in range(3))

    def forward(self, step: Step) -> dict[str, Tensor]:
        tokens = step.tokens([example.text for example in step.examples])
        words = ordinary(tokens, step)
        shares = (self.config.encoder, self.config.decoder)
        of_generator, inputs = proposals(step, tokens, words, self.generator, shares)
        features = step.encode(Tokens(inputs[0], tokens.mask, tokens.cut))
        table = step.bert.words
        of_encoder = restored(self.encoder_head(features.tokens, table), tokens.ids, words)
        places = step.bert.embeddings.position_embeddings.weight[: tokens.ids.shape[1]]
        states = self.decoder(features.pooled, step.bert.embed(inputs[1]) + places, tokens.mask)
        of_decoder = restored(self.decoder_head(states, table), tokens.ids, words)
        return {"loss": of_generator + of_encoder + of_decoder, "decoder": of_decoder}


def proposals(
    step: Step, tokens: Tokens, words: Tensor, head: Words, shares: tuple[float, ...]
) -> tuple[Tensor, list[Tensor]]:
    """Mask words, predict them with the frozen encoder and `head`; return the head's loss and the sampled ids."""
    assert step.second is not None
    loss, inputs = tokens.ids.new_zeros((), dtype=torch.float32), []
    for share in shares:
        masked, where = mask_words(tokens.ids, words, mask_id=step.special.mask, share=share)
        with torch.no_grad():
            states = step.second(masked, tokens.mask).tokens
        logits = head(states, step.second.words)
        loss = loss + restored(logits, tokens.ids, where)
        inputs.append(sampled_words(logits.detach(), where, tokens.ids))
    return loss, inputs


class EditsConfig(Config):
    """Options of the detection of edits."""

    share: Rate = 0.3
    """Share of the words that the generator replaces."""
    depth: Annotated[int, Field(ge=1)] = 1


@TOGGLES.register("edits")
class Edits(Toggle):
    """Detect which words of an edited sentence differ from the original, given the vector of the original.

    Add it to `simcse`. A frozen copy of the start encoder with a head that learns along edits the sentence.

    Source: Chuang et al. 2022, DiffCSE (arXiv 2204.10298), section 3. The discriminator is a shallow decoder over the
    frozen word vectors; the paper's is a second BERT.
    """

    config_type = EditsConfig
    config: EditsConfig
    second = "frozen"

    def __init__(self, config: EditsConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        width = shape.text.dim
        self.generator = Words(width, shape.text.vocab_size)
        self.decoder, self.head = VectorDecoder(width, width, depth=config.depth), nn.Linear(width, 1)

    def forward(self, step: Step) -> dict[str, Tensor]:
        tokens = step.tokens([example.text for example in step.examples])
        words = ordinary(tokens, step)
        of_generator, (edited,) = proposals(step, tokens, words, self.generator, (self.config.share,))
        assert step.second is not None
        places = step.second.embeddings.position_embeddings.weight[: edited.shape[1]]
        states = self.decoder(step.vectors(tokens), step.second.embed(edited) + places, tokens.mask)
        loss = replaced(self.head(states)[..., 0], edited, tokens.ids, words)
        return {"loss": loss + of_generator, "detection": loss}
