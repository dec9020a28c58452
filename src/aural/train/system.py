"""The contract of a system: a module that maps a batch to named tensors.

A recipe names its system in `system: {name: ..., ...options}`. `SYSTEMS` maps the name to a class; the class states its
options as `config_type`. The config answers, before anything is built, which batch fields the system reads and which
tensors it gives (`SystemConfig.plan`), so a recipe whose objectives need something else is refused before step 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.core.registry import Registry
from aural.encoders.text import TextConfig
from aural.models.clap import AudioConfig, Clap
from aural.train.config import Recipe

if TYPE_CHECKING:
    from aural.train.loader import Batch, Batches
    from aural.train.tasks import Report

BatchNorm = Literal["batch", "calibrated", "sync"]


class PartConfig(Config):
    """A part of a system's loss by its registered name, with its options and its share of the total loss."""

    name: str
    weight: Annotated[float, Field(gt=0)] = 1.0
    options: dict[str, Any] = Field(default_factory=dict)


def build_part(registry: Registry[Any], part: PartConfig, shape: Any, *, key: str) -> Any:
    """Construct a part from its options and the shape that all parts of a system get.

    key: the recipe's key of the list of parts, for messages.

    Raises:
        ConfigError: an unknown name or option.
    """
    kind = registry[part.name]
    try:
        config = kind.config_type.parse(part.options, f'{registry.kind} "{part.name}"')
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    return kind(config, shape)


@dataclass(frozen=True)
class Plan:
    """The inputs and outputs of a system.

    Attributes:
        fields: batch fields it reads (names of `FIELDS`), each with its options.
        rows: tensors with one or more rows per clip. Rows of micro-batches and processes are concatenated.
        once: tensors given once per batch, such as the temperature.
        lists: lists of a batch that the system reads as well as its tensors.
        ragged: rows (B, L, ...) whose L may differ between micro-batches; they are padded with zeros on the right.
        lengths: the system reads batches of unequal lengths, with "frames" next to the sounds (`data.batching`).
        gives_loss: the system computes its own loss, a mean over clips, and takes no objective.
        audio: window, sample rate and front end of the `sound` field; None: the system does not read sounds.
        text: tokenizer settings of the `text` field; None: the system does not read texts.
    """

    fields: Mapping[str, Mapping[str, Any]]
    rows: frozenset[str] = frozenset()
    once: frozenset[str] = frozenset()
    ragged: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    gives_loss: bool = False
    lengths: bool = False
    audio: AudioConfig | None = None
    text: TextConfig | None = field(default=None)

    @property
    def gives(self) -> frozenset[str]:
        """Names of all tensors that the system gives."""
        return self.rows | self.once | self.ragged


class SystemConfig(Config):
    """Options of a system; each system adds its own."""

    batch_norm: BatchNorm = "batch"
    """batch: statistics per micro-batch and process. sync: over all processes (CUDA). calibrated: measured on the first
    batches before step 0 and then constant, so that the result does not depend on how a batch is split."""

    def plan(self, recipe: Recipe) -> Plan:
        """Return what the system reads and gives under this recipe."""
        raise NotImplementedError


class System(nn.Module, ABC):
    """A module that maps a batch to the tensors that its plan names.

    A subclass takes its config and the batches (for class lists that come from the data) and starts from random or
    given weights; random ones come from torch's current generator.
    """

    config_type: ClassVar[type[SystemConfig]]

    def __init__(self, config: Any, batches: Batches | None) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the tensors that the plan names."""

    def parts(self) -> dict[str, nn.Module]:
        """Return the encoders by name, for learning rates, layer decay, compilation and the dry run."""
        return {}

    def watch(self) -> dict[str, Tensor]:
        """Return scalars that are logged at each step, such as the temperature."""
        return {}

    def report(self) -> Report:
        """Return the object that collects what the system logs per task."""
        from aural.train.tasks import Report

        return Report({})

    def export(self, folder: Path, recipe: Recipe, state: Mapping[str, Tensor]) -> None:
        """Write the trained model to `folder`. `state` is the system's state dict, averaged or not, on any device."""
        raise NotImplementedError

    def blank(self, batches: Batches) -> System:
        """Construct a system of the same shape without reading start weights, to load a state dict into."""
        return type(self)(self.config, batches)

    def model(self) -> Clap | None:
        """Return the two-tower model for evaluators that embed sounds and texts; None: the system has none."""
        return None

    def train(self, mode: bool = True) -> System:
        """Switch between training and evaluation; calibrated BatchNorm stays in evaluation mode."""
        super().train(mode)
        if self.config.batch_norm == "calibrated":
            for norm in norms_of(self):
                norm.eval()
        return self


# Taxonomy of systems, after the survey of audio-language models. Tables: docs/reproduced/taxonomy.md.
SYSTEM_AXES = {
    "architecture": ("two towers", "encoder and heads", "encoder and language model", "cooperating models"),
    "training": ("contrastive", "discriminative", "generative"),
}

SYSTEMS: Registry[type[System]] = Registry("system", SYSTEM_AXES)


def norms_of(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Return every BatchNorm of a module."""
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def calibrate(module: nn.Module, batches: Iterable[Batch]) -> None:
    """Set the statistics of every BatchNorm to their plain mean over these batches."""
    norms = norms_of(module)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in batches:
            module(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
