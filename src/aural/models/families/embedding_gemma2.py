"""EmbeddingGemma 2 through transformers' classes (Google, 2026; transformers 5.2x): its text and audio sides.

Sounds: 16 kHz, at most 30 s; log-mels of the folder's feature extractor; one placeholder token per 40 ms between the
tokens that begin and end a sound. Texts: the folder's tokenizer. Both are the mean of the language model's last states,
of 768 dimensions in the published model, of which a first part is a vector too (Matryoshka). The image side is not
built. Prompts are the caller's: texts are embedded as given.

Legend: N items, T samples, L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aural.core.errors import CheckpointError
from aural.encoders.tokenize import Tokenizer
from aural.models.families.base import FOLDERS, FamilyModel, OpenOptions, Traits, transformers_class
from aural.models.weight_files import folder_tensors

WINDOW_S = 30.0
RATE_HZ = 16000


class EmbeddingGemma2(FamilyModel):
    """A model of the family; the audio tower is built when the first sound is embedded."""

    def __init__(self, folder: Path, values: Mapping[str, Any], options: OpenOptions) -> None:
        self.config = transformers_class("EmbeddingGemma2Config").from_dict(dict(values))
        self.folder = folder
        self.state = {name.removeprefix("model."): tensor for name, tensor in folder_tensors(folder).items()}
        embed_dim = int(self.config.text_config.embedding_dim)
        super().__init__(Traits(embed_dim=embed_dim, sample_rate_hz=RATE_HZ, window_s=WINDOW_S), options)

    @cached_property
    def language(self) -> Any:
        """The language model with its projection, without the towers of other inputs."""
        model, config = transformers_class("EmbeddingGemma2TextModel"), self.config.text_config
        return self.filled(lambda: model(config), self.state, "language_model.", str(self.folder))

    @cached_property
    def audio_tower(self) -> nn.Module:
        auto, config = transformers_class("AutoModel"), self.config.audio_config
        if config is None:
            raise CheckpointError(f"{self.folder}: has no audio tower; it embeds texts only")
        return self.filled(lambda: auto.from_config(config), self.state, "audio_tower.", str(self.folder))

    @cached_property
    def audio_embedder(self) -> nn.Module:
        from transformers.models.embedding_gemma2.modeling_embedding_gemma2 import EmbeddingGemma2MultimodalEmbedder

        configs = (self.config.audio_config, self.config.text_config)
        return self.filled(
            lambda: EmbeddingGemma2MultimodalEmbedder(*configs), self.state, "embed_audio.", str(self.folder)
        )

    @cached_property
    def extractor(self) -> Any:
        """The feature extractor of the folder."""
        return transformers_class("AutoFeatureExtractor").from_pretrained(self.folder)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The folder's tokenizer, which adds the tokens that open and close a text."""
        return self.folder_tokenizer(self.folder, self.config.text_config)

    def text_rows(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(texts)
        ids, mask = tokens.ids.to(self.device), tokens.mask.to(self.device)
        return self._pooled(self.language.get_input_embeddings()(ids), mask)

    def audio_rows(self, waves: Tensor) -> Tensor:
        sounds = [wave.cpu().numpy() for wave in waves]
        features = self.extractor(sounds, sampling_rate=RATE_HZ, return_tensors="pt")
        mels, frames = features["input_features"].to(self.device), features["input_features_mask"].to(self.device)
        out = self.audio_tower(mels, frames, return_dict=True)
        states, valid = self.audio_embedder(inputs_embeds=out.last_hidden_state), out.attention_mask
        ids = self._placeholders(valid.sum(1).tolist()).to(self.device)  # (N, L)
        place = ids == self.config.audio_token_id
        embeds = self.language.get_input_embeddings()(ids.masked_fill(place, self.config.text_config.pad_token_id))
        embeds = embeds.masked_scatter(place[..., None], states[valid].to(embeds.dtype))
        return self._pooled(embeds, torch.ones_like(ids))

    def _placeholders(self, counts: list[int]) -> Tensor:
        """Return the token ids of sounds of equal length: begin, one placeholder per state, end."""
        backend, config = self.tokenizer.backend, self.config
        numbers = (config.boa_token_id, config.audio_token_id, config.eoa_token_index)
        begin, place, end = (backend.id_to_token(number) for number in numbers)
        if begin is None or place is None or end is None:
            raise CheckpointError(f"{self.folder}: its tokenizer has no tokens {numbers} for sounds; download it again")
        rows = [self.tokenizer.ids(f"{begin}{place * count}{end}") for count in counts]
        return torch.from_numpy(np.asarray(rows, np.int64))

    def _pooled(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of the last states (N, L, E) over the tokens of the mask."""
        states = self.language(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        weight = mask[..., None].to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1)


@FOLDERS.register("embedding_gemma2")
def open_embedding_gemma2(folder: Path, values: Mapping[str, Any], options: OpenOptions) -> EmbeddingGemma2:
    """Open a folder of EmbeddingGemma2Model; `values` is the content of its config.json."""
    return EmbeddingGemma2(folder, values, options)
