"""Filter the sounds of a library by what its notebook says: collections, favorites and ratings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aural.search.filters import Filter, all_of, one_of
from aural.search.notebook import Notebook


@dataclass(frozen=True, slots=True)
class MarkFilter:
    """The marks that a sound must have. collections: it is in all of them. min_stars: 0 for any rating."""

    collections: Sequence[str] = ()
    favorites: bool = False
    min_stars: int = 0

    def __bool__(self) -> bool:
        return bool(self.collections or self.favorites or self.min_stars)


def with_marks(notebook: Notebook, marks: MarkFilter, where: Filter | None = None) -> Filter | None:
    """Return the filter for sounds that have these marks and meet `where`; None if there is no condition.

    Raises DataError if there is no such collection.
    """
    if not marks:
        return where
    sets = [set(notebook.members(name)) for name in marks.collections]
    if marks.favorites or marks.min_stars:
        sets.append(notebook.rated(favorite=marks.favorites, min_stars=marks.min_stars))
    marked = one_of("hash", sorted(set.intersection(*sets)) or [""])  # no content has an empty hash
    return marked if where is None else all_of(where, marked)
