"""The files and folders of a library that are computed from its table, and how to see whether each can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from aural.search import copies, facts, mapped_files, sound_map, words

DERIVED_FILES: Final[Mapping[str, Callable[[Path], bool]]] = {
    sound_map.FILE: sound_map.is_readable,
    words.FILE: words.is_readable,
    facts.FILE: facts.is_readable,
    copies.FILE: copies.is_readable,
    mapped_files.FOLDER: mapped_files.is_readable,
}
"""Name -> a function that returns whether the file or folder is missing or can be read."""
