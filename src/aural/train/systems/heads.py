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
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from aural.encoders.base import AudioFeatures
from aural.train.config import Recipe, TaskConfig
from aural.train.system import SYSTEMS, Plan
from aural.train.systems.encoder import EncoderConfig, EncoderSystem
from aural.train.tasks import CAPTION_END, IGNORE, Report

if TYPE_CHECKING:
    from aural.train.loader import Batch, Batches


class HeadsConfig(EncoderConfig):
    """A sound encoder and its tasks."""

    tasks: dict[str, TaskConfig] = Field(min_length=1)

    def plan(self, recipe: Recipe) -> Plan:
        """Return the plan: sounds and the labels of the tasks; the loss is the system's own."""
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


class Decoder(nn.Module):
    """Captioning head: a causal transformer with cross attention to the audio tokens.

    Maps the ids (B, L) so far to logits (B, L, V) of the next tokens.
    """

    def __init__(self, task: TaskConfig, d_audio: int, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, task.dim)
        self.position = nn.Parameter(0.02 * torch.randn(task.max_tokens, task.dim))
        self.memory = nn.Linear(d_audio, task.dim)
        layer = nn.TransformerDecoderLayer(
            task.dim, max(1, task.dim // 64), 4 * task.dim, dropout=0.1, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerDecoder(layer, task.depth)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, ids: Tensor, audio: Tensor) -> Tensor:
        x = self.embed(ids) + self.position[: ids.shape[1]]
        causal = nn.Transformer.generate_square_subsequent_mask(ids.shape[1], ids.device, x.dtype)
        x = self.layers(x, self.memory(audio), tgt_mask=causal, tgt_is_causal=True)
        return x @ self.embed.weight.T


class TaskHeads(nn.Module):
    """A head per task."""

    def __init__(self, tasks: Mapping[str, TaskConfig], classes: Mapping[str, Sequence[str]], d_audio: int) -> None:
        super().__init__()
        self.tasks = dict(sorted(tasks.items()))
        heads: dict[str, nn.Module] = {}
        for name, task in self.tasks.items():
            if task.kind == "caption":
                heads[name] = Decoder(task, d_audio, CAPTION_END + 1)
            else:
                width = {"regress": 1, "count": task.highest + 1}.get(task.kind, len(classes[name]))
                heads[name] = nn.Linear(d_audio, width)
        self.heads = nn.ModuleDict(heads)

    def forward(self, features: AudioFeatures, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return "loss", and for each task "sum.NAME", "clips.NAME" and "right.NAME" (not differentiable)."""
        size = len(batch["task"])
        total = features.pooled.new_zeros((), dtype=torch.float32)
        log: dict[str, Tensor] = {}
        for i, (name, task) in enumerate(self.tasks.items()):
            own_task = (batch["task"] == i).float()  # (B,)
            losses, right = self._one(name, task, features, batch[f"label.{name}"])
            loss = (losses * own_task).sum()
            total = total + task.weight * loss / size
            log[f"sum.{name}"] = loss.detach()
            log[f"clips.{name}"] = own_task.sum()
            log[f"right.{name}"] = (right * own_task).sum()
        return {"loss": total, **log}

    def _one(self, name: str, task: TaskConfig, features: AudioFeatures, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and share of right answers, each (B,); rows of other tasks hold unused numbers."""
        head = self.heads[name]
        if task.kind == "caption":
            begin = torch.full_like(label[:, :1], CAPTION_END)
            inputs = torch.cat([begin, label[:, :-1]], 1).clamp_min(0)
            logits = head(inputs, features.tokens).float()  # (B, L, V)
            losses = cross_entropy(logits.transpose(1, 2), label, ignore_index=IGNORE, reduction="none")
            length = (label != IGNORE).sum(1).clamp_min(1)
            return losses.sum(1) / length, (logits.argmax(2) == label).sum(1) / length
        logits = head(features.pooled).float()
        if task.kind == "tag":
            losses = binary_cross_entropy_with_logits(logits, label, reduction="none").mean(1)
            return losses, ((logits > 0) == (label > 0.5)).float().mean(1)
        if task.kind == "regress":
            return smooth_l1_loss(logits[:, 0], label, reduction="none"), -(logits[:, 0] - label).abs()
        return cross_entropy(logits, label, ignore_index=IGNORE, reduction="none"), (logits.argmax(1) == label).float()
