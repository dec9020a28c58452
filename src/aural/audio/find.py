"""Find sound files by suffix in directories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aural.core.errors import AudioError

SOUND_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64"}
    | {".m4a", ".m4b", ".aac", ".mp4", ".mov", ".webm", ".mkv", ".mka", ".wma", ".avi", ".ts", ".3gp"}
)


@dataclass(slots=True)
class FoundSounds:
    """The sounds of some files and directories, and the reason for each that cannot be one."""

    files: list[Path] = field(default_factory=list)
    problems: list[AudioError] = field(default_factory=list)


def find_sounds(paths: Iterable[Path]) -> FoundSounds:
    """Return the given files, and for each directory all its sound files, sorted.

    Hidden files are left out, and a file given twice is returned once. Directories without sound files, links to
    missing files, and pipes, sockets and devices in directories are problems. Given files are not opened.
    """
    result = FoundSounds()
    for path in paths:
        if not _is_dir(path):
            result.files.append(path)
            continue
        candidates = sorted(_candidates(path))
        problems = [problem for file in candidates if (problem := _problem(file)) is not None]
        if not candidates:
            suffixes = ", ".join(sorted(SOUND_SUFFIXES)[:6])
            problems.append(AudioError(f"{path}: holds no sound files ({suffixes} ...)"))
        result.problems += problems
        result.files += [file for file in candidates if file.is_file()]
    result.files = list(dict.fromkeys(result.files))
    return result


def sounds_under(folder: Path) -> Iterator[Path]:
    """Yield every file below `folder` with the suffix of a sound, in no particular order; skip hidden ones."""
    return (path for path in _candidates(folder) if path.is_file())


def _candidates(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SOUND_SUFFIXES and not hidden and not path.is_dir():
            yield path


def _problem(path: Path) -> AudioError | None:
    if path.is_file():
        return None
    if not path.exists():
        return AudioError(f"{path}: is a link to a file that does not exist")
    return AudioError(f"{path}: is a pipe, socket or device, not a file")


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long: reported later with other unreadable files
        return False
