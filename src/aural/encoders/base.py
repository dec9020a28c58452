"""The interface of audio encoders: a log-mel spectrogram in, features out, and the registry of encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from aural.core.config import Config
from aural.core.registry import Registry, build


class AudioFeatures(NamedTuple):
    """The output of an audio encoder.

    pooled: (B, D). tokens: (B, N, D) in order of time, averaged over frequency. mask: (B, N), 1 for valid tokens and 0
    for padding; None if all are valid. layers: outputs of the inner layers, first to last, in the encoder's own shape;
    None unless requested with `layers=True`.
    """

    pooled: Tensor
    tokens: Tensor
    mask: Tensor | None = None
    layers: tuple[Tensor, ...] | None = None


class AudioEncoder(nn.Module):
    """A network from log-mel (B, N, F) to `AudioFeatures`.

    `dim` is D. `max_frames` is the largest N; None means any. Subclasses set `config_type`, take one config in the
    constructor and register with `@AUDIO_ENCODERS.register`.

    `masks_padding`: whether `forward` takes `frames` (B,), the valid frames of each clip, and then gives each clip of a
    padded batch the features that it has alone. `optional`: parameters that only optional inputs of `forward` use.
    """

    config_type: ClassVar[type[Config]] = Config
    masks_padding: ClassVar[bool] = False
    optional: ClassVar[tuple[str, ...]] = ()
    dim: int
    max_frames: int | None = None
    token_frames: ClassVar[int | None] = None
    """Log-mel frames of one token, where a token depends on its surroundings alone; None: on the complete input."""
    reach_frames: ClassVar[int] = 0
    """Log-mel frames before and after those of a token that `frames` depends on."""
    layer_channels: ClassVar[int] = -1
    """Axis of the channels in each tensor of `layers`."""

    def forward(self, mel: Tensor, *, layers: bool = False) -> AudioFeatures:  # pragma: no cover - interface
        raise TypeError(f"{type(self).__name__} does not implement forward")

    def frames(self, mel: Tensor) -> Tensor:
        """Return features (B, N, D) of every token that suit a projection trained on `pooled`.

        The tokens themselves; encoders whose pooled features are larger than a single token's pool neighbors.
        """
        return self(mel).tokens


# Taxonomy of encoders, audio and text. Tables: docs/reproduced/taxonomy.md.
ENCODER_AXES = {
    "modality": ("audio", "text"),
    "architecture": ("convolution", "transformer", "windowed transformer", "causal transformer"),
    "input": ("log-mel", "waveform", "token ids"),
}

AUDIO_ENCODERS: Registry[type[AudioEncoder]] = Registry("audio encoder", ENCODER_AXES)


def build_audio_encoder(name: str, values: Mapping[str, Any]) -> AudioEncoder:
    """Construct the audio encoder of that exact name from the plain values of its config."""
    encoder: AudioEncoder = build(AUDIO_ENCODERS, name, values)
    return encoder
