"""Labels and report of supervised tasks: answers of clips as tensors, and what each task did over a run.

Legend: B clips, C classes, L caption tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from aural.core.errors import AudioError, AuralError, ConfigError, DataError, near_miss
from aural.train.config import TaskConfig
from aural.train.draw import ITEM, generator
from aural.train.head_kinds import HEAD_KINDS

if TYPE_CHECKING:
    from aural.train.sources import Item, Source


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
        self.kinds = {
            name: HEAD_KINDS[task.kind](name, task, self.classes[name], seed) for name, task in self.tasks.items()
        }
        for source, task in zip(sources, self.task_of, strict=True):
            self._check_source(source, task)

    def _check_source(self, source: Source, name: str) -> None:
        """Raise unless the source's first clip has the answer that its task needs and its classes can occur."""
        task = self.tasks[name]
        if not self.kinds[name].reads_column:
            return
        labels = getattr(source, "labels", ())  # of scenes: the classes that can sound
        for label in task.classes:
            if labels and label not in labels:
                raise ConfigError(f'tasks.{name}: "{label}" is no class of {source.name}; {near_miss(label, labels)}')
        try:
            first = source.item(0, partial(generator, self.seed, ITEM, 0))
        except (AudioError, DataError):
            return  # an unreadable clip is replaced and reported when it is drawn
        self.kinds[name].answer(first)

    def _classes(self, name: str, sources: Sequence[Source]) -> tuple[str, ...]:
        task = self.tasks[name]
        if not HEAD_KINDS[task.kind].has_classes:
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
            kind = self.kinds[name]
            mine = zip(drawn, tasks, strict=True)
            answers = [kind.answer(item) if task == name else None for (_, item), task in mine]
            batch[f"label.{name}"] = kind.labels(answers)
        return batch


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
