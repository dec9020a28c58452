"""Compute the loss of a recipe: a weighted sum of objectives, each with its inputs renamed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives import build_objective
from aural.objectives.base import Objective
from aural.objectives.targets import TargetProducer, build_targets
from aural.train.config import ObjectiveConfig

FIXES = {
    "logit_bias": "set model.clap.logit_bias=true (system.logit_bias=true in a recipe with `system`)",
    "hard_text_emb": "set data.negatives to the number of false captions per clip",
    "hard_text_mask": "set data.negatives to the number of false captions per clip",
    "targets": "name a producer of targets in objective.targets, for example [{name: labels}]",
    "weights": "name a producer of weights in objective.targets, for example [{name: propensity}]",
}
"""Keys of a recipe that make it give a tensor."""

SYSTEM_TENSORS = frozenset({"logit_bias", "logit_scale"})
"""Tensors that no batch can give, so that they are checked before the data are opened."""

Gather = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True)
class Targets:
    """A producer of the matrix `targets` or `weights`. `inputs` renames what it takes."""

    producer: TargetProducer
    inputs: Mapping[str, str]

    @property
    def needs(self) -> frozenset[str]:
        """Names of the system's, teachers' and batch tensors that it takes."""
        return frozenset(self.inputs.get(name, name) for name in self.producer.needs)

    def __call__(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the matrix."""
        return self.producer({name: tensors[self.inputs.get(name, name)] for name in self.producer.needs})


@dataclass(frozen=True)
class Term:
    """One objective with its weight.

    `inputs` maps the objective's names to those of the system, teachers and batch. `producers` compute the matrices
    `targets` and `weights` from other tensors.
    """

    label: str
    objective: Objective
    weight: float
    inputs: Mapping[str, str]
    producers: tuple[Targets, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """Names of the system's, teachers' and batch tensors that it takes."""
        names = self.objective.needs - {targets.producer.gives for targets in self.producers}
        direct = frozenset(self.inputs.get(name, name) for name in names)
        return direct.union(*(targets.needs for targets in self.producers))

    @property
    def exchanges(self) -> bool:
        """True if the objective itself exchanges rows between processes."""
        return getattr(getattr(self.objective, "config", None), "exchange", "none") != "none"

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the objective's scalars."""
        given: dict[str, Tensor] = {targets.producer.gives: targets(tensors) for targets in self.producers}
        for name in self.objective.needs - given.keys():
            given[name] = tensors[self.inputs.get(name, name)]
        return self.objective(given)


class Losses:
    """The weighted sum of the recipe's objectives.

    Raises:
        ConfigError: an unknown objective or option, an input that the objective does not take, or a label used twice.
    """

    def __init__(self, configs: Sequence[ObjectiveConfig]) -> None:
        self.terms = [_term(config) for config in configs]
        labels = [term.label for term in self.terms]
        for label in labels:
            if labels.count(label) > 1:
                raise ConfigError(f'objectives: two entries are named "{label}"; give one of them another `label`')

    @property
    def needs(self) -> frozenset[str]:
        """Names of all tensors that the objectives take."""
        return frozenset[str]().union(*(term.needs for term in self.terms))

    def check(self, given: Iterable[str], *, only: frozenset[str] | None = None) -> None:
        """Raise ConfigError if an objective needs a tensor that is not among `given`; `only`: check only these."""
        names = set(given)
        for term in self.terms:
            missing = sorted((term.needs if only is None else term.needs & only) - names)
            if missing:
                fix = "; ".join(FIXES[name] for name in missing if name in FIXES)
                fix = fix or f"it gives {', '.join(sorted(names))}; rename one of them in the objective's `inputs`"
                raise ConfigError(
                    f'objective "{term.label}" needs {" and ".join(missing)}, which this recipe does not give; {fix}'
                )

    def __call__(self, tensors: Mapping[str, Tensor], gather: Gather | None = None) -> dict[str, Tensor]:
        """Return "loss", the weighted sum, and its parts.

        With several objectives, "loss.LABEL" is each one's loss before weighting and "LABEL.PART" are its parts.

        gather: concatenates a tensor's rows over processes, for objectives that do not do it themselves.
        """
        rows: dict[str, Tensor] = {}
        scalars: dict[str, Tensor] = {}
        total: Tensor | None = None
        for term in self.terms:
            given = dict(tensors)
            if gather is not None and not term.exchanges:
                for name in sorted(term.needs):
                    if name not in rows:
                        rows[name] = gather(name, tensors[name])
                given = rows
            parts = term(given)
            loss = parts.pop("loss")
            weighted = loss if term.weight == 1 else term.weight * loss
            total = weighted if total is None else total + weighted
            if len(self.terms) == 1:
                scalars |= parts
            else:
                scalars[f"loss.{term.label}"] = loss.detach()
                scalars |= {f"{term.label}.{name}": value for name, value in parts.items()}
        assert total is not None
        return {"loss": total, **scalars}


def _term(config: ObjectiveConfig) -> Term:
    objective = build_objective(config.name, config.options)
    if hasattr(objective.config, "check_ranks"):
        objective = build_objective(config.name, {"check_ranks": False} | config.options)
    label = config.label or config.name
    _check_inputs(f'objective "{label}"', config.inputs, objective.needs)
    producers = []
    for targets in config.targets:
        producer = build_targets(targets.name, targets.options)
        _check_inputs(f'targets "{targets.name}"', targets.inputs, producer.needs)
        if producer.gives not in objective.needs:
            raise ConfigError(
                f'objective "{label}" takes no {producer.gives}; take "{targets.name}" out of its targets'
            )
        producers.append(Targets(producer, targets.inputs))
    return Term(label, objective, config.weight, config.inputs, tuple(producers))


def _check_inputs(what: str, inputs: Mapping[str, str], needs: frozenset[str]) -> None:
    for name in inputs:
        if name not in needs:
            raise ConfigError(f'{what} takes no input "{name}"; it takes {", ".join(sorted(needs))}')
