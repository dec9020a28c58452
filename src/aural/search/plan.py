"""What has to be done so that a library holds what its folders hold: new, changed, moved and vanished files.

A file whose size and time are as before is taken as unchanged. One whose size or time differs is hashed: with the same
content only its time is noted. A new file with the content of one that is held takes over its vectors.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aural.core.errors import AudioError
from aural.search.source import Found, is_below, listing


@dataclass(frozen=True, slots=True)
class Held:
    """What the library knows of a file."""

    file: str
    path: str
    size: int
    mtime_ns: int
    hash: str


@dataclass(slots=True)
class Plan:
    """Files to read, files that are gone, and what was told on the way."""

    new: list[Found] = field(default_factory=list)
    changed: list[Found] = field(default_factory=list)
    vanished: list[Held] = field(default_factory=list)
    unchanged: int = 0
    unreadable: list[AudioError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def todo(self) -> list[Found]:
        return [*self.new, *self.changed]


def plan_paths(locations: Iterable[str | Path], held: Mapping[str, Held]) -> Plan:
    """The plan for the sounds of these locations alone; nothing vanishes."""
    plan = Plan()
    locations = list(locations)
    listings = [listing(location) for location in locations]
    _compare(plan, {found.path: found for told in listings for found in told.found}.values(), held)
    plan.unreadable += [error for told in listings for error in told.unreadable]
    for location, told in zip(locations, listings, strict=True):
        if not told.found and not told.unreadable:
            plan.unreadable.append(AudioError(f"{location}: holds no sound files"))
    return plan


def plan_roots(roots: Sequence[str], held: Mapping[str, Held], *, prune: bool = False) -> Plan:
    """The plan for everything that the library was given.

    A folder that is gone or empty may be a disk that is not mounted: its sounds are kept, and said so, unless `prune`.
    Those of a damaged tar are kept as well.
    """
    inside: dict[str, Found] = {}
    kept: list[str] = []
    plan = Plan()
    for root in roots:
        told = listing(root)
        below = sum(1 for path in held if is_below(path, root))
        gone = not told.found and not told.damaged
        if gone and below and not prune:
            why = "holds no sounds any more" if os.path.isdir(root) else "is not there any more"
            plan.notes.append(f"{root}: {why}; {below} of its files are kept in the library (--prune drops them)")
            kept.append(root)
        if not gone:
            plan.unreadable += told.unreadable
        kept += told.damaged
        inside |= {found.path: found for found in told.found}
    _compare(plan, inside.values(), held)
    for name, known in held.items():
        if name not in inside and not any(is_below(name, place) for place in kept):
            plan.vanished.append(known)
    return plan


def _compare(plan: Plan, sounds: Iterable[Found], held: Mapping[str, Held]) -> None:
    for found in sounds:
        known = held.get(found.path)
        if known is None:
            plan.new.append(found)
        elif (known.size, known.mtime_ns) != (found.size, found.mtime_ns):
            plan.changed.append(found)
        else:
            plan.unchanged += 1
