"""GLAP: Dasheng on log-mels and the text encoder of SONAR, in one space of 1024 dimensions.

Dinkel et al. (2025), "GLAP: General contrastive audio-text pretraining across domains and languages",
arXiv 2506.11350; packages glap_model 0.0.13 and dasheng 0.0.9 (Apache-2.0), whose layout of the weight file this is.

Sounds: 16 kHz, mel power in dB of at most 120 dB below the loudest entry, patches of 64 bands and 4 frames.
A sound longer than the positions is extended by zeros to a multiple of their length and embedded in pieces, whose means
are averaged. Texts: a token for the language, sentencepiece, a closing token; the mean of the last states. The package
embeds every text as English (`eng_Latn`) by default; so does this module.

Legend: N items, T samples, F mel bands, W frames, P patches in time, L tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from aural.audio.mel import PRESETS, LogMel
from aural.encoders.convert.base import Piece, Publisher, Shape, stacked
from aural.encoders.convert.timm import timm_name
from aural.encoders.vit import TransformerBlock
from aural.models.families.base import FILES, FamilyModel, OpenOptions, Traits, depth_of, tensor_shape
from aural.models.families.nllb import NllbTokenizer
from aural.models.prefix import strip_prefix

WINDOW_S = 30.0
"""Longer sounds are split; the package embeds a complete sound at once."""
RATE_HZ = 16000
LEAST = 640
"""Samples; a shorter sound is extended by zeros, because the package cannot embed it."""
RANGE_DB = 120.0
AUDIO_HEADS = 12
TEXT_HEADS = 16
SCALE = 100.0
"""The package multiplies cosines by 100."""
AUDIO, TEXT = "audio_encoder.model.", "text_encoder.model."


class Dasheng(nn.Module):
    """Dasheng: waveforms (N, T) to vectors (N, D). `time` and `frequency` are the positions (1, D, 1, P), (1, D, Q, 1).

    Dinkel et al. (2024), "Scaling up masked audio encoder learning", arXiv 2406.06992.
    """

    def __init__(self, dim: int, depth: int, columns: int, patch: tuple[int, int]) -> None:
        super().__init__()
        self.front_end = LogMel(PRESETS["dasheng"])
        bands = PRESETS["dasheng"].n_mels
        self.columns, self.patch = columns, patch
        self.bn = nn.BatchNorm2d(bands)
        self.patch_embed = nn.Conv2d(1, dim, patch, stride=patch)
        self.time = nn.Parameter(torch.zeros(1, dim, 1, columns))
        self.frequency = nn.Parameter(torch.zeros(1, dim, bands // patch[0], 1))
        self.blocks = nn.ModuleList(TransformerBlock(dim, AUDIO_HEADS, 4.0, 0.0, eps=1e-6) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, waves: Tensor) -> Tensor:
        waves = nn.functional.pad(waves, (0, max(0, LEAST - waves.shape[1])))
        decibels = 10.0 * self.front_end(waves).clamp_min(1e-10).log10()  # (N, W, F)
        decibels = torch.maximum(decibels, decibels.amax((1, 2), keepdim=True) - RANGE_DB)
        image = self.bn(decibels.transpose(1, 2)[:, :, None]).transpose(1, 2)  # (N, 1, F, W)
        longest = self.columns * self.patch[1]
        if image.shape[-1] > longest:
            image = nn.functional.pad(image, (0, -image.shape[-1] % longest))
        pieces = self.patch_embed(image).split(self.columns, dim=-1)  # each (N, D, Q, P)
        return torch.stack([self._encoded(piece).mean(1) for piece in pieces]).mean(0)

    def _encoded(self, patches: Tensor) -> Tensor:
        """Return the states (N, Q P, D) of the patches (N, D, Q, P)."""
        x = (patches + self.time[..., : patches.shape[-1]] + self.frequency).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Sonar(nn.Module):
    """The text encoder of SONAR: token ids and mask (N, L) to vectors (N, D).

    Duquenne et al. (2023), "SONAR: sentence-level multimodal and language-agnostic representations", arXiv 2308.11466.
    """

    def __init__(self, vocabulary: int, dim: int, depth: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, dim)
        layer = nn.TransformerEncoderLayer(
            dim, TEXT_HEADS, hidden, dropout=0.0, activation="relu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(dim), enable_nested_tensor=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(ids)
        x = x * math.sqrt(x.shape[-1]) + sinusoids(x.shape[1], x.shape[-1]).to(x)
        x = self.encoder(x, src_key_padding_mask=mask == 0)
        weight = mask[..., None].to(x.dtype)
        return (x * weight).sum(1) / weight.sum(1)


def sinusoids(length: int, dim: int) -> Tensor:
    """Return fairseq's positions (L, D): sines, then cosines, counted from 2."""
    half = dim // 2
    rate = torch.exp(torch.arange(half, dtype=torch.float32) * -math.log(10000.0) / (half - 1))
    angle = torch.arange(2, 2 + length, dtype=torch.float32)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Glap(FamilyModel):
    """A GLAP model; each tower is built on first use."""

    def __init__(self, state: Mapping[str, Tensor], path: Path, options: OpenOptions) -> None:
        self.state, self.path = state, str(path)
        embed_dim = tensor_shape(state, "audio_proj.2.weight", self.path)[0]
        traits = Traits(embed_dim=embed_dim, sample_rate_hz=RATE_HZ, window_s=WINDOW_S, logit_scale=SCALE)
        super().__init__(traits, options)

    @cached_property
    def audio_encoder(self) -> Dasheng:
        state = strip_prefix(self.state, AUDIO)
        dim, _, *patch = tensor_shape(state, "patch_embed.proj.weight", self.path)
        columns = tensor_shape(state, "time_pos_embed", self.path)[-1]
        depth = depth_of(state, "blocks.{}.norm1.weight")
        return self.translated(
            lambda: Dasheng(dim, depth, columns, (patch[0], patch[1])), state, Publisher(_audio_piece), self.path
        )

    @cached_property
    def text_encoder(self) -> Sonar:
        state = strip_prefix(self.state, TEXT)
        vocabulary, dim = tensor_shape(state, "encoder_frontend.embed.weight", self.path)
        hidden = tensor_shape(state, "encoder.layers.0.ffn.inner_proj.weight", self.path)[0]
        depth = depth_of(state, "encoder.layers.{}.ffn_layer_norm.weight")
        return self.translated(lambda: Sonar(vocabulary, dim, depth, hidden), state, Publisher(_text_piece), self.path)

    @cached_property
    def audio_projection(self) -> nn.Module:
        return self.two_layers(self.state, "audio_proj.", self.path)

    @cached_property
    def text_projection(self) -> nn.Module:
        return self.two_layers(self.state, "text_proj.", self.path)

    @cached_property
    def tokenizer(self) -> NllbTokenizer:
        """The sentencepiece model of the option `tokenizer`, or that of the hub's facebook/SONAR."""
        return NllbTokenizer.open(self.options.tokenizer, offline=self.options.offline)

    def audio_rows(self, waves: Tensor) -> Tensor:
        return self.audio_projection(self.audio_encoder(waves))

    def text_rows(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(texts)
        return self.text_projection(self.text_encoder(tokens.ids.to(self.device), tokens.mask.to(self.device)))


_AUDIO_NAMES = {
    "front_end.window": "front_end.0.spectrogram.window",
    "front_end.filters": "front_end.0.mel_scale.fb",
    "time": "time_pos_embed",
    "frequency": "freq_pos_embed",
}
_TEXT_NAMES = {
    "self_attn.out_proj": "self_attn.output_proj",
    "linear1": "ffn.inner_proj",
    "linear2": "ffn.output_proj",
    "norm1": "self_attn_layer_norm",
    "norm2": "ffn_layer_norm",
}


def _audio_piece(name: str, shape: Shape) -> Piece:
    if name.startswith("bn."):
        return Piece({name.replace("bn.", "init_bn.1."): shape})
    return Piece({_AUDIO_NAMES.get(name, timm_name(name)): shape})


def _text_piece(name: str, shape: Shape) -> Piece:
    if name == "embed.weight":
        return Piece({f"encoder_frontend.{name}": shape})
    if name.startswith("encoder.norm."):
        return Piece({name.replace("encoder.norm.", "layer_norm."): shape})
    layer, _, leaf = name.partition(".self_attn.in_proj_")
    if leaf:
        return stacked([f"{layer}.self_attn.{part}_proj.{leaf}" for part in "qkv"], shape)
    at = name.split(".", 3)  # "encoder", "layers", the number, the rest
    part, _, leaf = at[3].rpartition(".")
    return Piece({".".join([*at[:3], _TEXT_NAMES[part], leaf]): shape})


@FILES.register("audio_encoder.model.time_pos_embed")
def open_glap(state: Mapping[str, Tensor], path: Path, options: OpenOptions) -> Glap:
    """Open GLAP's weight file, of any depth of its towers."""
    return Glap(state, path, options)
