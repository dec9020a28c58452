"""What every audio encoder is: log-mel in, tokens and one pooled vector out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from aural.core.config import Config
from aural.core.registry import Registry, build


class AudioFeatures(NamedTuple):
    """`pooled` is (B, D); `tokens` is (B, N, D), in order of time (for encoders with a frequency axis, averaged)."""

    pooled: Tensor
    tokens: Tensor


class AudioEncoder(nn.Module):
    """A network from log-mel (B, N, F) to AudioFeatures. `dim` is D; `max_frames` is the largest N (None: any).

    Subclasses set `config_type`, take one config in the constructor and register with `@AUDIO_ENCODERS.register`.
    """

    config_type: ClassVar[type[Config]] = Config
    dim: int
    max_frames: int | None = None

    def forward(self, mel: Tensor) -> AudioFeatures:  # pragma: no cover - interface
        raise TypeError(f"{type(self).__name__} does not implement forward")


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
