"""Producers of target and weight matrices in a recipe: a registered function, its options and its inputs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from aural.core.errors import ConfigError, near_miss
from aural.objectives.targets import TARGETS, tree_similarity
from aural.train.config import TargetsConfig

DEFAULT_INPUTS = {
    "row_label": "label",
    "row_labels": "labels",
    "column_count": "numbers",
    "frozen_emb": "teacher_text_emb",
}


class Producer:
    """Computes `targets` or `weights` (B, B) from tensors with a row per clip.

    Raises:
        ConfigError: an unknown producer, option or input.
    """

    def __init__(self, config: TargetsConfig) -> None:
        self.name = config.name
        self.function = TARGETS[config.name]
        self.gives = TARGETS.axes_of(config.name).get("gives", "targets")
        arguments = inspect.signature(self.function).parameters
        self.options = self._options(dict(config.options), arguments)
        required = [name for name, a in arguments.items() if a.default is a.empty and name not in self.options]
        for name in config.inputs:
            if name not in arguments or name in self.options:
                raise ConfigError(f'targets "{self.name}" takes no input "{name}"; {near_miss(name, required)}')
        names = dict.fromkeys([*required, *config.inputs])
        self.inputs = {name: config.inputs.get(name, DEFAULT_INPUTS.get(name, name)) for name in names}

    def _options(self, options: dict[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        if "similarity" in arguments:
            if "paths" not in options:
                raise ConfigError(f'targets "{self.name}" needs the option paths: class -> nodes below the root')
            options["similarity"] = tree_similarity(list(options.pop("paths").values()))
        for name in options:
            if name not in arguments:
                raise ConfigError(f'targets "{self.name}" has no option "{name}"; {near_miss(name, arguments)}')
        return options

    @property
    def needs(self) -> frozenset[str]:
        """Names of the system's, a teacher's or batch tensors that it takes."""
        return frozenset(self.inputs.values())

    def __call__(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the matrix."""
        given = {name: tensors[source] for name, source in self.inputs.items()}
        return self.function(**given, **self.options)
