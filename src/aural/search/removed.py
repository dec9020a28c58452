"""Decide which sounds of a library's folders were removed by the user and must not be added again by an update.

The card stores the addresses of removed files and folders. Of a folder that `update` looks through and a removed one,
the one that is nearer to the sound counts, so a sound of a removed folder can be added again by naming it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from aural.search.folder import LibraryCard
from aural.search.locations import TAR_SEPARATOR, is_below


class Removed:
    """The removed addresses of a library, for many questions."""

    def __init__(self, card: LibraryCard) -> None:
        self._removed, self._roots = frozenset(card.removed), frozenset(card.roots)

    def __contains__(self, address: str) -> bool:
        """Return whether the sound at an address was removed."""
        if not self._removed:
            return False
        for location in _locations(address):
            if location in self._removed:
                return True
            if location in self._roots:
                return False
        return False


def _locations(address: str) -> Iterable[str]:
    """Yield the address and everything that it is in, from the nearest to the farthest.

    >>> list(_locations("/a/b.tar!/c.wav"))
    ['/a/b.tar!/c.wav', '/a/b.tar', '/a']
    """
    while address:
        yield address
        tar, _, member = address.rpartition(TAR_SEPARATOR)
        address = f"{tar}.tar" if tar and "/" not in member else address.rpartition("/")[0]


def without(card: LibraryCard, locations: Collection[str]) -> LibraryCard:
    """Return the card of a library from which the sounds in some locations were removed.

    Folders in a location are no longer looked through. A location in another folder is stored as removed.
    """
    roots = tuple(root for root in card.roots if not any(is_below(root, one) for one in locations))
    needed = [one for one in locations if any(is_below(one, root) for root in roots)]
    earlier = [one for one in card.removed if not any(is_below(one, location) for location in locations)]
    return card.model_copy(update={"roots": roots, "removed": tuple(dict.fromkeys([*earlier, *needed]))})


def with_roots(card: LibraryCard, roots: Iterable[str], added: Iterable[str]) -> LibraryCard:
    """Return the card of a library to which sounds are added: what was removed in their locations may be added again.

    roots: locations that updates look through from now on. added: the locations of the sounds.
    """
    roots = list(roots)
    named = [*roots, *added]
    kept = tuple(one for one in card.removed if not any(is_below(one, location) for location in named))
    return card.model_copy(update={"roots": tuple(dict.fromkeys([*card.roots, *roots])), "removed": kept})
