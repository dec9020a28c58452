"""Select files of a library by path, by pattern and by filter."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Mapping, Sequence

from aural.core.errors import DataError
from aural.search.filters import Filter
from aural.search.library import Library
from aural.search.locations import address_of, is_below
from aural.search.plan import StoredFile


def select(library: Library, patterns: Sequence[str] = (), where: Filter | None = None) -> list[StoredFile]:
    """Return the files that a pattern names and that meet the filter, sorted by path; all files if nothing is given.

    A pattern is the path of a file, a folder or a tar, or has wildcards: `*.wav` is compared with names, `field/*.wav`
    with paths (`*` also matches `/`). A file meets a filter if one of its windows does. Raises DataError for a pattern
    that no file of the library matches.
    """
    stored = library.files()
    if patterns:
        stored = _named(stored, patterns)
    if where is not None:
        allowed = set(library.store.rows(["file"], where)["file"].to_pylist())
        stored = {path: one for path, one in stored.items() if one.file in allowed}
    return [stored[path] for path in sorted(stored)]


def _named(stored: Mapping[str, StoredFile], patterns: Sequence[str]) -> dict[str, StoredFile]:
    selected: dict[str, StoredFile] = {}
    for pattern in patterns:
        matches = _matcher(pattern, stored)
        named = {path: one for path, one in stored.items() if matches(path)}
        if not named:
            raise DataError(f"{pattern}: no sound of the library matches; `aural library list` shows its sounds")
        selected |= named
    return selected


def _matcher(pattern: str, stored: Mapping[str, StoredFile]) -> Callable[[str], bool]:
    """Return the test of a pattern. A path is compared as text first, because names may contain wildcards."""
    address = address_of(pattern)
    if not re.search(r"[*?[]", pattern) or any(is_below(path, address) for path in stored):
        return lambda path: is_below(path, address)
    if "/" not in pattern:
        by_name = re.compile(fnmatch.translate(pattern))
        return lambda path: by_name.match(os.path.basename(path)) is not None
    by_path = re.compile(fnmatch.translate(address))
    return lambda path: by_path.match(path) is not None
