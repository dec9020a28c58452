"""Teachers: sources of targets that no gradient reaches.

A teacher gives tensors named by its prefix and the output that they stand for: `teacher_audio_emb`.

| kind | gives |
| --- | --- |
| frozen | embeddings of a finished model, for the same sounds (without mask augmentation) and texts |
| ema | the outputs of the exponential average of the system's own weights, for the same batch, without dropout |
| peer | the system's own outputs without gradient, so that two of its towers can teach each other |
| queue | rows of earlier steps (Q, E), the newest first |
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.models.clap import AudioTower, TextTower
from aural.models.prefix import strip_prefix
from aural.train.config import TeacherConfig
from aural.train.draw import TEACHER, number
from aural.train.inputs import log_mel, unit
from aural.train.optimizer import Averaged
from aural.train.system import Plan, System


class Teacher:
    """Base of the kinds: gives nothing, follows nothing, has no state."""

    def __init__(self, config: TeacherConfig, plan: Plan) -> None:
        self.config = config
        unknown = sorted(set(config.of) - plan.rows - plan.ragged)
        if unknown:
            raise ConfigError(f"teachers: the system has no rows {' and '.join(unknown)}; it has {sorted(plan.rows)}")
        self.of = config.of or tuple(sorted(plan.rows))

    def name(self, output: str) -> str:
        """Return the name of the tensor that stands for an output."""
        return f"{self.config.name}_{output}"

    @property
    def rows(self) -> frozenset[str]:
        """Names of the tensors with rows per clip."""
        return frozenset(self.name(output) for output in self.of)

    @property
    def once(self) -> frozenset[str]:
        """Names of the tensors that are not rows of this batch."""
        return frozenset()

    def start(self, system: System, device: torch.device) -> None:
        """Prepare for a run of this system."""

    def teach(self, batch: Mapping[str, Any], out: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of one micro-batch, from the batch or from the system's outputs."""
        return {}

    def held(self, out: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors that are not rows of this batch; `out` shows their width and device."""
        return {}

    def see(self, rows: Mapping[str, Tensor]) -> None:
        """Take in the system's outputs for the whole batch of all processes."""

    def follow(self, step: int) -> None:
        """Follow the system after the update of a step."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint stores."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what a checkpoint stored."""


class Frozen(Teacher):
    """Embeddings of a finished model."""

    def __init__(self, config: TeacherConfig, plan: Plan) -> None:
        super().__init__(config, plan)
        self.of = tuple(f"{tower}_emb" for tower in config.towers)
        self.plan = plan
        self.towers: dict[str, AudioTower | TextTower] = {}

    def start(self, system: System, device: torch.device) -> None:
        self.towers = {
            name: tower.to(device)
            for name, tower in load_towers(self.config.model, self.config.towers, self.plan, system).items()
        }

    @torch.no_grad()
    def teach(self, batch: Mapping[str, Any], out: Mapping[str, Tensor]) -> dict[str, Tensor]:
        taught = {}
        for name, tower in self.towers.items():
            if isinstance(tower, AudioTower):
                rows = tower.embed_mel(log_mel(tower.front_end, batch))
            else:
                rows = tower(batch["ids"], batch["mask"])
            taught[self.name(f"{name}_emb")] = unit(rows)
        return taught


class Ema(Teacher):
    """A copy of the system whose weights are the exponential average of the system's."""

    def start(self, system: System, device: torch.device) -> None:
        self.twin = copy.deepcopy(system).requires_grad_(False).eval()
        self.average = Averaged(system, self.config.decay)
        self.average.tensors = self.twin.state_dict()  # the same memory: what follows here moves the twin

    @torch.no_grad()
    def teach(self, batch: Mapping[str, Any], out: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs = self.twin(dict(batch))
        return {self.name(output): outputs[output] for output in self.of}

    def follow(self, step: int) -> None:
        self.average.update(step)

    def state(self) -> dict[str, Any]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.average.tensors.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.twin.load_state_dict(dict(state))


class Peer(Teacher):
    """The system's own outputs, detached."""

    def teach(self, batch: Mapping[str, Any], out: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {self.name(output): out[output].detach() for output in self.of}


class Queue(Teacher):
    """Rows of earlier steps. Until the queue is full, the rest are random unit vectors."""

    def __init__(self, config: TeacherConfig, plan: Plan) -> None:
        super().__init__(config, plan)
        self.tensors: dict[str, Tensor] = {}
        self.seen: dict[str, list[Tensor]] = {}
        self.seed = 0

    @property
    def rows(self) -> frozenset[str]:
        return frozenset()

    @property
    def once(self) -> frozenset[str]:
        return frozenset(self.name(output) for output in self.of)

    def held(self, out: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for place, output in enumerate(self.of):
            if output not in self.tensors:
                random = torch.Generator().manual_seed(number(self.seed, TEACHER, place))
                width = out[output].shape[1:]
                start = unit(torch.randn(self.config.size, *width, generator=random))
                self.tensors[output] = start.to(out[output])
        return {self.name(output): self.tensors[output].clone() for output in self.of}

    def see(self, rows: Mapping[str, Tensor]) -> None:
        for output in self.of:
            self.seen.setdefault(output, []).append(rows[output].detach())

    def follow(self, step: int) -> None:
        for output, parts in self.seen.items():
            self.tensors[output] = torch.cat([*parts, self.tensors[output]])[: self.config.size]
        self.seen = {}

    def state(self) -> dict[str, Any]:
        return {name: tensor.cpu() for name, tensor in self.tensors.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.tensors = dict(state)

    def start(self, system: System, device: torch.device) -> None:
        self.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}


KINDS: dict[str, type[Teacher]] = {"frozen": Frozen, "ema": Ema, "peer": Peer, "queue": Queue}


class Teachers:
    """The teachers of a recipe.

    Raises:
        ConfigError: two teachers have one name, or one names an output that the system does not give.
    """

    def __init__(self, configs: Sequence[TeacherConfig], plan: Plan, seed: int = 0) -> None:
        self.each = [KINDS[config.kind](config, plan) for config in configs]
        names = [name for teacher in self.each for name in teacher.rows | teacher.once]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f'teachers: two of them give "{name}"; give one of them another `prefix`')
        for teacher in self.each:
            if isinstance(teacher, Queue):
                teacher.seed = seed

    @property
    def rows(self) -> frozenset[str]:
        """Names of the tensors with rows per clip."""
        return frozenset[str]().union(*(teacher.rows for teacher in self.each))

    @property
    def once(self) -> frozenset[str]:
        """Names of the tensors that are not rows of the batch."""
        return frozenset[str]().union(*(teacher.once for teacher in self.each))

    def start(self, system: System, device: torch.device, *, sharded: bool = False) -> None:
        """Prepare all teachers for a run of this system."""
        if sharded and any(isinstance(teacher, Ema) for teacher in self.each):
            raise ConfigError('a teacher of kind "ema" needs whole weights; use loop.parallel "ddp"')
        for teacher in self.each:
            teacher.start(system, device)

    def teach(self, batch: Mapping[str, Any], out: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of one micro-batch."""
        return {name: t for teacher in self.each for name, t in teacher.teach(batch, out).items()}

    def held(self, out: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors that are not rows of the batch."""
        return {name: t for teacher in self.each for name, t in teacher.held(out).items()}

    def see(self, out: Mapping[str, Tensor], gather: Callable[[str, Tensor], Tensor]) -> None:
        """Show the queues the system's outputs for a batch."""
        for teacher in self.each:
            if isinstance(teacher, Queue):
                teacher.see({name: gather(name, out[name]) for name in teacher.of})

    def follow(self, step: int) -> None:
        """Follow the system after the update of a step."""
        for teacher in self.each:
            teacher.follow(step)

    def state(self) -> list[dict[str, Any]]:
        """Return what a checkpoint stores."""
        return [teacher.state() for teacher in self.each]

    def load(self, state: Sequence[Mapping[str, Any]], device: torch.device) -> None:
        """Restore what a checkpoint stored."""
        for teacher, stored in zip(self.each, state, strict=True):
            teacher.load({name: tensor.to(device) for name, tensor in stored.items()})


def load_towers(name: str, wanted: Sequence[str], plan: Plan, system: System) -> dict[str, AudioTower | TextTower]:
    """Return the named towers of a finished model, frozen.

    Raises:
        ConfigError: the model has another log-mel, tokenizer or number of dimensions than the recipe's.
    """
    from aural.models.open import open_checkpoint

    checkpoint = open_checkpoint(name)
    config = checkpoint.config
    width = getattr(system.config, "embed_dim", config.embed_dim)
    if "audio" in wanted and (plan.audio is None or config.audio.mel != plan.audio.mel or config.embed_dim != width):
        raise ConfigError(
            f"teachers: {name} has another log-mel or other embedding dimensions than the recipe's model; give both "
            "the same audio.mel and embed_dim"
        )
    if "text" in wanted and (plan.text is None or config.text.tokenizer != plan.text.tokenizer):
        raise ConfigError(f"teachers: {name} has another tokenizer than the recipe's text tower; give both the same")
    towers: dict[str, AudioTower | TextTower] = {}
    for kind in wanted:
        tower: AudioTower | TextTower
        if kind == "audio":
            tower = AudioTower(config.audio, config.embed_dim)
        else:
            tower = TextTower(config.text, config.text_projection, config.embed_dim)
        tower.load_state_dict(strip_prefix(checkpoint.tensors, f"{kind}."), strict=True)
        towers[kind] = tower.eval().requires_grad_(False)
    return towers
