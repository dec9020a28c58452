"""The student: the first blocks of the network of YAMNet, as many as a number of parameters allows.

Howard et al. (2017), arXiv 1704.04861, for the network.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor

from aural.audio.mel import PRESETS, MelConfig
from aural.core.errors import ConfigError
from aural.core.weights import weight_cards
from aural.encoders.mobilenet import BLOCKS, MobilenetConfig
from aural.models.clap import AudioConfig, AudioTower
from aural.models.embedding import EmbeddingModel
from aural.models.prefix import strip_prefix
from aural.models.weight_files import read_safetensors

Size = Literal["tiny", "small"]
SIZES: Final[dict[Size, int]] = {"tiny": 1_000_000, "small": 3_000_000}
"""Largest number of parameters, with the projection."""
PATCH_FRAMES: Final = 96
SILENCE: Final = -6.9078
"""Log-mel of digital silence, ln 0.001."""


def student_mel(rate_hz: int) -> MelConfig:
    """Return YAMNet's front end (25 ms every 10 ms, 64 bands, 125 to 7,500 Hz) for another sample rate.

    The transform is the multiple of 64 samples nearest to 32 ms, so bins are YAMNet's 31.25 Hz to within 0.2%.

    >>> student_mel(24000) == PRESETS["yamnet-24k"]
    True
    """
    yamnet = PRESETS["yamnet"]
    return yamnet.model_copy(
        update={
            "sample_rate_hz": rate_hz,
            "n_fft": 64 * round(0.032 * rate_hz / 64),
            "hop": round(0.01 * rate_hz),
            "window_length": round(0.025 * rate_hz),
            "fmax_hz": min(yamnet.fmax_hz, rate_hz / 2),
            "gain": 16000 / rate_hz,
        }
    )


def student_config(teacher: EmbeddingModel, size: Size) -> AudioConfig:
    """Return the tower of the most blocks that fits the size, for the sounds and dimensions of a teacher.

    Raises:
        ConfigError: the teacher's window is too short, or its dimensions are too many for the size.
    """
    mel = student_mel(teacher.sample_rate_hz)
    frames = mel.frames(round(teacher.window_s * teacher.sample_rate_hz))
    if frames < 32:
        raise ConfigError(f"{teacher.name}: its windows of {teacher.window_s:g} s are too short for a student")
    patch = min(PATCH_FRAMES, frames)
    for blocks in range(len(BLOCKS), 0, -1):
        options = {"blocks": blocks, "patch_frames": patch, "hop_frames": max(patch, 100), "floor": SILENCE}
        config = AudioConfig(
            mel=mel,
            encoder="mobilenet",
            encoder_options=MobilenetConfig.parse(options, "student").model_dump(mode="json"),
            sample_rate_hz=teacher.sample_rate_hz,
            window_s=teacher.window_s,
            shorter=teacher.shorter or "pad",
            projection="log-linear",
        )
        if parameters_of(config, teacher.embed_dim) <= SIZES[size]:
            return config
    raise ConfigError(f"{teacher.name}: {teacher.embed_dim} dimensions are too many for a student of size {size}")


def parameters_of(config: AudioConfig, embed_dim: int) -> int:
    """Return the number of parameters of a tower of sound."""
    with torch.device("meta"):
        tower = AudioTower(config, embed_dim)
    return sum(parameter.numel() for parameter in tower.parameters())


def yamnet_weights(config: AudioConfig) -> dict[str, Tensor]:
    """Return the tensors of the bundled YAMNet that the student's encoder has, in float32."""
    from aural.models.rounding import with_steps

    with torch.device("meta"):
        names = AudioTower(config, 1).encoder.state_dict()
    tensors = with_steps(read_safetensors(weight_cards()["yamnet"].bundled() / "model.safetensors"))
    encoder = strip_prefix(tensors, "encoder.")
    return {name: encoder[name].float() for name in names}
