"""List the files of a download, and resolve the paths in card templates to existing files."""

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
DEPTH: Final = 2  # levels that the folder given by a user may be above the data


class Files:
    """The files below `root`, as relative paths with forward slashes. Hidden files and `__MACOSX` are skipped."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; give the folder that the data set was unpacked into")
        self.sizes: dict[str, int] = dict(sorted(_walk(self.root)))

    def __contains__(self, path: str) -> bool:
        return path in self.sizes

    @cached_property
    def audio(self) -> tuple[str, ...]:
        """Paths of the sound files, sorted."""
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
        """Return the matching paths. `*` matches within one folder, `**/` matches any number of folders."""
        if not any(character in pattern for character in "*?["):
            return [pattern] if pattern in self else []
        match = glob_pattern(pattern).fullmatch
        return [path for path in self.sizes if match(path)]

    def sound(self, wanted: Iterable[str]) -> str:
        """Return the existing sound file for the first of the wanted paths that has one, or "".

        The suffix of a path is optional and may differ from the file on disk (a .wav stored as .flac). A leading `**/`
        matches any folder.
        """
        for path in wanted:
            if path.startswith("**/"):
                stem = strip(path[3:])
                for candidate in self._names.get(stem.rpartition("/")[2], ()):
                    if strip(candidate) == stem or strip(candidate).endswith("/" + stem):
                        return candidate
            elif path in self:
                return path
            elif other := self._stems.get(path) or self._stems.get(strip(path)):
                return other
        return ""


def find_root(folder: str | Path, anchors: Iterable[str]) -> Files:
    """Return the files of the folder that contains all anchors: `folder` or a folder up to two levels below it.

    Archives often unpack into a separate folder, and users may give that folder or one above it. If no folder contains
    all anchors, return the files of `folder`.

    anchors: Glob patterns.
    """
    files = Files(folder)
    candidates: set[str] | None = None
    for pattern in map(glob_pattern, anchors):
        matching = {above for path in files.sizes for above in _above(path) if pattern.fullmatch(path[len(above) :])}
        candidates = matching if candidates is None else candidates & matching
    root = min(candidates or {""}, key=lambda above: (above.count("/"), above))
    if root:
        files.root /= root
        files.sizes = {path[len(root) :]: size for path, size in files.sizes.items() if path.startswith(root)}
    return files


@lru_cache(maxsize=256)
def glob_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a glob to a regular expression in which `*` and `?` do not match slashes."""
    parts = re.split(r"(\*\*/|\*|\?|\[[^\]]*\])", pattern)
    wildcards = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(wildcards.get(p) or (p if p.startswith("[") else re.escape(p)) for p in parts))


def ignored(path: str, patterns: Iterable[str]) -> bool:
    """Return whether a path matches one of the patterns; here `*` also matches slashes."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def suffix(path: str) -> str:
    """Return the suffix in lower case (".wav"), or "" if there is none."""
    at = path.rfind(".")
    return path[at:].lower() if at > path.rfind("/") else ""


def strip(path: str) -> str:
    """Return the path without its suffix if that is the suffix of a sound file ("Y1_30.000" is unchanged)."""
    end = suffix(path)
    return path[: -len(end)] if end in AUDIO else path


def _above(path: str) -> list[str]:
    """Return the folders above a path, outermost first: "", "a/", "a/b/"."""
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
                    continue  # a dangling link
