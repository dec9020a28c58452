"""The loss of a recipe: a weighted sum of objectives, each with its inputs renamed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives import build_objective
from aural.objectives.base import Objective
from aural.train.config import ObjectiveConfig
from aural.train.targets import Producer

Gather = Callable[[str, Tensor], Tensor]


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
    producers: tuple[Producer, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """Names of the system's, teachers' and batch tensors that it takes."""
        names = self.objective.needs - {producer.gives for producer in self.producers}
        direct = frozenset(self.inputs.get(name, name) for name in names)
        return direct.union(*(producer.needs for producer in self.producers))

    @property
    def exchanges(self) -> bool:
        """Whether the objective itself exchanges rows between processes."""
        return getattr(getattr(self.objective, "config", None), "exchange", "none") != "none"

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the objective's scalars."""
        given = {producer.gives: producer(tensors) for producer in self.producers}
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

    def check(self, given: Iterable[str]) -> None:
        """Raise ConfigError if an objective needs a tensor that is not among `given`."""
        names = set(given)
        for term in self.terms:
            missing = sorted(term.needs - names)
            if missing:
                raise ConfigError(
                    f'objective "{term.label}" needs {" and ".join(missing)}, which this recipe does not give; '
                    f"it gives {', '.join(sorted(names))}"
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
    label = config.label or config.name
    for name in config.inputs:
        if name not in objective.needs:
            needs = ", ".join(sorted(objective.needs))
            raise ConfigError(f'objective "{label}" takes no input "{name}"; it takes {needs}')
    producers = tuple(Producer(targets) for targets in config.targets)
    for producer in producers:
        if producer.gives not in objective.needs:
            raise ConfigError(f'objective "{label}" takes no {producer.gives}; take "{producer.name}" out of `targets`')
    return Term(label, objective, config.weight, config.inputs, producers)
