"""Find sound files by suffix in directories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from aural.core.errors import DataError

SOUND_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64"}
    | {".m4a", ".m4b", ".aac", ".mp4", ".mov", ".webm", ".mkv", ".mka", ".wma", ".avi", ".ts", ".3gp"}
)


def find_sounds(paths: Iterable[Path]) -> list[Path]:
    """Return the given files, and for each directory all its sound files, sorted.

    Hidden files are left out, and a file given twice is returned once. Raises DataError for a directory without sound
    files.
    """
    sounds: list[Path] = []
    for path in paths:
        if _is_dir(path):
            files = sorted(sounds_under(path))
            if not files:
                raise DataError(f"{path}: holds no sound files ({', '.join(sorted(SOUND_SUFFIXES)[:6])} ...)")
            sounds += files
        else:
            sounds.append(path)
    return list(dict.fromkeys(sounds))


def sounds_under(folder: Path) -> Iterator[Path]:
    """Yield every file below `folder` with the suffix of a sound, in no particular order; skip hidden ones."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SOUND_SUFFIXES and not hidden and path.is_file():
            yield path


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long: reported later with other unreadable files
        return False
