"""An audio encoder with a linear head that says per frame which classes are heard.

Legend: B clips, N tokens of the encoder, D its width, T frames, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from aural.audio.mel import LogMel
from aural.encoders.base import build_audio_encoder
from aural.models.clap import AudioConfig
from aural.train.config import Recipe
from aural.train.inputs import log_mel, masked
from aural.train.start import load_encoder
from aural.train.system import SYSTEMS, Plan, System, SystemConfig

if TYPE_CHECKING:
    from aural.train.loader import Batch, Batches


class FramesConfig(SystemConfig):
    """A sound encoder and the classes of its frames."""

    audio: AudioConfig
    init: str = ""
    """The folder of a stage-1 run, or a model by name or folder, whose audio encoder is taken; empty: random."""
    classes: tuple[str, ...] = Field(min_length=1)
    frames: Annotated[int, Field(ge=1)]
    """Frames per window; the encoder's tokens are averaged or repeated to this number."""

    def plan(self, recipe: Recipe) -> Plan:
        """Return the plan: sounds and frame labels in, logits per frame out."""
        fields = {"sound": {}, "frames": {"classes": self.classes, "frames": self.frames}}
        return Plan(fields, rows=frozenset({"frame_logits"}), audio=self.audio)


@SYSTEMS.register("frames", architecture="encoder and heads", training="discriminative")
class Frames(System):
    """An audio encoder and a linear head over its tokens. A batch gives "frame_logits" (B, T, C)."""

    config_type = FramesConfig
    config: FramesConfig

    def __init__(self, config: FramesConfig, batches: Batches | None = None) -> None:
        super().__init__(config, batches)
        self.front_end = LogMel(config.audio.mel)
        self.encoder = build_audio_encoder(config.audio.encoder, config.audio.encoder_options)
        if config.init:
            load_encoder(self.encoder, config.init)
        self.head = nn.Linear(self.encoder.dim, len(config.classes))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        tokens = self.encoder(masked(log_mel(self.front_end, batch), batch)).tokens  # (B, N, D)
        frames = adaptive_avg_pool1d(tokens.transpose(1, 2), self.config.frames).transpose(1, 2)  # (B, T, D)
        return {"frame_logits": self.head(frames).float()}

    def parts(self) -> dict[str, nn.Module]:
        """Return the encoder."""
        return {"audio": self.encoder}

    def blank(self, batches: Batches) -> Frames:
        """Construct a system of the same shape without reading start weights."""
        return Frames(self.config.model_copy(update={"init": ""}), batches)

    def export(self, folder: Path, recipe: Recipe, state: Mapping[str, Tensor]) -> None:
        """Write the encoder, from which another recipe can start, and the head."""
        from aural.train.export import write_encoder

        write_encoder(folder, "frames", self.config, recipe, state, heads="head.")
