"""Stage 1: one audio encoder learns many supervised tasks at once, each with a head of its own.

The loss is the mean over the batch of each clip's loss times its task's weight, so batches may be cut or shared between
processes at will.

Legend: B clips, N tokens of the audio encoder, D its width, C classes, L caption tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from aural.core.errors import AuralError, ConfigError, DataError, near_miss
from aural.encoders.base import AudioFeatures
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.train.config import Recipe, TaskConfig
from aural.train.draw import ITEM, number
from aural.train.sources import answer, listed

if TYPE_CHECKING:
    from aural.train.sources import Item, Source

IGNORE = -100
CAPTION_TOKENIZER, CAPTION_END = "gpt2", 50256


class Labels:
    """Answers of clips as tensors; what the classes of each task are is settled here, before step 0."""

    def __init__(self, recipe: Recipe, sources: Sequence[Source]) -> None:
        self.tasks, self.seed = recipe.tasks, recipe.seed
        self.task_of = [source.task for source in recipe.data.sources]
        for task in self.task_of:
            if task not in self.tasks:
                raise ConfigError(
                    f'data.sources: task "{task}" is not one of tasks; {near_miss(task, self.tasks)}'
                    if task
                    else "data.sources: each source of a many-task recipe names its task"
                )
        self.names = sorted(self.tasks)
        self.classes = {name: self._classes(name, sources) for name in self.names}
        self.tokenizer: Tokenizer | None = None
        if any(task.kind == "caption" for task in self.tasks.values()):
            longest = max(task.max_tokens for task in self.tasks.values())
            backend = load_backend(CAPTION_TOKENIZER)
            self.tokenizer = Tokenizer(
                backend, special="none", max_tokens=longest, pad_id=CAPTION_END, suffix=" <|endoftext|>"
            )

    def _classes(self, name: str, sources: Sequence[Source]) -> tuple[str, ...]:
        task = self.tasks[name]
        if task.kind not in ("classify", "tag"):
            return ()
        mine = [source for source, own in zip(sources, self.task_of, strict=True) if own == name]
        if task.classes:
            _check_scene_classes(name, task, mine)
            return task.classes
        found: set[str] = set()
        for source in mine:
            try:
                found |= source.values(task.column)
            except AuralError as error:
                raise type(error)(f"tasks.{name}: {error}") from None
        found.discard("")
        if len(found) < 2:
            raise DataError(f"tasks.{name}: {task.column} holds {len(found)} classes; at least 2 are needed")
        return tuple(sorted(found))

    def collate(self, found: Sequence[tuple[int, Item]]) -> dict[str, Any]:
        """ "task" (B,) and for each task "label.NAME", whose rows of other tasks are ignored."""
        own = [self.task_of[place] for place, _ in found]
        batch: dict[str, Any] = {"task": torch.tensor([self.names.index(name) for name in own])}
        for name in self.names:
            rows = [item.facts if task == name else None for (_, item), task in zip(found, own, strict=True)]
            batch[f"label.{name}"] = self._labels(name, rows, [item for _, item in found])
        return batch

    def _labels(self, name: str, rows: Sequence[Mapping[str, Any] | None], items: Sequence[Item]) -> Tensor:
        task, classes = self.tasks[name], self.classes[name]
        if task.kind == "caption":
            assert self.tokenizer is not None
            texts = [self._caption(item) if row is not None else "" for row, item in zip(rows, items, strict=True)]
            tokens = self.tokenizer([text or " " for text in texts])
            ids = torch.where(tokens.mask.bool(), tokens.ids, IGNORE)[:, : task.max_tokens]
            ids = nn.functional.pad(ids, (0, task.max_tokens - ids.shape[1]), value=IGNORE)  # always the same shape
            return torch.where(torch.tensor([row is not None for row in rows])[:, None], ids, IGNORE)
        try:
            values = [None if row is None else answer(row, task.column) for row in rows]
        except DataError as error:
            raise DataError(f"tasks.{name}: {error}") from None
        if task.kind == "tag":
            found = torch.zeros(len(rows), len(classes))
            for i, value in enumerate(values):
                for tag in listed(value) if value is not None else ():
                    if tag in classes:
                        found[i, classes.index(tag)] = 1.0
            return found
        if task.kind == "classify":
            return torch.tensor([IGNORE if v is None else self._class(name, str(v)) for v in values])
        numbers = [float(IGNORE) if v is None else _number(v, name, task.column) for v in values]
        if task.kind == "count":
            return torch.tensor([int(v) if v == IGNORE else min(int(v), task.highest) for v in numbers])
        return torch.tensor(numbers)

    def _caption(self, item: Item) -> str:
        if not item.captions:
            raise DataError(f"{item.key}: has no caption, which its task needs")
        return item.captions[number(self.seed, ITEM, hash_of(item.key)) % len(item.captions)]

    def _class(self, name: str, value: str) -> int:
        if value not in self.classes[name]:
            raise DataError(
                f'tasks.{name}: "{value}" is not one of its classes; {near_miss(value, self.classes[name])}'
            )
        return self.classes[name].index(value)


def _check_scene_classes(name: str, task: TaskConfig, sources: Sequence[Source]) -> None:
    """Refuse classes that cannot sound in a source of scenes: their targets would be zero in every clip."""
    for source in sources:
        labels: tuple[str, ...] = getattr(source, "labels", ())
        for label in task.classes if labels else ():
            if label not in labels:
                raise ConfigError(f'tasks.{name}: "{label}" is no class of {source.name}; {near_miss(label, labels)}')


def hash_of(text: str) -> int:
    import zlib

    return zlib.crc32(text.encode())


def _number(value: Any, name: str, column: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f'tasks.{name}: {column} holds "{value}", which is not a number') from None


class Decoder(nn.Module):
    """Captioning head: a causal transformer that looks at the audio tokens; gives (B, L, V) for the next tokens."""

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


class Heads(nn.Module):
    """A head for each task; from the encoder's features to each task's mean loss and what is told of it."""

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
        """ "loss", and for each task "sum.NAME", "clips.NAME" and "right.NAME" (not differentiable)."""
        size = len(batch["task"])
        total = features.pooled.new_zeros((), dtype=torch.float32)
        told: dict[str, Tensor] = {}
        for i, (name, task) in enumerate(self.tasks.items()):
            mine = (batch["task"] == i).float()  # (B,)
            losses, right = self._one(name, task, features, batch[f"label.{name}"])
            loss = (losses * mine).sum()
            total = total + task.weight * loss / size
            told |= {f"sum.{name}": loss.detach(), f"clips.{name}": mine.sum(), f"right.{name}": (right * mine).sum()}
        return {"loss": total, **told}

    def _one(self, name: str, task: TaskConfig, features: AudioFeatures, label: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and share answered right, each (B,); rows of other tasks hold numbers that nobody uses."""
        head = self.heads[name]
        if task.kind == "caption":
            begin = torch.full_like(label[:, :1], CAPTION_END)
            given = torch.cat([begin, label[:, :-1]], 1).clamp_min(0)
            logits = head(given, features.tokens).float()  # (B, L, V)
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


class Report:
    """What each task did over the run: clips seen, mean loss and mean score of the last part.

    The score is the share right (classify, count, tag by label, caption by token) or minus the mean absolute error.
    """

    def __init__(self, tasks: Mapping[str, TaskConfig]) -> None:
        self.kinds = {name: task.kind for name, task in sorted(tasks.items())}
        self.seen = dict.fromkeys(self.kinds, 0.0)

    def step(self, scalars: Mapping[str, float]) -> dict[str, float]:
        """From sums to means, for the log of a step."""
        told = {k: v for k, v in scalars.items() if k.partition(".")[0] not in ("sum", "clips", "right")}
        for name in self.kinds:
            if f"clips.{name}" not in scalars:
                continue
            count = scalars[f"clips.{name}"]
            self.seen[name] += count
            if count:
                told |= {
                    f"loss.{name}": scalars[f"sum.{name}"] / count,
                    f"score.{name}": scalars[f"right.{name}"] / count,
                }
        return told

    def table(self, lines: Sequence[Mapping[str, Any]]) -> str:
        """Markdown, from the lines of metrics.jsonl."""
        rows = ["| task | kind | clips | first loss | last loss | last score |", "|" + " --- |" * 6]
        for name, kind in self.kinds.items():
            losses = [x[f"loss.{name}"] for x in lines if f"loss.{name}" in x]
            scores = [x[f"score.{name}"] for x in lines if f"score.{name}" in x]
            tail = max(1, len(losses) // 10)
            mean = lambda values: f"{sum(values) / len(values):.4f}" if values else ""  # noqa: E731
            cells = [
                name,
                kind,
                f"{self.seen[name]:.0f}",
                mean(losses[:tail]),
                mean(losses[-tail:]),
                mean(scores[-tail:]),
            ]
            rows.append("| " + " | ".join(cells) + " |")
        return "\n".join(rows) + "\n"
