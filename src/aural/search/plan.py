"""Plan what an add or update has to do: find new, changed, moved and vanished files.

A file with the size and time that the library stores is unchanged. If size or time differ, the file is hashed: with the
same content only its time is updated. A new file with the content of a stored one takes over its vectors.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aural.core.errors import AudioError
from aural.search.folder import LibraryCard
from aural.search.locations import FoundFile, Listing, is_below, is_listed, listing
from aural.search.removed import Removed


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the library as it was when it was added."""

    file: str
    path: str
    size: int
    mtime_ns: int
    hash: str


@dataclass(slots=True)
class Plan:
    """The files to read, the files that vanished, and the errors and notes of the listing."""

    new: list[FoundFile] = field(default_factory=list)
    changed: list[FoundFile] = field(default_factory=list)
    vanished: list[StoredFile] = field(default_factory=list)
    unchanged: int = 0
    errors: list[AudioError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def to_read(self) -> list[FoundFile]:
        """The new and the changed files."""
        return [*self.new, *self.changed]

    @property
    def size(self) -> int:
        """Number of results that carrying out the plan yields."""
        return len(self.new) + len(self.changed) + len(self.vanished) + len(self.errors)


def plan_locations(locations: Iterable[str | Path], stored: Mapping[str, StoredFile]) -> Plan:
    """Return the plan for the sounds of these locations; no file counts as vanished."""
    plan = Plan()
    files: dict[str, FoundFile] = {}
    empty: list[AudioError] = []
    for location in locations:
        result = listing(location)
        files |= {file.path: file for file in result.files}
        plan.errors += result.errors
        if not result.files and not result.errors:
            empty.append(AudioError(f"{location}: contains no sound files"))
    plan.errors += empty
    _compare(plan, files.values(), stored)
    return plan


def plan_roots(card: LibraryCard, stored: Mapping[str, StoredFile], *, prune: bool = False) -> Plan:
    """Return the plan for all roots of a library's card.

    A folder that is missing or empty may be a disk that is not mounted: its sounds are kept, with a note, unless
    `prune`. The sounds of a damaged tar are kept too. Removed sounds are left out.
    """
    plan = Plan()
    files: dict[str, FoundFile] = {}
    kept: list[str] = []
    removed = Removed(card)
    for root in card.roots:
        result = listing(root)
        count = sum(1 for path in stored if is_below(path, root))
        missing = not result.files and not result.damaged_tars
        if missing and count and not prune:
            reason = "contains no sounds any more" if os.path.isdir(root) else "does not exist any more"
            plan.notes.append(f"{root}: {reason}; {count} of its files are kept in the library (--prune deletes them)")
            kept.append(root)
        if not missing:
            plan.errors += result.errors
        kept += result.damaged_tars
        files |= {file.path: file for file in result.files if file.path not in removed}
    _compare(plan, files.values(), stored)
    for path, entry in stored.items():
        if path not in files and (path in removed or not any(is_below(path, location) for location in kept)):
            plan.vanished.append(entry)
    return plan


def plan_changes(paths: Iterable[str], card: LibraryCard, stored: Mapping[str, StoredFile]) -> Plan:
    """Return the plan for paths of this machine that were created, changed or deleted below the roots of a library.

    If every sound of a root vanished, the root may be a disk that is not mounted: its sounds are kept, with a note.
    """
    plan = Plan()
    files: dict[str, FoundFile] = {}
    removed = Removed(card)
    ordered = sorted(stored)
    gone: dict[str, StoredFile] = {}
    for path in sorted(set(paths)):
        is_sound = os.path.isdir(path) or (os.path.exists(path) and is_listed(os.path.basename(path)))
        result = listing(path) if is_sound else Listing()
        plan.errors += result.errors
        files |= {file.path: file for file in result.files if file.path not in removed}
        for earlier in _below(path, ordered):
            if not any(is_below(earlier, tar) for tar in result.damaged_tars):
                gone[earlier] = stored[earlier]
    _compare(plan, files.values(), stored)
    gone = {path: entry for path, entry in gone.items() if path not in files}
    for root in card.roots:
        below = list(_below(root, ordered))
        lost = {path for path in below if path in gone}
        if lost and len(lost) == len(below):
            plan.notes.append(f"{root}: contains no sounds any more; {len(lost)} of its files are kept in the library")
            gone = {path: entry for path, entry in gone.items() if path not in lost}
    plan.vanished += gone.values()
    return plan


def _below(location: str, ordered: Sequence[str]) -> Iterator[str]:
    """Yield the addresses of a sorted list that are in a location."""
    first = bisect_left(ordered, location)
    if first < len(ordered) and ordered[first] == location:
        yield location
    for prefix in (location.rstrip("/") + "/", location + "!/"):
        first = bisect_left(ordered, prefix)
        while first < len(ordered) and ordered[first].startswith(prefix):
            yield ordered[first]
            first += 1


def _compare(plan: Plan, files: Iterable[FoundFile], stored: Mapping[str, StoredFile]) -> None:
    for file in files:
        entry = stored.get(file.path)
        if entry is None:
            plan.new.append(file)
        elif (entry.size, entry.mtime_ns) != (file.size, file.mtime_ns):
            plan.changed.append(file)
        else:
            plan.unchanged += 1
