"""Towers that embed sounds or texts into one space: any number of them, each by a name.

Legend: N items, T samples, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn

from aural.core.config import Config
from aural.core.errors import CheckpointError, ConfigError
from aural.core.types import FloatArray
from aural.encoders.text import TextConfig
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models.clap import AudioConfig, AudioTower, ClapConfig, TextTower
from aural.models.device import has_bf16, pick_device
from aural.models.embedding import EmbeddingModel, Precision
from aural.models.frames import FrameLayout
from aural.models.systems import OPENERS, WEIGHTS
from aural.models.weight_files import read_safetensors
from aural.nn.functional import unit
from aural.nn.projection import ProjectionKind


class TowerShape(Config):
    """One tower: `audio` or `text`."""

    audio: AudioConfig | None = None
    text: TextConfig | None = None
    text_projection: ProjectionKind = "mlp"
    """Projection of a text tower; a sound tower states its own in `audio`."""

    @model_validator(mode="after")
    def _one_kind(self) -> TowerShape:
        self.require_one_of("audio", "text")
        return self


class PairShape(Config):
    """Towers in one space of `embed_dim` dimensions."""

    embed_dim: int
    towers: dict[str, TowerShape] = Field(min_length=1)
    logit_bias: bool = False
    """The learned bias of the sigmoid loss."""

    @field_validator("towers", mode="after")
    @classmethod
    def _names(cls, towers: dict[str, Any]) -> dict[str, Any]:
        for name in towers:
            if not name.isidentifier() or hasattr(nn.Module(), name):
                raise ValueError(f'a tower cannot be named "{name}"')
        return towers

    def of_kind(self, kind: str) -> list[str]:
        """Return the names of the towers of kind "audio" or "text"."""
        return [name for name, tower in self.towers.items() if getattr(tower, kind) is not None]

    def clap(self) -> ClapConfig | None:
        """Return the config of the two-tower model that this is, or None."""
        if list(self.towers) != ["audio", "text"]:
            return None
        audio, text = self.towers["audio"], self.towers["text"]
        if audio.audio is None or text.text is None:
            return None
        return ClapConfig(
            embed_dim=self.embed_dim,
            audio=audio.audio,
            text=text.text,
            text_projection=text.text_projection,
            logit_bias=self.logit_bias,
        )


def build_tower(shape: TowerShape, embed_dim: int) -> AudioTower | TextTower:
    """Construct a tower with random weights."""
    if shape.audio is not None:
        return AudioTower(shape.audio, embed_dim)
    assert shape.text is not None
    return TextTower(shape.text, shape.text_projection, embed_dim)


class PairModel(EmbeddingModel):
    """Trained towers, ready to embed sounds by the first sound tower and texts by the first text tower.

    A model without a sound tower refuses sounds, one without a text tower refuses texts.
    """

    def __init__(
        self, shape: PairShape, tensors: Mapping[str, torch.Tensor], *, name: str, device: Any, precision: Precision
    ) -> None:
        self.shape, self.name, self.device, self.precision = shape, name, torch.device(device), precision
        self.embed_dim = shape.embed_dim
        self.windows_a_batch = 4 if self.device.type == "cpu" else 64
        towers = nn.ModuleDict({key: build_tower(tower, shape.embed_dim) for key, tower in shape.towers.items()})
        weights = {key: tensor for key, tensor in tensors.items() if key.partition(".")[0] in shape.towers}
        try:
            towers.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"{name}: {' '.join(str(error).split())[:160]}; copy the whole folder again"
            ) from None
        self.towers = towers.requires_grad_(False).eval().to(self.device)
        self._scale = float(tensors["logit_scale"].float().exp())
        self._bias = float(tensors["logit_bias"]) if "logit_bias" in tensors else None
        text = self.text_config
        self.tokenizer = None if text is None else _tokenizer(text)

    @property
    def text_config(self) -> TextConfig | None:
        """The config of the first text tower."""
        names = self.shape.of_kind("text")
        return self.shape.towers[names[0]].text if names else None

    @property
    def audio_input(self) -> AudioConfig:
        """The config of the first sound tower; ConfigError if there is none."""
        names = self.shape.of_kind("audio")
        config = self.shape.towers[names[0]].audio if names else None
        if config is None:
            raise ConfigError(f"{self.name}: has no sound tower; it embeds texts only")
        return config

    @property
    def logit_scale(self) -> float:
        return self._scale

    @property
    def logit_bias(self) -> float | None:
        return self._bias

    def embed_waves(self, waves: FloatArray) -> FloatArray:
        """Embed waveforms (N, T), mono at the model's rate and of the window's length, to unit rows (N, E)."""
        return self._computed(self._sound_tower, torch.as_tensor(waves, device=self.device))

    @property
    def frame_layout(self) -> FrameLayout | None:
        return self._sound_tower.frame_layout()

    def frames_of_waves(self, waves: FloatArray) -> FloatArray:
        return self._computed(self._sound_tower.frames, torch.as_tensor(waves, device=self.device))

    @property
    def _sound_tower(self) -> AudioTower:
        self.audio_input  # noqa: B018 - refuses a model without a sound tower
        tower = self.towers[self.shape.of_kind("audio")[0]]
        assert isinstance(tower, AudioTower)
        return tower

    def embed_texts(self, texts: list[str]) -> FloatArray:
        """Embed one batch of texts to unit rows (N, E)."""
        if self.tokenizer is None:
            raise ConfigError(f"{self.name}: has no text tower; it embeds sounds only")
        tokens = self.tokenizer(texts)
        tower = self.towers[self.shape.of_kind("text")[0]]
        return self._computed(tower, tokens.ids.to(self.device), tokens.mask.to(self.device))

    def _computed(self, compute: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> FloatArray:
        bf16 = self.precision == "bf16" and has_bf16(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            rows = compute(*inputs).float()
        vectors: FloatArray = unit(rows).cpu().numpy()
        return vectors


def _tokenizer(text: TextConfig) -> Tokenizer:
    backend = load_backend(text.tokenizer)
    return Tokenizer(
        backend, special=text.special_tokens, max_tokens=text.max_tokens, pad_id=text.pad_id, suffix=text.suffix
    )


@OPENERS.register("pair")
def open_pair(
    folder: Path, options: Mapping[str, Any], device: str | torch.device | None, precision: Precision
) -> PairModel:
    """Open a folder that a run of the system "pair" wrote."""
    shape = PairShape.parse(options, str(folder / "config.json"))
    tensors = read_safetensors(folder / WEIGHTS)
    return PairModel(shape, tensors, name=str(folder), device=pick_device(device), precision=precision)
