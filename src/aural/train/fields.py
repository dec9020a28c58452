"""Batch fields: what a batch holds of its items, by registered name.

The fields of sounds and captions are in `input_fields`, those of labels in `label_fields`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np

from aural.core.config import Config
from aural.core.errors import DataError
from aural.core.registry import Registry
from aural.encoders.text import TextConfig
from aural.models.clap import AudioConfig
from aural.train.config import DataConfig, Recipe
from aural.train.sources import Item, Source, answer

Tensors: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """An item of a batch, the number of its source, and what makes the generator of its random choices."""

    source: int
    item: Item
    draw: Callable[[], np.random.Generator]

    @cached_property
    def random(self) -> np.random.Generator:
        """The generator, made at the first random choice: making one takes longer than reading a short clip."""
        return self.draw()

    def generator(self) -> np.random.Generator:
        """Return `random`."""
        return self.random


@dataclass(frozen=True)
class Setting:
    """The arguments of every field: the recipe, its open sources, and the input settings of the system."""

    recipe: Recipe
    sources: Sequence[Source]
    audio: AudioConfig | None
    text: TextConfig | None

    @property
    def data(self) -> DataConfig:
        return self.recipe.data


class Field(ABC):
    """Turns the items of a batch into named tensors, one or more rows per item, in the order of the items."""

    config_type: ClassVar[type[Config]] = Config

    def __init__(self, config: Any, setting: Setting) -> None:
        self.config, self.setting = config, setting

    @property
    @abstractmethod
    def gives(self) -> frozenset[str]:
        """Names of the tensors that it can put into a batch."""

    @abstractmethod
    def collate(self, samples: Sequence[Sample]) -> Tensors:
        """Return the tensors of a batch. Random choices come from each sample's generator, fields in turn."""


FIELDS: Registry[type[Field]] = Registry("batch field")


def build_fields(wanted: Mapping[str, Mapping[str, Any]], setting: Setting) -> dict[str, Field]:
    """Return the fields of a batch: those that the system reads, then those that `data.fields` adds.

    `data.fields` also sets options of the system's fields. `views` is the larger of both.
    """
    options: dict[str, dict[str, Any]] = {name: dict(values) for name, values in wanted.items()}
    for name, values in setting.data.fields.items():
        merged = options.setdefault(name, {})
        views = max(merged.get("views", 1), values.get("views", 1))
        merged.update(values)
        if views > 1:
            merged["views"] = views
    fields = {}
    for name, values in options.items():
        kind = FIELDS[name]
        fields[name] = kind(kind.config_type.parse(values, f"data.fields.{name}"), setting)
    return fields


def read_fact(item: Item, column: str, field: str) -> Any:
    """Return what the item's facts hold in a column.

    Raises:
        DataError: they have no such column.
    """
    try:
        return answer(item.facts, column)
    except DataError as error:
        raise DataError(f"data.fields.{field}: {error}") from None
