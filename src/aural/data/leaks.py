"""Detect clips of different splits that share a sound, a recording group or a speaker."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

from aural.data.fingerprint import similar
from aural.data.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Leak:
    """Two clips in different splits that belong in the same split; `kind` is the reason."""

    kind: str  # "same sound" | "near-duplicate" | "group" | "speaker"
    what: str
    first: str
    first_split: str
    second: str
    second_split: str

    def __str__(self) -> str:
        return f"{self.kind} {self.what}: {self.first} ({self.first_split}) and {self.second} ({self.second_split})"


def leaks(manifest: Manifest, *, near_duplicates: bool = True) -> list[Leak]:
    """Return the leaks between splits: shared sounds, near-duplicates, groups (recording, kit, soundfont) and speakers.

    The list has one leak per shared value and pair of splits. It is empty if the splits share nothing.

    near_duplicates: Also compare fingerprints.
    """
    paths, splits = manifest.column("path"), manifest.column("split")
    leaking: list[Leak] = []
    for kind, name in (("same sound", "sha256"), ("group", "group"), ("speaker", "speaker")):
        first: dict[str, dict[str, str]] = defaultdict(dict)
        for value, split, path in zip(manifest.column(name), splits, paths, strict=True):
            if value:
                first[value].setdefault(split, path)
        for value, seen in first.items():
            for (a, path_a), (b, path_b) in combinations(seen.items(), 2):
                leaking.append(Leak(kind, value[:60], path_a, a, path_b, b))
    if near_duplicates:
        hashes = manifest.column("sha256")
        for i, j in similar(manifest.column("fingerprint")):
            if splits[i] != splits[j] and (not hashes[i] or hashes[i] != hashes[j]):
                leaking.append(Leak("near-duplicate", "by fingerprint", paths[i], splits[i], paths[j], splits[j]))
    return leaking
