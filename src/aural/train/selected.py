"""Find the system that a recipe names. Importing this module registers the built-in systems."""

from __future__ import annotations

import aural.train.systems  # noqa: F401 - registers the systems
from aural.core.errors import ConfigError
from aural.train.config import Recipe
from aural.train.shorthand import system_values
from aural.train.system import SYSTEMS, Plan, System, SystemConfig


def system_of(recipe: Recipe) -> tuple[type[System], SystemConfig]:
    """Return the class and the options of the recipe's system.

    Raises:
        ConfigError: an unknown name or option.
    """
    values = dict(system_values(recipe))
    name = values.pop("name", "")
    if not name:
        raise ConfigError(f"system: give its name; known: {', '.join(SYSTEMS)}")
    kind = SYSTEMS[name]
    return kind, kind.config_type.parse(values, f'system "{name}"')


def plan_of(recipe: Recipe) -> Plan:
    """Return what the recipe's system reads and gives."""
    return system_of(recipe)[1].plan(recipe)
