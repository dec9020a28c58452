"""Claim cards: one published claim, the arms that test it, and the checks that decide it.

A card is a TOML file in `catalog/claims`. Its checks are written before the first run. The hash of the card is stored
with every effect, so a reader can see whether the card changed afterwards. This module imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from aural.core.config import Config
from aural.core.errors import ConfigError, near_miss

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
RESERVED = ("world", "data", "classes")
"""Placeholders in changes that do not name a stage."""
PLACEHOLDER = re.compile(r"\{([a-z0-9-]+)\}")


class Stage(Config):
    """A training run: a base recipe (empty: the card's) and a list of KEY=VALUE changes."""

    base: str = ""
    changes: tuple[str, ...] = ()


class Check(Config):
    """One statement about the scores of a task.

    `of` names an arm ("scenes") or a combination ("scenes - labels"). A combination is the mean of the arms with a
    plus sign minus the mean of the arms with a minus sign. Exactly one of `above`, `below`, `at_least` and `at_most`
    is given. `above` and `below` ask for the whole 95% interval; `at_least` and `at_most` ask for the mean over seeds.
    """

    what: str
    task: str
    metric: str = ""
    """A metric of the task; empty: the metric that its task card names."""
    of: str
    above: float | None = None
    below: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    primary: bool = False

    @model_validator(mode="after")
    def _one_bound(self) -> Check:
        if sum(bound is not None for bound in (self.above, self.below, self.at_least, self.at_most)) != 1:
            raise ValueError(f'check "{self.what}": give exactly one of above, below, at_least and at_most')
        return self

    @property
    def rule(self) -> str:
        """The name of the bound that is given."""
        return next(name for name in ("above", "below", "at_least", "at_most") if getattr(self, name) is not None)

    @property
    def bound(self) -> float:
        """The value of the bound that is given."""
        return float(getattr(self, self.rule))

    @property
    def terms(self) -> tuple[tuple[str, float], ...]:
        """Arms of `of` with their weights: +1 / (number of plus signs), -1 / (number of minus signs)."""
        return parse_terms(self.of)


class Limits(Config):
    """Limits of the evidence: what is simulated, and how the test differs from the paper."""

    synthetic: str = ""
    """What is simulated; empty: nothing."""
    scale_bound: bool = False
    """The paper's result depends on a scale that is not reached here; only the mechanism is shown."""
    human_raters: str = "none"
    differs: str = ""
    """How the arms differ from the paper's, in words."""


class Cost(Config):
    """Expected cost of the whole card."""

    gpu_min: Annotated[float, Field(ge=0)] = 0.0
    """Minutes on one H100 with eight jobs; 0: needs no GPU."""
    cpu_min: Annotated[float, Field(ge=0)] = 0.0
    """Minutes on two CPU cores."""


class ClaimCard(Config):
    """One claim of one or more papers, with everything that is needed to test it."""

    name: str
    rows: tuple[int, ...]
    """Numbers of the related systems in the project's list."""
    paper: str
    claim: str
    package: str
    """The work package, for `aural reproduce --package`."""
    base: str = ""
    """The recipe that every arm starts from."""
    common: tuple[str, ...] = ()
    """Changes of every arm and stage."""
    world: str = ""
    """Name of the material that is built from the data before training (`aural.reproduce.worlds.MATERIALS`), a folder
    that changes write as {world}; empty: nothing."""
    study: str = ""
    """ "package.module:function" for a card without training runs (see `aural.reproduce.study`)."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the study."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    stages: dict[str, Stage] = Field(default_factory=dict)
    """Training runs that arms build on: "{NAME}" in a change is the model folder of stage NAME with the same seed."""
    smoke: tuple[str, ...] = ()
    """Further changes with --smoke."""
    arms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Changes of each arm, applied to the base recipe after `common`."""
    tasks: tuple[str, ...] = ()
    """Evaluation task cards as NAME or NAME@METHOD."""
    check: Annotated[tuple[Check, ...], Field(min_length=1)]
    limits: Limits = Limits()
    cost: Cost = Cost()

    @model_validator(mode="after")
    def _consistent(self) -> ClaimCard:
        if bool(self.base) == bool(self.study):
            raise ValueError("give either base (a recipe) or study (a function)")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: each seed may be given once")
        if sum(check.primary for check in self.check) != 1:
            raise ValueError("mark exactly one check with primary = true")
        for name in (self.name, *self.arms, *self.stages):
            if not NAME.fullmatch(name):
                raise ValueError(f'"{name}": use small letters, digits and hyphens')
        if self.base:
            self._trained()
        return self

    def _trained(self) -> None:
        if not self.arms or not self.tasks:
            raise ValueError("a card with a base recipe needs arms and tasks")
        placeholders = {*self.stages, *RESERVED}
        stages = (change for stage in self.stages.values() for change in stage.changes)
        changes = [*self.common, *stages, *(c for arm in self.arms.values() for c in arm)]
        for name in (n for change in changes for n in PLACEHOLDER.findall(change)):
            if name not in placeholders:
                raise ValueError(f'"{{{name}}}" names no stage; {near_miss(name, placeholders)}')
        for check in self.check:
            if check.task not in self.tasks:
                raise ValueError(f'check "{check.what}": {near_miss(check.task, self.tasks)}')
            for arm, _ in check.terms:
                if arm not in self.arms:
                    raise ValueError(f'check "{check.what}": unknown arm "{arm}"; {near_miss(arm, self.arms)}')

    @property
    def primary(self) -> Check:
        """The check that decides the verdict of the card."""
        return next(check for check in self.check if check.primary)

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over all fields that decide a result; comments, cost and limits do not count."""
        kept = self.model_dump(mode="json", exclude={"cost", "limits", "smoke"})
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def parse_terms(of: str) -> tuple[tuple[str, float], ...]:
    """Split "a + b - c" into arms and weights.

    >>> parse_terms("scenes - labels")
    (('scenes', 1.0), ('labels', -1.0))
    >>> parse_terms("a + b - c - d")
    (('a', 0.5), ('b', 0.5), ('c', -0.5), ('d', -0.5))
    """
    parts = re.split(r" ([+-]) ", of.strip())
    signs, names = ["+", *parts[1::2]], parts[::2]
    if any(not NAME.fullmatch(name) for name in names) or len(set(names)) != len(names):
        raise ConfigError(f'"{of}": write an arm, or arms joined by " + " and " - ", each once')
    count = {sign: signs.count(sign) for sign in "+-"}
    return tuple((name, (1.0 if sign == "+" else -1.0) / count[sign]) for sign, name in zip(signs, names, strict=True))


def claim_names() -> tuple[str, ...]:
    """Return the names of all bundled cards, sorted."""
    return tuple(sorted(_bundled()))


def claim(name: str | Path) -> ClaimCard:
    """Return a bundled card by its exact name, or read any card by its path (a .toml file)."""
    if str(name).endswith(".toml"):
        return ClaimCard.read_card(Path(name))
    if name not in _bundled():
        raise ConfigError(f'unknown claim "{name}"; {near_miss(str(name), claim_names())}')
    return _read(str(name))


def claims(package: str = "") -> list[ClaimCard]:
    """Return all bundled cards by name, or those of one package."""
    cards = [claim(name) for name in claim_names()]
    if not package:
        return cards
    packages = sorted({card.package for card in cards})
    if package not in packages:
        raise ConfigError(f'unknown package "{package}"; {near_miss(package, packages)}')
    return [card for card in cards if card.package == package]


@cache
def _read(name: str) -> ClaimCard:
    return ClaimCard.read_card(_bundled()[name])


@cache
def _bundled() -> Mapping[str, Path]:
    folder = Path(str(resources.files("aural") / "catalog" / "claims"))
    return {path.stem: path for path in folder.glob("*.toml")}
