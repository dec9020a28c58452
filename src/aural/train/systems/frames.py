"""An audio encoder with a linear head that says per frame which classes are heard.

Legend: B clips, N tokens of the encoder, D its width, T frames, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from aural.train.config import Recipe
from aural.train.system import SYSTEMS, Plan
from aural.train.systems.encoder import EncoderConfig, EncoderSystem

if TYPE_CHECKING:
    from aural.train.loader import Batch, Batches


class FramesConfig(EncoderConfig):
    """A sound encoder and the classes of its frames."""

    classes: tuple[str, ...] = Field(min_length=1)
    frames: Annotated[int, Field(ge=1)]
    """Frames per window; the encoder's tokens are averaged or repeated to this number."""

    def plan(self, recipe: Recipe) -> Plan:
        """Return the plan: sounds and frame labels in, logits per frame out."""
        fields = {"sound": {}, "frames": {"classes": self.classes, "frames": self.frames}}
        return Plan(fields, rows=frozenset({"frame_logits"}), audio=self.audio)


@SYSTEMS.register("frames", architecture="encoder and heads", training="discriminative")
class Frames(EncoderSystem):
    """An audio encoder and a linear head over its tokens. A batch gives "frame_logits" (B, T, C)."""

    config_type = FramesConfig
    config: FramesConfig
    heads_prefix = "head."

    def __init__(self, config: FramesConfig, batches: Batches | None = None) -> None:
        super().__init__(config, batches)
        self.head = nn.Linear(self.encoder.dim, len(config.classes))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        tokens = self.encode(batch).tokens  # (B, N, D)
        frames = adaptive_avg_pool1d(tokens.transpose(1, 2), self.config.frames).transpose(1, 2)  # (B, T, D)
        return {"frame_logits": self.head(frames).float()}
