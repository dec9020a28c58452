"""Recipes by name or path, with single keys set from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from aural.core.config import read_mapping
from aural.core.errors import ConfigError, near_miss
from aural.core.plugins import plugin_folders
from aural.train.config import Recipe

PRESETS = ("text", "mel")  # keys whose value may be the name of a registered config


def recipe_names() -> list[str]:
    """Return the names of the bundled recipes and of those of plug-ins, sorted."""
    return sorted({*_bundled(), *_from_plugins()})


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe of that name or at that path, with `changes` ("loop.batch=32") applied in order.

    A value is read as YAML; a number in the key is a place in a list ("data.sources.0.manifest=sounds").

    Raises:
        ConfigError: no such recipe, an unknown key, or a value out of range.
    """
    if name.endswith((".yaml", ".yml", ".json", ".toml")):
        values, where = read_mapping(Path(name)), name
    elif name in (bundled := _bundled()):
        values, where = yaml.safe_load(bundled[name].read_text(encoding="utf-8")), f"recipe {name}"
    elif name in (recipes := _from_plugins()):
        values, where = read_mapping(recipes[name]), str(recipes[name])
    else:
        raise ConfigError(f'unknown recipe "{name}"; {near_miss(name, recipe_names())}')
    for change in changes:
        _apply(values, change)
    return Recipe.parse(values, where)


def _bundled() -> dict[str, Traversable]:
    folder = resources.files("aural") / "recipes"
    return {file.name.removesuffix(".yaml"): file for file in folder.iterdir() if file.name.endswith(".yaml")}


def _from_plugins() -> dict[str, Path]:
    return {file.stem: file for folder in plugin_folders("recipes") for file in folder.glob("*.yaml")}


def _apply(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError(f'--set "{change}": write KEY=VALUE, for example loop.batch=32')
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f'--set "{change}": the value is not YAML') from None
    if isinstance(value, str) and _is_number(value):
        value = float(value)  # YAML 1.1 reads 1e-3 as text
    *parents, last = key.split(".")
    at: Any = values
    for part in parents:
        at = _child(at, part, change)
    if isinstance(at, list):
        _child(at, last, change)
        at[int(last)] = value
    else:
        at[last] = value


def _child(at: Any, part: str, change: str) -> Any:
    if isinstance(at, list):
        if not part.isdigit() or int(part) >= len(at):
            raise ConfigError(f'--set "{change}": "{part}" is not an index of a list of {len(at)}')
        return at[int(part)]
    child = at.setdefault(part, {})
    if part in PRESETS and isinstance(child, str):  # the name of a preset, of which one key is changed
        child = at[part] = {"preset": child}
    if not isinstance(child, dict | list):
        raise ConfigError(f'--set "{change}": "{part}" holds a value, not keys')
    return child


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
