"""The contrastive language-audio model: an audio tower and a text tower that map into one joint space.

Legend: B items, T samples, N frames, F mel bands, L tokens, E joint dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from aural.audio.length import Shorter
from aural.audio.mel import PRESETS, LogMel, MelConfig
from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.core.registry import Registry
from aural.encoders.base import AudioFeatures, build_audio_encoder
from aural.encoders.builtin import AUDIO_ENCODERS
from aural.encoders.text import TEXT_TOWERS, TextConfig, TextEncoder, text_layout
from aural.models.frames import FrameLayout
from aural.nn.functional import unit
from aural.nn.moment import MomentResidual, first_moment, heard_parts
from aural.nn.projection import ProjectionKind, projection

N = TypeVar("N", bound=Config)


def named(registry: Registry[N], value: Any) -> Any:
    """Resolve the name of a registered config, or a mapping with the key "preset" that changes one.

    Other values are returned unchanged. Resolved configs are written to disk in full, never by name.

    >>> named(TEXT_TOWERS, "minilm").dim
    384
    >>> named(TEXT_TOWERS, {"preset": "minilm", "max_tokens": 64})["max_tokens"]
    64
    """
    changes = dict(value) if isinstance(value, Mapping) and "preset" in value else {}
    name = changes.pop("preset", value)
    if not isinstance(name, str):
        return value
    try:
        preset = registry[name]
    except ConfigError as error:
        raise ValueError(str(error)) from None  # pydantic adds the key to the message of a ValueError
    return preset.model_dump() | changes if changes else preset


class BranchConfig(Config):
    """A front end and an encoder, by its registered name.

    `mel` may be the name of a preset (`aural.audio.mel.PRESETS`) or {preset: NAME, ...changes}.
    """

    mel: MelConfig
    encoder: str
    encoder_options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("mel", mode="before")
    @classmethod
    def _named_mel(cls, value: Any) -> Any:
        return named(PRESETS, value)

    @field_validator("encoder")
    @classmethod
    def _registered(cls, name: str) -> str:
        if name not in AUDIO_ENCODERS:
            raise ValueError(f"is not an audio encoder (known: {', '.join(AUDIO_ENCODERS)})")
        return name


class TaggedBranchConfig(BranchConfig):
    """A second branch of an audio tower: the encoder of a tagger with its classes."""

    classes: int = Field(gt=0)


class AudioConfig(BranchConfig):
    """The audio tower: its input, front end, encoder and projection."""

    sample_rate_hz: int
    window_s: float
    """Length of one input; longer sounds are split into windows, shorter ones are filled as `shorter` says."""
    shorter: Shorter = "repeat"
    projection: ProjectionKind = "mlp"
    branch: TaggedBranchConfig | None = None
    """A tagger that reads the same waveform and adds what it knows to the embedding."""
    moment: int = Field(default=0, ge=0)
    """Rank of a residual on the first moment in time of the features, which depends on the order of events; 0: none."""


class ClapConfig(Config):
    """A whole model; `embed_dim` is E.

    `text` may be the name of a text encoder (`aural.encoders.text.TEXT_TOWERS`) or {preset: NAME, ...changes}.
    """

    embed_dim: Annotated[int, Field(ge=1, le=65_536)]
    audio: AudioConfig
    text: TextConfig
    text_projection: ProjectionKind = "mlp"
    logit_bias: bool = False
    """Whether the model has the learned bias of the sigmoid loss."""

    @field_validator("text", mode="before")
    @classmethod
    def _named_text(cls, value: Any) -> Any:
        return named(TEXT_TOWERS, value)


class Branch(nn.Module):
    """A front end and an encoder: waveforms (B, T) to pooled features (B, D)."""

    def __init__(self, config: BranchConfig) -> None:
        super().__init__()
        self.front_end = LogMel(config.mel)
        self.encoder = build_audio_encoder(config.encoder, config.encoder_options)

    def features(self, wave: Tensor) -> AudioFeatures:
        """Return the pooled features and those of each patch."""
        features: AudioFeatures = self.encoder(self.front_end(wave))
        return features

    def forward(self, wave: Tensor) -> Tensor:
        return self.features(wave).pooled


class TaggedBranch(Branch):
    """The encoder of a tagger, added to an embedding in two ways: by a linear map and by its scores of classes.

    `names` starts as the embeddings of the class names, so that a class adds its name as far as it is scored.
    """

    def __init__(self, config: TaggedBranchConfig, embed_dim: int) -> None:
        super().__init__(config)
        dim = self.encoder.dim
        self.linear = projection("log-linear", dim, embed_dim)
        self.classes = nn.Linear(dim, config.classes)
        self.names = nn.Linear(config.classes, embed_dim, bias=False)
        self.mix = nn.Parameter(torch.ones(3))
        """Weights of the embedding, of the linear map and of the names; each is a unit vector."""

    def add_to(self, embedding: Tensor, features: Tensor) -> Tensor:
        """Return the mixture (B, E) of an embedding (B, E) with this branch's `features` (B, D)."""
        return self.mixed(embedding, features, features)

    def mixed(self, embedding: Tensor, features: Tensor, dropped: Tensor) -> Tensor:
        """Return the mixture (B, E); the linear map reads `dropped`, in training the features with some set to 0."""
        tags = self.names(self.classes(features).sigmoid())
        parts = torch.stack([unit(embedding), unit(self.linear(dropped)), unit(tags)], dim=1)  # (B, 3, E)
        return (self.mix[:, None] * parts).sum(1)

    @property
    def patch_samples(self) -> int:
        """The length in samples of the patches that the encoder reads one by one."""
        patch: int = self.encoder.config.patch_frames  # type: ignore[union-attr, assignment]
        return patch * self.front_end.config.hop

    def add_to_frames(self, rows: Tensor, wave: Tensor) -> Tensor:
        """Return the mixture (B, N, E) of frames (B, N, E) of `wave` (B, T) with the features of the patch around each.

        T is a multiple of `patch_samples`; patches do not overlap.
        """
        config, samples = self.front_end.config, self.patch_samples
        tail = (config.window_length or config.n_fft) - config.hop
        mel = self.front_end(nn.functional.pad(wave, (0, tail)))  # (B, P K, F), K frames per patch
        features = self.encoder(mel.reshape(-1, samples // config.hop, mel.shape[2])).pooled  # (B P, D)
        patches = wave.shape[1] // samples
        near = features.reshape(wave.shape[0], patches, 1, -1).expand(-1, -1, rows.shape[1] // patches, -1)
        return self.add_to(rows.flatten(0, 1), near.reshape(-1, features.shape[1])).unflatten(0, (wave.shape[0], -1))


class AudioTower(nn.Module):
    """The audio tower: waveforms (B, T) at the model's rate to embeddings (B, E), not normalized."""

    def __init__(self, config: AudioConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        self.front_end = LogMel(config.mel)
        self.encoder = build_audio_encoder(config.encoder, config.encoder_options)
        self.projection = projection(config.projection, self.encoder.dim, embed_dim)
        self.branch = None if config.branch is None else TaggedBranch(config.branch, embed_dim)
        dim = self.encoder.dim + (0 if self.branch is None else self.branch.encoder.dim)
        self.moment = MomentResidual(dim, config.moment, embed_dim) if config.moment else None

    def forward(self, wave: Tensor) -> Tensor:
        embedding, moment = self.parts(wave)
        return embedding if self.moment is None else unit(embedding) + self.moment(moment)

    def parts(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedding (B, E) without the residual, and the first moment (B, D) of the features.

        D is the width of the encoder plus that of the second branch, whose features enter as log(1 + x). Without a
        residual D is 0.
        """
        features = self.encoder(self.front_end(wave))
        embedding: Tensor = self.projection(features.pooled)
        sequences = [features.tokens]
        if self.branch is not None:
            second = self.branch.features(wave)
            embedding = self.branch.add_to(embedding, second.pooled)
            sequences.append(second.tokens.clamp_min(0).log1p())
        if self.moment is None:
            return embedding, embedding[:, :0]
        return embedding, torch.cat([first_moment(x, heard_parts(wave, x.shape[1])) for x in sequences], dim=1)

    def frame_layout(self) -> FrameLayout | None:
        """Return how the encoder's tokens divide a sound.

        None where a second branch has no tokens to join: the encoder needs tokens that depend on their surroundings
        alone, a whole number of them per patch of the branch.
        """
        encoder, mel = self.encoder, self.config.mel
        if encoder.token_frames is None or mel.peak_normalize:  # the peak is that of the complete input
            return FrameLayout() if self.branch is None else None
        step = encoder.token_frames * mel.hop
        align = step if self.branch is None else self.branch.patch_samples
        if align % step:
            return None
        reach = encoder.reach_frames * mel.hop + mel.n_fft // 2
        return FrameLayout(step=step, align=align, margin=-(-reach // align) * align)

    def frames(self, wave: Tensor) -> Tensor:
        """Return one embedding per token, (B, N, E), not normalized, of waveforms (B, T).

        With a second branch, T is a multiple of its patches.
        """
        rows = self.projection(self.encoder.frames(self.front_end(wave)))  # (B, N, E)
        return rows if self.branch is None else self.branch.add_to_frames(rows, wave)

    def embed_mel(self, mel: Tensor, longer: Tensor | None = None) -> Tensor:
        """Return embeddings (B, E) of log-mel (B, N, F).

        Fused encoders also take (B, 4, N, F) and `longer` (B,), which marks clips that exceed the window. A tower with
        a second branch or a residual on the moment reads waveforms only.
        """
        if self.branch is not None or self.moment is not None:
            raise ValueError("this audio tower has two front ends or a moment; give it waveforms, not a log-mel")
        features = self.encoder(mel) if longer is None else self.encoder(mel, longer)
        return self.projection(features.pooled)


class TextTower(nn.Module):
    """The text tower: token ids and mask (B, L) to embeddings (B, E), not normalized."""

    def __init__(self, config: TextConfig, kind: ProjectionKind, embed_dim: int) -> None:
        super().__init__()
        self.encoder = TextEncoder(config)
        self.projection = projection(kind, config.dim, embed_dim)

    def forward(self, ids: Tensor, mask: Tensor, last: Tensor | None = None) -> Tensor:
        return self.projection(self.encoder(ids, mask, last).pooled)


class Clap(nn.Module):
    """Both towers, the logarithm of the learned scale and, for sigmoid losses, the learned bias."""

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = AudioTower(config.audio, config.embed_dim)
        self.text = TextTower(config.text, config.text_projection, config.embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        if config.logit_bias:
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, wave: Tensor, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the unit embeddings (B, E) of both towers, the scale (not its log) and the bias if there is one."""
        out = {
            "audio_emb": unit(self.audio(wave)),
            "text_emb": unit(self.text(ids, mask)),
            "logit_scale": self.logit_scale.exp(),
        }
        return out | ({"logit_bias": self.logit_bias} if self.config.logit_bias else {})


def audio_layout(config: ClapConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of the audio tower, without allocating memory."""
    with torch.device("meta"):
        tower = AudioTower(config.audio, config.embed_dim)
    return {name: tuple(tensor.shape) for name, tensor in tower.state_dict().items()}


def text_tower_layout(config: ClapConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of the text tower, without importing transformers."""
    head = projection(config.text_projection, config.text.dim, config.embed_dim)
    names = {f"encoder.model.{name}": shape for name, shape in text_layout(config.text).items()}
    return names | {f"projection.{name}": tuple(tensor.shape) for name, tensor in head.state_dict().items()}


def layout(config: ClapConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of `Clap(config)`."""
    shapes: dict[str, tuple[int, ...]] = {"logit_scale": ()}
    if config.logit_bias:
        shapes["logit_bias"] = ()
    shapes |= {f"audio.{name}": shape for name, shape in audio_layout(config).items()}
    return shapes | {f"text.{name}": shape for name, shape in text_tower_layout(config).items()}
