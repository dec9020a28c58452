"""The base of systems that are one audio encoder and heads: input, start weights, parts and export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from torch import Tensor, nn

from aural.audio.mel import LogMel
from aural.encoders.base import AudioFeatures, build_audio_encoder
from aural.models.clap import AudioConfig
from aural.train.config import Recipe
from aural.train.inputs import log_mel, masked
from aural.train.shorthand import system_values
from aural.train.start import load_encoder
from aural.train.system import System, SystemConfig

if TYPE_CHECKING:
    from aural.train.loader import Batch, Batches


class EncoderConfig(SystemConfig):
    """A sound encoder and its start weights."""

    audio: AudioConfig
    init: str = ""
    """The folder of a stage-1 run, or a model by name or folder, whose audio encoder is taken; empty: random."""


class EncoderSystem(System):
    """An audio encoder with heads. A subclass adds the heads; the names of their tensors start with `heads_prefix`."""

    config: EncoderConfig
    heads_prefix: ClassVar[str]

    def __init__(self, config: EncoderConfig, batches: Batches | None = None) -> None:
        super().__init__(config, batches)
        self.front_end = LogMel(config.audio.mel)
        self.encoder = build_audio_encoder(config.audio.encoder, config.audio.encoder_options)
        if config.init:
            load_encoder(self.encoder, config.init)

    def encode(self, batch: Batch) -> AudioFeatures:
        """Return the encoder's features of the batch's sounds."""
        features: AudioFeatures = self.encoder(masked(log_mel(self.front_end, batch), batch))
        return features

    def parts(self) -> dict[str, nn.Module]:
        """Return the encoder."""
        return {"audio": self.encoder}

    def blank(self, batches: Batches) -> Self:
        """Construct a system of the same shape without reading start weights."""
        return type(self)(self.config.model_copy(update={"init": ""}), batches)

    def export(self, folder: Path, recipe: Recipe, state: Mapping[str, Tensor]) -> None:
        """Write the encoder, from which another recipe can start, and the heads."""
        from aural.train.export import write_encoder

        name = str(system_values(recipe)["name"])
        write_encoder(folder, name, self.config, recipe, state, heads=self.heads_prefix)
