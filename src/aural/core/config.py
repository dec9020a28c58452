"""Strict, frozen, typed configuration: an unknown key is an error that suggests the closest known key.

A config class lives with what it builds and holds each default once. Validation is pydantic's; this file only turns its
report into one sentence.
"""

from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from aural.core.errors import AuralError, ConfigError, near_miss, one_line
from aural.core.files import check_readable

C = TypeVar("C", bound="Config")


class Config(BaseModel):
    """Base class of configs: frozen, no unknown keys, no silent conversion between types.

    `renamed_keys` maps a former key to its present name and `renamed_values` maps (key, former value) to the present
    value, so that recipes, cards and model folders written by earlier versions still open. `removed_keys` maps a key
    that no longer exists to the reason; such a key is dropped with a FutureWarning.
    """

    renamed_keys: ClassVar[Mapping[str, str]] = {}
    renamed_values: ClassVar[Mapping[tuple[str, str], str]] = {}
    removed_keys: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not (cls.renamed_keys or cls.renamed_values or cls.removed_keys):
            return values
        values = dict(values)
        for key, reason in cls.removed_keys.items():
            if key in values:
                warnings.warn(f'the key "{key}" is ignored: {reason}; delete it', FutureWarning, stacklevel=2)
                del values[key]
        for former, present in cls.renamed_keys.items():
            if former not in values:
                continue
            if present in values:
                raise ValueError(f'"{former}" is the former name of "{present}"; give one of them')
            values[present] = values.pop(former)
        for (key, former), present in cls.renamed_values.items():
            if values.get(key) == former:
                values[key] = present
        return values

    def require_one_of(self, *names: str) -> None:
        """Raise ValueError unless exactly one of the named fields is given: neither None nor empty."""
        if sum(bool(getattr(self, name)) for name in names) != 1:
            raise ValueError(f"name exactly one of {', '.join(names[:-1])} and {names[-1]}")

    @classmethod
    def parse(cls: type[C], values: Mapping[str, Any], where: str) -> C:
        """Build a config from plain values. The error starts with `where`, a file or key, and lists all problems."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(f"{where}: {_sentence(cls, error, values)}") from None

    @classmethod
    def further_problems(cls, values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with plain values beyond single keys, although some keys are wrong as well."""
        return []

    @classmethod
    def read(cls: type[C], path: str | Path) -> C:
        """Read a config from a .json, .toml or .yaml file."""
        return cls.parse(read_mapping(path), str(path))

    @classmethod
    def read_card(cls: type[C], path: Path) -> C:
        """Read a card of a catalog; its name must be that of its file, and every error names the file."""
        try:
            card = cls.read(path)
        except AuralError as error:
            text = str(error)
            raise ConfigError(text if text.startswith(str(path)) else f"{path}: {text}") from None
        name = getattr(card, "name", None)
        if name != path.stem:
            raise ConfigError(f'{path}: says name "{name}"; a card must have the name of its file')
        return card


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Read the mapping in a .json, .toml, .yaml or .yml file."""
    path = Path(path)
    parsers: dict[str, Callable[[str], Any]] = {
        ".json": json.loads,
        ".toml": tomllib.loads,
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
    }
    if path.suffix not in parsers:
        raise ConfigError(f"{path}: a config file ends in {', '.join(parsers)}")
    try:
        check_readable(path, ConfigError)
        values = parsers[path.suffix](path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except RecursionError:
        raise ConfigError(f"{path}: its values are nested too deeply") from None
    except (ValueError, yaml.YAMLError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as {path.suffix[1:]} ({one_line(error)})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold a mapping of keys to values, not {type(values).__name__}")
    return values


MOST_PROBLEMS = 8


def _sentence(cls: type[Config], error: ValidationError, values: Mapping[str, Any]) -> str:
    """Return all problems as one sentence; unknown keys first, which are often misspelled names of missing ones."""
    errors = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    problems = [_problem(cls, problem) for problem in errors]
    if all(problem["loc"] for problem in errors):  # else the checks of the whole config have run
        problems += cls.further_problems(values)
    problems = list(dict.fromkeys(problems))
    more = f" (and {len(problems) - MOST_PROBLEMS} more)" if len(problems) > MOST_PROBLEMS else ""
    return "; ".join(problems[:MOST_PROBLEMS]) + more


def _problem(cls: type[BaseModel], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f'unknown key "{key}"; {near_miss(str(problem["loc"][-1]), _fields_at(cls, problem["loc"][:-1]))}'
    if problem["type"] == "missing":
        return f'key "{key}" is missing'
    reason = _reason(problem)
    return f'key "{key}": {reason}, got {_short(problem["input"])}' if key else reason


WANTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping of keys to values",
    "mapping": "a mapping of keys to values",
    "model": "a mapping of keys to values",
}
BOUNDS = {"greater_than_equal": ("at least", "ge"), "greater_than": ("above", "gt"),
          "less_than_equal": ("at most", "le"), "less_than": ("below", "lt")}  # fmt: skip


def _reason(problem: Any) -> str:
    """Return in plain words what is wrong with a value; pydantic's words for the rest."""
    kind, context = problem["type"], problem.get("ctx", {})
    name, _, rest = kind.partition("_")
    if name in WANTED and rest in ("type", "parsing", "from_float", "attributes_type", "parsing_size"):
        return f"must be {WANTED[name]}"
    if kind in BOUNDS:
        word, bound = BOUNDS[kind]
        return f"must be {word} {context[bound]:g}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "too_short":
        return f"must have at least {context['min_length']} entries"
    reason = str(problem["msg"]).removeprefix("Value error, ")
    return f"{reason[:1].lower()}{reason[1:]}" if problem["loc"] else reason


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:76]} ..."


def _fields_at(cls: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the field names of the nested config at `loc`."""
    current: Any = cls
    for part in loc:
        field = getattr(current, "model_fields", {}).get(part)
        if field is None:
            continue
        options = [field.annotation, *getattr(field.annotation, "__args__", ())]
        current = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), current)
    return list(getattr(current, "model_fields", {}))
