"""The files of a download: list a folder, and find the file that a card's template names."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from aural.core.errors import DataError

AUDIO: Final = frozenset(
    f".{end}"
    for end in "wav flac ogg oga opus mp3 m4a aac mp4 webm mkv aif aiff aifc au wma".split()  # noqa: SIM905
)
DEPTH: Final = 2  # how many folders above the data a user may point at


class Files:
    """Return all files below `root` by relative path with forward slashes; skip hidden files and `__MACOSX`."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; give the folder that the data set was unpacked into")
        self.sizes: dict[str, int] = dict(sorted(_walk(self.root)))

    def __contains__(self, path: str) -> bool:
        return path in self.sizes

    @cached_property
    def audio(self) -> tuple[str, ...]:
        """The sound files, sorted."""
        return tuple(path for path in self.sizes if suffix(path) in AUDIO)

    @cached_property
    def _stems(self) -> dict[str, str]:
        return {strip(path): path for path in reversed(self.audio)}

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for path in self.audio:
            names.setdefault(strip(path).rpartition("/")[2], []).append(path)
        return names

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match: `*` within one folder, `**/` across any number of folders."""
        if not any(sign in pattern for sign in "*?["):
            return [pattern] if pattern in self else []
        match = glob_pattern(pattern).fullmatch
        return [path for path in self.sizes if match(path)]

    def sound(self, wanted: Iterable[str]) -> str:
        """Return the sound file that one of the wanted paths names, or "".

        A path may leave its suffix out, may name another container than the one on disk (a .wav kept as .flac), and
        `**/` stands for any folder.
        """
        for path in wanted:
            if path.startswith("**/"):
                stem = strip(path[3:])
                for name in self._names.get(stem.rpartition("/")[2], ()):
                    if strip(name) == stem or strip(name).endswith("/" + stem):
                        return name
            elif path in self:
                return path
            elif other := self._stems.get(path) or self._stems.get(strip(path)):
                return other
        return ""


def find_root(folder: str | Path, anchors: Iterable[str]) -> Files:
    """Return the files of the folder that holds all anchors (globs): `folder` or one up to two levels below.

    Archives unpack into a separate folder, and users name the folder above or below it. If nothing fits: `folder`.
    """
    files = Files(folder)
    fitting: set[str] | None = None
    for pattern in map(glob_pattern, anchors):
        matches = {above for path in files.sizes for above in _above(path) if pattern.fullmatch(path[len(above) :])}
        fitting = matches if fitting is None else fitting & matches
    root = min(fitting or {""}, key=lambda above: (above.count("/"), above))
    if root:
        files.root /= root
        files.sizes = {path[len(root) :]: size for path, size in files.sizes.items() if path.startswith(root)}
    return files


@lru_cache(maxsize=256)
def glob_pattern(pattern: str) -> re.Pattern[str]:
    """Return a glob as a regular expression in which `*` and `?` stop at slashes."""
    parts = re.split(r"(\*\*/|\*|\?|\[[^\]]*\])", pattern)
    signs = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(signs.get(p) or (p if p.startswith("[") else re.escape(p)) for p in parts))


def ignored(path: str, patterns: Iterable[str]) -> bool:
    """Return whether a path matches one of the card's patterns; here `*` crosses slashes."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def suffix(path: str) -> str:
    """Return the suffix in lower case: ".wav"; "" if there is none."""
    at = path.rfind(".")
    return path[at:].lower() if at > path.rfind("/") else ""


def strip(path: str) -> str:
    """Remove the suffix of a sound file from a path ("Y1_30.000" stays unchanged)."""
    end = suffix(path)
    return path[: -len(end)] if end in AUDIO else path


def _above(path: str) -> list[str]:
    """The folders that hold a path, outermost first: "", "a/", "a/b/"."""
    parts = path.split("/")[:-1][:DEPTH]
    return ["", *("/".join(parts[: n + 1]) + "/" for n in range(len(parts)))]


def _walk(root: Path) -> Iterator[tuple[str, int]]:
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        at = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in names:
            if not name.startswith("."):
                try:
                    yield (name if at == "." else f"{at}/{name}"), os.stat(os.path.join(folder, name)).st_size
                except OSError:
                    continue  # a dangling link: not there
