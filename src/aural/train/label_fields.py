"""Batch fields of labels: answers of tasks, classes, numbers, and the frames of scenes.

Legend: B clips of this process, N frames, C classes.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field as Option

from aural.core.config import Config
from aural.core.errors import ConfigError, DataError
from aural.train.config import TaskConfig
from aural.train.fields import FIELDS, Field, Sample, Setting, Tensors, read_fact
from aural.train.head_kinds import multi_hot
from aural.train.sources import listed
from aural.train.tasks import Labels


class TasksConfig(Config):
    """Supervised tasks by name."""

    tasks: dict[str, TaskConfig]


@FIELDS.register("tasks")
class TasksField(Field):
    """Answers of supervised tasks: "task" (B,) and for each task "label.NAME"."""

    config_type = TasksConfig

    def __init__(self, config: TasksConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        task_of = [source.task for source in setting.data.sources]
        self.labels = Labels(config.tasks, task_of, setting.sources, setting.recipe.seed)

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"task", *(f"label.{name}" for name in self.config.tasks)})

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        return self.labels.collate([(sample.source, sample.item) for sample in samples])


class LabelsConfig(Config):
    """The column and the classes of labels."""

    column: str = "class_name"
    """A column of the manifest, "meta.KEY" of its meta JSON, or a key of a scene's truth record (`classes`)."""
    classes: tuple[str, ...] = Option(min_length=1)


@FIELDS.register("labels")
class LabelsField(Field):
    """Classes of each clip: "label_sets" (B, C), 1 where the clip has the class; "label" (B,), the first one's number.

    The "label" of a clip without a class is negative and equals no other clip's.
    """

    config_type = LabelsConfig

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"label_sets", "label"})

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        names = [listed(read_fact(sample.item, self.config.column, "labels")) for sample in samples]
        number = {name: place for place, name in enumerate(self.config.classes)}
        firsts = [
            next((number[name] for name in row if name in number), -1 - zlib.crc32(sample.item.key.encode()))
            for row, sample in zip(names, samples, strict=True)
        ]
        return {"label_sets": multi_hot(names, self.config.classes), "label": torch.tensor(firsts)}


class NumberConfig(Config):
    """The column of a number."""

    column: str
    """A column of the manifest, "meta.KEY" of its meta JSON, or a key of a scene's truth record (`event_count`)."""


@FIELDS.register("numbers")
class NumbersField(Field):
    """A number per clip: "numbers" (B,)."""

    config_type = NumberConfig

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"numbers"})

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        values = [read_fact(sample.item, self.config.column, "numbers") for sample in samples]
        try:
            return {"numbers": torch.tensor([float(value) for value in values])}
        except (TypeError, ValueError):
            raise DataError(f"data.fields.numbers: {self.config.column} is not a number in every clip") from None


class FramesConfig(Config):
    """Frame labels from the events of a truth record."""

    classes: tuple[str, ...] = Option(min_length=1)
    frames: Annotated[int, Option(ge=1)]
    """Frames per window."""


@FIELDS.register("frames")
class FramesField(Field):
    """Frame labels from the truth record of a scene: "frame_labels" (B, N, C), 1 while the class sounds."""

    config_type = FramesConfig

    def __init__(self, config: FramesConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        if setting.audio is None:
            raise ConfigError("data.fields.frames: the recipe's system has no sound tower")
        if setting.data.batching.name == "lengths":
            raise ConfigError('data.fields.frames: frame labels need data.batching "windows"')
        self.rate_hz = config.frames / setting.audio.window_s

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"frame_labels"})

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        from aural.data.simulate.truth import SceneTruth, frame_labels

        labels = np.zeros((len(samples), self.config.frames, len(self.config.classes)), np.float32)
        for sample, rows in zip(samples, labels, strict=True):
            if "events" not in sample.item.facts:
                raise DataError(f"data.fields.frames: {sample.item.key} has no truth record with events; use scenes")
            truth = SceneTruth.from_facts(sample.item.facts)
            frames = frame_labels(truth, self.config.classes, self.rate_hz)[: len(rows)]
            rows[: len(frames)] = frames
        return {"frame_labels": torch.from_numpy(labels)}
