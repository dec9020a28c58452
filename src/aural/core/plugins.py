"""Plug-ins: modules of other packages that add objectives, encoders, systems, tasks, recipes and data set cards.

A plug-in is a module whose import registers classes (`@OBJECTIVES.register("mine")`). If it is a package, cards in its
folders `recipes/` and `catalog/KIND/` are found by name, as aural's own are. aural takes plug-ins from two places:

- entry points of the group `aural.plugins` of installed packages (`mine = "my_package"`), and
- the environment variable `AURAL_PLUGINS`: names of modules, or paths of `.py` files and package folders, separated by
  commas. `aural --plugin MODULE` adds to it, so that child processes see the same plug-ins. The word `off` in it turns
  entry points off.

Nothing is imported until a name is not among aural's own, or names are listed; `import aural` stays light.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from aural.core.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "aural.plugins"
VARIABLE = "AURAL_PLUGINS"
NO_ENTRY_POINTS = "off"

_lock = threading.RLock()


class Plugin(NamedTuple):
    """One loaded plug-in: the name or path it was given by, and its module."""

    name: str
    module: ModuleType

    @property
    def folder(self) -> Path | None:
        """Folder of a package; None for a module of one file."""
        paths = getattr(self.module, "__path__", None)
        return Path(next(iter(paths))) if paths else None


class _State:
    """Plug-ins loaded so far, by the name they were given by; failures are kept so that they are raised again."""

    def __init__(self) -> None:
        self.plugins: dict[str, Plugin] = {}
        self.failures: dict[str, PluginError] = {}
        self.loading = False


_state = _State()


def add_plugin(module: str) -> None:
    """Add a module name, or the path of a `.py` file or package folder, to `AURAL_PLUGINS` of this process."""
    listed = [one for one in os.environ.get(VARIABLE, "").split(",") if one]
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*listed, module]))


def load_plugins() -> list[Plugin]:
    """Import all plug-ins that are not imported yet and return all, in the order in which they were found.

    A plug-in that looks up a name while it is being imported sees only what is registered so far.

    Raises:
        PluginError: a plug-in cannot be imported; names the plug-in, where it is declared, and the cause.
    """
    with _lock:
        if _state.loading:
            return list(_state.plugins.values())
        _state.loading = True
        try:
            wanted = [one.strip() for one in os.environ.get(VARIABLE, "").split(",") if one.strip()]
            if NO_ENTRY_POINTS not in wanted:
                from importlib.metadata import entry_points

                for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name):
                    _load(entry.name, entry)
            for name in wanted:
                if name != NO_ENTRY_POINTS:
                    _load(name, None)
            return list(_state.plugins.values())
        finally:
            _state.loading = False


def plugin_folders(*parts: str) -> list[Path]:
    """Return the existing folders `parts` below the packages of all plug-ins: `plugin_folders("catalog", "tasks")`."""
    candidates = [plugin.folder.joinpath(*parts) for plugin in load_plugins() if plugin.folder is not None]
    return [folder for folder in candidates if folder.is_dir()]


def _load(name: str, entry: EntryPoint | None) -> None:
    if name in _state.failures:
        raise _state.failures[name]
    if name in _state.plugins:
        return
    try:
        module = _import_path(Path(name)) if entry is None and _is_path(name) else _import_name(name, entry)
    except Exception as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, PluginError):
            cause = f"{type(error).__name__}: {cause}"
        _state.failures[name] = PluginError(
            f'plug-in "{name}"{_origin(entry)} cannot be loaded ({cause}); {_fix(entry)}'
        )
        raise _state.failures[name] from error
    _state.plugins[name] = Plugin(name, module)


def _import_name(name: str, entry: EntryPoint | None) -> ModuleType:
    if entry is None and "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, "")  # a module named on the command line may be in the working folder
    return importlib.import_module(name if entry is None else entry.module)


def _is_path(name: str) -> bool:
    return name.endswith(".py") or "/" in name or os.sep in name


def _import_path(path: Path) -> ModuleType:
    """Import a `.py` file or a package folder under its own stem, so that it can be imported by name afterwards."""
    file = path / "__init__.py" if path.is_dir() else path
    if not file.is_file():
        raise PluginError("no such file" if path.suffix == ".py" else "no such folder with an __init__.py")
    name = path.resolve().stem
    if name in sys.modules:
        raise PluginError(f'a module named "{name}" is already imported; rename it')
    spec = importlib.util.spec_from_file_location(
        name, file.resolve(), submodule_search_locations=[str(path.resolve())] if path.is_dir() else None
    )
    if spec is None or spec.loader is None:
        raise PluginError("not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _origin(entry: EntryPoint | None) -> str:
    if entry is None:
        return f" of --plugin or {VARIABLE}"
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an installed package"
    return f" of {package}"


def _fix(entry: EntryPoint | None) -> str:
    if entry is None:
        return "fix it or leave it out"
    return f"fix or uninstall that package, or set {VARIABLE}={NO_ENTRY_POINTS}"
