"""An audio encoder that learns many supervised tasks at once, each with its own head.

The loss is the mean over the batch of each clip's loss times the weight of its task, so a batch may be split into
micro-batches or over processes at will.

Legend: B clips, D width of the encoder, L caption tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from aural.encoders.base import AudioFeatures
from aural.train.config import Recipe, TaskConfig
from aural.train.head_kinds import HEAD_KINDS
from aural.train.system import SYSTEMS, Plan
from aural.train.systems.encoder import EncoderConfig, EncoderSystem
from aural.train.tasks import Report

if TYPE_CHECKING:
    from aural.train.loader import Batch, Batches


class HeadsConfig(EncoderConfig):
    """A sound encoder and its tasks."""

    tasks: dict[str, TaskConfig] = Field(min_length=1)

    def plan(self, recipe: Recipe) -> Plan:
        """Return the plan: sounds and the labels of the tasks; the loss is the system's own."""
        for task in self.tasks.values():
            _ = HEAD_KINDS[task.kind]
        fields = {"sound": {}, "tasks": {"tasks": self.tasks}}
        return Plan(fields, gives_loss=True, audio=self.audio)


@SYSTEMS.register("heads", architecture="encoder and heads", training="discriminative")
class Heads(EncoderSystem):
    """An audio encoder with a head per task. A batch gives "loss" and each task's sums."""

    config_type = HeadsConfig
    config: HeadsConfig
    heads_prefix = "heads."

    def __init__(self, config: HeadsConfig, batches: Batches) -> None:
        super().__init__(config, batches)
        self.heads = TaskHeads(config.tasks, batches.classes, self.encoder.dim)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        out: dict[str, Tensor] = self.heads(self.encode(batch), batch)
        return out

    def report(self) -> Report:
        """Return a report with a row per task."""
        return Report(self.config.tasks)


class TaskHeads(nn.Module):
    """A head per task."""

    def __init__(self, tasks: Mapping[str, TaskConfig], classes: Mapping[str, Sequence[str]], d_audio: int) -> None:
        super().__init__()
        self.tasks = dict(sorted(tasks.items()))
        self.kinds = {
            name: HEAD_KINDS[task.kind](name, task, classes.get(name, ())) for name, task in self.tasks.items()
        }
        self.heads = nn.ModuleDict({name: kind.head(d_audio) for name, kind in self.kinds.items()})

    def forward(self, features: AudioFeatures, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return "loss", and for each task "sum.NAME", "clips.NAME" and "right.NAME" (not differentiable)."""
        size = len(batch["task"])
        total = features.pooled.new_zeros((), dtype=torch.float32)
        log: dict[str, Tensor] = {}
        for i, (name, task) in enumerate(self.tasks.items()):
            own_task = (batch["task"] == i).float()  # (B,)
            losses, right = self.kinds[name].loss(self.heads[name], features, batch[f"label.{name}"])
            loss = (losses * own_task).sum()
            total = total + task.weight * loss / size
            log[f"sum.{name}"] = loss.detach()
            log[f"clips.{name}"] = own_task.sum()
            log[f"right.{name}"] = (right * own_task).sum()
        return {"loss": total, **log}
