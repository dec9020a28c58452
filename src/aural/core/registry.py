"""A registry maps exact names to values of one kind and records where each entry stands in a taxonomy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from aural.core.errors import ConfigError, near_miss
from aural.core.plugins import load_plugins

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps exact names to values of one kind ("encoder", "objective", ...).

    Plug-ins (core/plugins.py) are imported when a name is not registered yet or the names are listed.

    Args:
        kind: what an entry is, used in error messages.
        axes: taxonomy of the entries: name of an axis -> its allowed values. Entries state their value per axis as
            keyword arguments of `add` and `register`. An entry of a plug-in may leave axes out; `missing_axes` lists
            such entries, and the tests require that no built-in entry is listed.

    >>> shapes = Registry[int]("shape", axes={"sides": ("few", "many")})
    >>> _ = shapes.add("square", 4, sides="few")
    >>> shapes["square"], shapes.axes_of("square")
    (4, {'sides': 'few'})
    """

    def __init__(self, kind: str, axes: Mapping[str, Sequence[str]] | None = None) -> None:
        self.kind = kind
        self.axes: dict[str, tuple[str, ...]] = {axis: tuple(values) for axis, values in (axes or {}).items()}
        self._items: dict[str, T] = {}
        self._axes: dict[str, dict[str, str]] = {}

    def add(self, name: str, value: T, **axes: str) -> T:
        """Register `value` and return it.

        Raises:
            ConfigError: the name is registered already, or an axis or its value is not one of the registry's.
        """
        if name in self._items:
            raise ConfigError(f'{self.kind} "{name}" is registered twice; choose another name')
        for axis, position in axes.items():
            if axis not in self.axes:
                raise ConfigError(f'{self.kind} "{name}": unknown axis "{axis}"; {near_miss(axis, self.axes)}')
            if position not in self.axes[axis]:
                hint = near_miss(position, self.axes[axis])
                raise ConfigError(f'{self.kind} "{name}": axis "{axis}" has no value "{position}"; {hint}')
        self._items[name] = value
        self._axes[name] = dict(axes)
        return value

    def register(self, name: str, **axes: str) -> Callable[[T], T]:
        """Return a decorator that registers what it decorates under `name`."""
        return lambda value: self.add(name, value, **axes)

    def axes_of(self, name: str) -> dict[str, str]:
        """Return the position of an entry on each axis that it states."""
        self[name]
        return dict(self._axes[name])

    def missing_axes(self) -> dict[str, list[str]]:
        """Return, per entry that leaves axes out, the axes without a value."""
        missing = {name: [axis for axis in self.axes if axis not in self._axes[name]] for name in self}
        return {name: axes for name, axes in missing.items() if axes}

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise ConfigError(f'unknown {self.kind} "{name}"; {near_miss(name, self._items)}')
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._items:
            load_plugins()
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        load_plugins()
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def build(registry: Registry[Any], name: str, values: Mapping[str, Any] | None = None) -> Any:
    """Construct the registered class of that exact name from the plain values of its config.

    The class states its config as the class attribute `config_type` and takes one instance of it.

    Raises:
        ConfigError: unknown name, or unknown or unsuitable config keys.
    """
    cls = registry[name]
    return cls(cls.config_type.parse(values or {}, f'{registry.kind} "{name}"'))
