"""Remove sounds from a library; the sound files are not touched.

The card is written before the rows are deleted. If the process is killed between the two, the next update deletes the
rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from aural.core.errors import ConfigError
from aural.search.filters import Filter
from aural.search.folder import read_card, write_card
from aural.search.library import Library
from aural.search.locations import address_of, is_below
from aural.search.plan import StoredFile
from aural.search.removed import without
from aural.search.select import select


def remove(
    library: Library, patterns: Sequence[str] = (), where: Filter | None = None, *, dry_run: bool = False
) -> list[StoredFile]:
    """Remove the files that are selected (`aural.search.select`) and return them.

    Later updates do not add them again, until they or a folder above them are added by name. dry_run: change nothing.
    Raises ConfigError if neither a pattern nor a filter is given.
    """
    if not patterns and where is None:
        raise ConfigError("nothing to remove; name files, folders or patterns, or give a filter with --where")
    if dry_run:
        return select(library, patterns, where)
    with library.writing():
        files = select(library, patterns, where)
        card = read_card(library.folder)
        folders = [address_of(pattern) for pattern in patterns] if where is None else []
        folders = [one for one in folders if any(is_below(file.path, one) and file.path != one for file in files)]
        single = [file.path for file in files if not any(is_below(file.path, folder) for folder in folders)]
        library.card = without(card, [*folders, *single])
        if library.card != card:
            write_card(library.folder, library.card)
        if files:
            library.store.remove([file.file for file in files])
            library.words.update()
    return files
