"""Towers that embed sounds or texts into one space: any number of them, each by a name.

Legend: B items, E joint dimensions.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator
from torch import nn

from aural.core.config import Config
from aural.encoders.text import TextConfig
from aural.models.clap import AudioConfig, AudioTower, ClapConfig, TextTower
from aural.nn.projection import ProjectionKind


class TowerShape(Config):
    """One tower: `audio` or `text`."""

    audio: AudioConfig | None = None
    text: TextConfig | None = None
    text_projection: ProjectionKind = "mlp"
    """Projection of a text tower; a sound tower states its own in `audio`."""

    @model_validator(mode="after")
    def _one_kind(self) -> TowerShape:
        if (self.audio is None) == (self.text is None):
            raise ValueError("a tower is either audio or text")
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
