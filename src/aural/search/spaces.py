"""Find the vectors that a library uses: one library may have several spaces, each with the vectors of one model.

The first space is in the library's folder, further ones in `spaces/NAME`; each is a complete library with a card and a
table. `spaces.json` names the active one and the one before it, and has a copy in `safety`. It is replaced in one step.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from aural.core.config import Config
from aural.core.errors import ConfigError, near_miss
from aural.core.files import delete, write_text
from aural.search.folder import CARD, CARD_COPY, SAFETY, TABLE_FOLDER, DamagedLibraryError

FIRST: Final = "first"
"""Name of the space in the library's folder."""
SPACES: Final = "spaces"
POINTER: Final = "spaces.json"
POINTER_COPY: Final = f"{SAFETY}/{POINTER}"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Pointer(Config):
    """The names of the active space and of the one that was active before."""

    active: str = FIRST
    previous: str | None = None


def active_folder(root: str | Path) -> Path:
    """Return the folder of the active space of a library. Raises DamagedLibraryError if it cannot be found."""
    root = Path(root)
    name = read_pointer(root).active
    folder = space_folder(root, name)
    if name != FIRST and not any(os.path.lexists(folder / part) for part in (CARD, CARD_COPY, TABLE_FOLDER)):
        raise DamagedLibraryError(root, f"{POINTER} names the space {name}, which does not exist")
    return folder


def read_pointer(root: Path) -> Pointer:
    """Return which space of a library is active. Raises DamagedLibraryError if this cannot be read."""
    if not os.path.lexists(root / POINTER):
        if os.path.lexists(root / POINTER_COPY):
            raise DamagedLibraryError(root, f"{POINTER} is missing")
        return Pointer()
    try:
        pointer = Pointer.read(root / POINTER)
        for name in (pointer.active, pointer.previous or FIRST):
            space_folder(root, name)
    except ConfigError as error:
        raise DamagedLibraryError(root, f"{POINTER}: {str(error).removeprefix(f'{root}/{POINTER}: ')}") from None
    return pointer


def write_pointer(root: Path, pointer: Pointer) -> None:
    """Replace the pointer and then its copy, each in one step."""
    text = pointer.model_dump_json(indent=1) + "\n"
    (root / SAFETY).mkdir(exist_ok=True)
    write_text(root / POINTER, text)
    write_text(root / POINTER_COPY, text)


def space_folder(root: Path, name: str) -> Path:
    """Return the folder of a space. Raises ConfigError if it cannot have this name."""
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f'"{name}" is no name of a space; use up to 64 letters, digits, dots, dashes and underscores')
    return root if name == FIRST else root / SPACES / name


def space_names(root: Path) -> list[str]:
    """Return the names of all spaces of a library, the first one first."""
    below = root / SPACES
    names = sorted(path.name for path in below.iterdir()) if below.is_dir() else []
    return [FIRST, *(name for name in names if _NAME.fullmatch(name) and (below / name / CARD).exists())]


def other_spaces(root: Path, active: Path) -> dict[str, Path]:
    """Return the folders of the spaces that are not active, by name, also of those that have lost their card."""
    below = root / SPACES
    folders = {} if active == root else {FIRST: root}
    for path in sorted(below.iterdir()) if below.is_dir() else []:
        has_card = os.path.lexists(path / CARD) or os.path.lexists(path / CARD_COPY)
        if path != active and not path.name.startswith(".") and has_card:
            folders[path.name] = path
    return folders


def check_space(root: Path, name: str) -> Path:
    """Return the folder of an existing space. Raises ConfigError if there is no such space."""
    names = space_names(root)
    if name not in names:
        raise ConfigError(f'{root}: has no space "{name}"; {near_miss(name, names)}')
    return space_folder(root, name)


def restore_pointer(root: Path) -> str | None:
    """Repair the pointer from its copy and return what was done; None if it is in order.

    Without a copy the first space becomes active; the others are kept.
    """
    try:
        active_folder(root)
    except DamagedLibraryError:
        pass
    else:
        return None
    for path in (root / POINTER, root / POINTER_COPY):
        if path.is_dir():
            delete(path)
    try:
        pointer = Pointer.read(root / POINTER_COPY)
        if pointer.active not in space_names(root):
            pointer = Pointer()
        action = f"{POINTER}: restored, the active space is {pointer.active}"
    except ConfigError:
        pointer = Pointer()
        action = f"{POINTER}: written again; the first space is active, see `aural library spaces`"
    write_pointer(root, pointer)
    return action
