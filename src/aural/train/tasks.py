"""Labels and report of supervised tasks: answers of clips as tensors, and what each task did over a run.

Legend: B clips, C classes, L caption tokens.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aural.core.errors import AudioError, AuralError, ConfigError, DataError, near_miss
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.train.config import TaskConfig
from aural.train.draw import ITEM, generator, number
from aural.train.sources import answer, listed

if TYPE_CHECKING:
    from aural.train.sources import Item, Source

IGNORE = -100
CAPTION_TOKENIZER, CAPTION_END = "gpt2", 50256


class Labels:
    """Converts the answers of clips to tensors. The class list of each task is fixed before training starts.

    Args:
        tasks: the tasks by name.
        task_of: for each source the name of its task.
        sources: the sources, in the same order.
        seed: of the choice among several captions.

    Raises:
        ConfigError: a source names no task, or an unknown one, or its classes must be listed.
        DataError: the clips of a source have no answer, or fewer than two classes.
    """

    def __init__(
        self, tasks: Mapping[str, TaskConfig], task_of: Sequence[str], sources: Sequence[Source], seed: int
    ) -> None:
        self.tasks, self.task_of, self.seed = tasks, list(task_of), seed
        for task in self.task_of:
            if task not in self.tasks:
                raise ConfigError(
                    f'data.sources: task "{task}" is not one of tasks; {near_miss(task, self.tasks)}'
                    if task
                    else "data.sources: each source of a many-task recipe names its task"
                )
        self.names = sorted(self.tasks)
        self.classes = {name: self._classes(name, sources) for name in self.names}
        for source, task in zip(sources, self.task_of, strict=True):
            self._check_source(source, task)
        self.tokenizer: Tokenizer | None = None
        if any(task.kind == "caption" for task in self.tasks.values()):
            longest = max(task.max_tokens for task in self.tasks.values())
            backend = load_backend(CAPTION_TOKENIZER)
            self.tokenizer = Tokenizer(
                backend, special="none", max_tokens=longest, pad_id=CAPTION_END, suffix=" <|endoftext|>"
            )

    def _check_source(self, source: Source, name: str) -> None:
        """Raise unless the source's first clip has the answer that its task needs and its classes can occur."""
        task = self.tasks[name]
        if task.kind == "caption":
            return
        labels = getattr(source, "labels", ())  # of scenes: the classes that can sound
        for label in task.classes:
            if labels and label not in labels:
                raise ConfigError(f'tasks.{name}: "{label}" is no class of {source.name}; {near_miss(label, labels)}')
        try:
            first = source.item(0, partial(generator, self.seed, ITEM, 0))
        except (AudioError, DataError):
            return  # an unreadable clip is replaced and reported when it is drawn
        self._answer(name, first)

    def _classes(self, name: str, sources: Sequence[Source]) -> tuple[str, ...]:
        task = self.tasks[name]
        if task.kind not in ("classify", "tag"):
            return ()
        if task.classes:
            return task.classes
        names: set[str] = set()
        for source, source_task in zip(sources, self.task_of, strict=True):
            if source_task != name:
                continue
            try:
                names |= source.values(task.column)
            except AuralError as error:
                raise type(error)(f"tasks.{name}: {error}") from None
        names.discard("")
        if len(names) < 2:
            raise DataError(f"tasks.{name}: {task.column} holds {len(names)} classes; at least 2 are needed")
        return tuple(sorted(names))

    def collate(self, drawn: Sequence[tuple[int, Item]]) -> dict[str, Any]:
        """Return "task" (B,) and for each task "label.NAME", whose rows of other tasks are ignored.

        drawn: pairs of a source's number and an item.
        """
        tasks = [self.task_of[place] for place, _ in drawn]
        batch: dict[str, Any] = {"task": torch.tensor([self.names.index(name) for name in tasks])}
        for name in self.names:
            items = [item if task == name else None for (_, item), task in zip(drawn, tasks, strict=True)]
            batch[f"label.{name}"] = self._labels(name, items)
        return batch

    def _labels(self, name: str, items: Sequence[Item | None]) -> Tensor:
        task, classes = self.tasks[name], self.classes[name]
        if task.kind == "caption":
            return self._captions(task, items)
        values = [None if item is None else self._answer(name, item) for item in items]
        if task.kind == "tag":
            return multi_hot([() if value is None else listed(value) for value in values], classes)
        if task.kind == "classify":
            return torch.tensor([IGNORE if v is None else self._class(name, str(v)) for v in values])
        numbers = [float(IGNORE) if v is None else _number(v, name, task.column) for v in values]
        if task.kind == "count":
            return torch.tensor([int(v) if v == IGNORE else min(int(v), task.highest) for v in numbers])
        return torch.tensor(numbers)

    def _captions(self, task: TaskConfig, items: Sequence[Item | None]) -> Tensor:
        assert self.tokenizer is not None
        texts = ["" if item is None else self._caption(item) for item in items]
        tokens = self.tokenizer([text or " " for text in texts])
        ids = torch.where(tokens.mask.bool(), tokens.ids, IGNORE)[:, : task.max_tokens]
        ids = nn.functional.pad(ids, (0, task.max_tokens - ids.shape[1]), value=IGNORE)  # always the same shape
        return torch.where(torch.tensor([item is not None for item in items])[:, None], ids, IGNORE)

    def _answer(self, name: str, item: Item) -> Any:
        try:
            return answer(item.facts, self.tasks[name].column)
        except DataError as error:
            raise DataError(f"tasks.{name}: {error}") from None

    def _caption(self, item: Item) -> str:
        if not item.captions:
            raise DataError(f"{item.key}: has no caption, which its task needs")
        return item.captions[number(self.seed, ITEM, zlib.crc32(item.place.encode())) % len(item.captions)]

    def _class(self, name: str, value: str) -> int:
        if value not in self.classes[name]:
            raise DataError(
                f'tasks.{name}: "{value}" is not one of its classes; {near_miss(value, self.classes[name])}'
            )
        return self.classes[name].index(value)


def multi_hot(names: Sequence[Sequence[str]], classes: Sequence[str]) -> Tensor:
    """Return (B, C) float: 1 where the row's names hold the class.

    >>> multi_hot([["dog"], ["rain", "dog"], []], ["dog", "rain"]).tolist()
    [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    """
    column = {name: place for place, name in enumerate(classes)}
    values = torch.zeros(len(names), len(classes))
    for row, row_names in enumerate(names):
        for name in row_names:
            if name in column:
                values[row, column[name]] = 1.0
    return values


def _number(value: Any, name: str, column: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f'tasks.{name}: {column} holds "{value}", which is not a number') from None


class Report:
    """A report per task over a run: clips seen, first and last mean loss, last mean score.

    The score is the share of right answers (classify, count; tag per label, caption per token) or minus the mean
    absolute error (regress).
    """

    def __init__(self, tasks: Mapping[str, TaskConfig]) -> None:
        self.kinds = {name: task.kind for name, task in sorted(tasks.items())}
        self.seen = dict.fromkeys(self.kinds, 0.0)

    def step(self, scalars: Mapping[str, float]) -> dict[str, float]:
        """Return a step's sums as means per clip, for the log."""
        line = {k: v for k, v in scalars.items() if k.partition(".")[0] not in ("sum", "clips", "right")}
        for name in self.kinds:
            if f"clips.{name}" not in scalars:
                continue
            count = scalars[f"clips.{name}"]
            self.seen[name] += count
            if count:
                line[f"loss.{name}"] = scalars[f"sum.{name}"] / count
                line[f"score.{name}"] = scalars[f"right.{name}"] / count
        return line

    def table(self, lines: Sequence[Mapping[str, Any]]) -> str:
        """Return a Markdown table from the lines of metrics.jsonl."""
        rows = ["| task | kind | clips | first loss | last loss | last score |", "|" + " --- |" * 6]
        for name, kind in self.kinds.items():
            losses = [x[f"loss.{name}"] for x in lines if f"loss.{name}" in x]
            scores = [x[f"score.{name}"] for x in lines if f"score.{name}" in x]
            tail = max(1, len(losses) // 10)
            means = [_mean(losses[:tail]), _mean(losses[-tail:]), _mean(scores[-tail:])]
            rows.append("| " + " | ".join([name, kind, f"{self.seen[name]:.0f}", *means]) + " |")
        return "\n".join(rows) + "\n"


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.4f}" if values else ""
