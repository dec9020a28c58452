"""Typed catalogs of cards: one file per card, found by exact name in the package and in folders of the user."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, overload

from aural.core.config import Config
from aural.core.errors import ConfigError, near_miss
from aural.core.plugins import plugin_folders

C = TypeVar("C", bound=Config)
D = TypeVar("D")

VARIABLE: Final = "AURAL_CATALOG"
"""Environment variable with further catalog folders, separated as in PATH. Each has the package's layout:
`datasets/`, `tasks/`, `weights/`, `claims/`."""


class Catalog(Mapping[str, C], Generic[C]):
    """The cards of one kind: a mapping from exact name to card that reads each file once, on access.

    A card is a .toml file named as its `name` key. Cards of the package are in `aural/catalog/<folder>`; further ones
    are in `<user folder>/<folder>`, where the user folders are those of the environment variable AURAL_CATALOG, the
    `catalog` folders of plug-ins, and those given to `add_folder`. Every error names the file at fault. A name that two
    files use is an error.

    Args:
        kind: what an entry is ("data set", "task"), used in error messages.
        folder: sub-folder of the catalog, such as "datasets" or "datasets/libre"; an absolute path stands for itself.
        card_type: the class of the cards.
        check: called with each card and its path after it was read; raises ConfigError for a card that cannot work.
        skip: names of files in the folder that are not cards.

    >>> from aural.core.weights import WEIGHTS
    >>> WEIGHTS["msclap-2023"].sample_rate_hz
    44100
    """

    def __init__(
        self,
        kind: str,
        folder: str,
        card_type: type[C],
        *,
        check: Callable[[C, Path], None] | None = None,
        skip: tuple[str, ...] = (),
    ) -> None:
        self.kind, self.folder, self.card_type = kind, folder, card_type
        self._check, self._skip = check, frozenset(skip)
        self._cards: dict[Path, C] = {}
        self._added: list[Path] = []

    def add_folder(self, folder: str | Path) -> None:
        """Also look for cards in this folder, which holds the .toml files itself."""
        self._added.append(Path(folder))

    def folders(self) -> list[Path]:
        """Return the folders that hold cards of this kind: the package's first, then the user's that exist."""
        listed = [Path(entry) / self.folder for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
        user = [*listed, *plugin_folders("catalog", self.folder), *self._added]
        return list(dict.fromkeys([package_folder(self.folder), *(path for path in user if path.is_dir())]))

    def paths(self) -> dict[str, Path]:
        """Return name -> file of every card, in order of name, without reading one.

        Raises:
            ConfigError: two files have the same name.
        """
        files: dict[str, Path] = {}
        for folder in self.folders():
            for path in folder.glob("*.toml"):
                if path.stem in self._skip:
                    continue
                if path.stem in files:
                    raise ConfigError(f'{path}: {files[path.stem]} is also called "{path.stem}"; rename this card')
                files[path.stem] = path
        return dict(sorted(files.items()))

    def card(self, name: str | Path) -> C:
        """Return the card of an exact name, or read the card at a path that ends in .toml.

        Raises:
            ConfigError: there is no card of that name, or its file cannot be read or holds an unsuitable value.
        """
        if str(name).endswith(".toml"):
            return self._read(Path(name))
        path = package_folder(self.folder) / f"{name}.toml"
        if path.stem in self._skip or not os.path.isfile(
            path
        ):  # only then are the user's folders and plug-ins looked at
            paths = self.paths()
            if name not in paths:
                raise ConfigError(f'unknown {self.kind} "{name}"; {near_miss(str(name), paths)}')
            path = paths[str(name)]
        if path not in self._cards:
            self._cards[path] = self._read(path)
        return self._cards[path]

    def _read(self, path: Path) -> C:
        card = self.card_type.read_card(path)
        if self._check is not None:
            try:
                self._check(card, path)
            except ConfigError as error:
                text = str(error)
                raise ConfigError(text if text.startswith(str(path)) else f"{path}: {text}") from None
        return card

    def __getitem__(self, name: str) -> C:
        return self.card(name)

    @overload
    def get(self, name: str, default: None = None, /) -> C | None: ...

    @overload
    def get(self, name: str, default: C | D, /) -> C | D: ...

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return the card of an exact name, or `default` if there is none."""
        return self.card(name) if name in self else default

    def __contains__(self, name: object) -> bool:
        return name in self.paths()

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths())

    def __len__(self) -> int:
        return len(self.paths())


def package_folder(folder: str) -> Path:
    """Return a folder of the package's own catalog, such as "tasks"."""
    return Path(str(resources.files("aural") / "catalog")) / folder
