"""The leak check: what one split knows of another."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

from aural.data.fingerprint import similar
from aural.data.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Leak:
    """Two clips in different splits that should not be apart; `kind` says why."""

    kind: str  # "same sound" | "near-duplicate" | "group" | "speaker"
    what: str
    first: str
    first_split: str
    second: str
    second_split: str

    def __str__(self) -> str:
        return f"{self.kind} {self.what}: {self.first} ({self.first_split}) and {self.second} ({self.second_split})"


def leaks(manifest: Manifest, *, near_duplicates: bool = True) -> list[Leak]:
    """Return the pairs of splits that share a sound, near-duplicate, group (recording, kit, soundfont) or speaker.

    One leak is reported per shared thing and pair of splits; an empty list means that the splits are clean.
    """
    paths, splits = manifest.column("path"), manifest.column("split")
    listed: list[Leak] = []
    for kind, name in (("same sound", "sha256"), ("group", "group"), ("speaker", "speaker")):
        first: dict[str, dict[str, str]] = defaultdict(dict)
        for value, split, path in zip(manifest.column(name), splits, paths, strict=True):
            if value:
                first[value].setdefault(split, path)
        for value, seen in first.items():
            for (a, path_a), (b, path_b) in combinations(seen.items(), 2):
                listed.append(Leak(kind, value[:60], path_a, a, path_b, b))
    if near_duplicates:
        hashes = manifest.column("sha256")
        for i, j in similar(manifest.column("fingerprint")):
            if splits[i] != splits[j] and (not hashes[i] or hashes[i] != hashes[j]):
                listed.append(Leak("near-duplicate", "by fingerprint", paths[i], splits[i], paths[j], splits[j]))
    return listed
