"""What has to be done so that a library holds what its folders hold: new, changed, moved and vanished files.

A file whose size and time are as before is taken as unchanged. One whose size or time differs is hashed: with the same
content only its time is noted. A new file with the content of one that is held takes over its vectors.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aural.audio.find import sounds_under
from aural.core.errors import AudioError

BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """What the library knows of a file."""

    file: str
    path: str
    size: int
    mtime_ns: int
    hash: str


@dataclass(frozen=True, slots=True)
class Found:
    """A file on disk."""

    path: str
    size: int
    mtime_ns: int

    @property
    def file(self) -> str:
        return file_id(self.path)

    @property
    def modified(self) -> str:
        """UTC, as `2026-11-22T19:22:35Z`: such texts compare like the times they stand for."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.mtime_ns // 1_000_000_000))


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


def file_id(path: str) -> str:
    """16 hex digits that name a file of a library; they follow from its absolute path."""
    return hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()


def content_hash(path: str) -> str:
    """32 hex digits of a file's bytes (BLAKE2b). Raises AudioError where it cannot be read."""
    state = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                state.update(block)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None
    return state.hexdigest()


def plan_paths(paths: Iterable[Path], held: Mapping[str, Held]) -> Plan:
    """The plan for these files alone; nothing vanishes."""
    plan = Plan()
    for path in paths:
        name = os.path.abspath(path)
        try:
            name.encode("utf-8")
            stat = os.stat(name)
        except UnicodeEncodeError:
            plan.unreadable.append(AudioError(f"{name!r}: its name is not UTF-8; rename the file"))
            continue
        except (OSError, ValueError) as error:
            plan.unreadable.append(AudioError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})"))
            continue
        found, known = Found(name, stat.st_size, stat.st_mtime_ns), held.get(name)
        if known is None:
            plan.new.append(found)
        elif (known.size, known.mtime_ns) != (found.size, found.mtime_ns):
            plan.changed.append(found)
        else:
            plan.unchanged += 1
    return plan


def plan_roots(roots: Sequence[str], held: Mapping[str, Held], *, prune: bool = False) -> Plan:
    """The plan for everything that the library was given.

    A folder that is gone or empty may be a disk that is not mounted: its files are kept, and said so, unless `prune`.
    """
    paths: list[Path] = []
    kept: list[str] = []
    notes: list[str] = []
    for root in roots:
        folder = Path(root)
        inside = sorted(sounds_under(folder)) if folder.is_dir() else [folder] if folder.is_file() else []
        below = sum(1 for path in held if _is_below(path, root))
        if not inside and below and not prune:
            why = "holds no sounds any more" if folder.is_dir() else "is not there any more"
            notes.append(f"{root}: {why}; {below} of its files are kept in the library (--prune drops them)")
            kept.append(root)
        paths += inside
    plan = plan_paths(dict.fromkeys(paths), held)
    plan.notes += notes
    seen = {os.path.abspath(path) for path in paths}
    for name, known in held.items():
        if name not in seen and not any(_is_below(name, root) for root in kept):
            plan.vanished.append(known)
    return plan


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
