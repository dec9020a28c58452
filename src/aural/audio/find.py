"""Finding sound files: named outright, or by suffix in directories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from aural.core.errors import DataError

SOUND_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64"}
    | {".m4a", ".m4b", ".aac", ".mp4", ".mov", ".webm", ".mkv", ".mka", ".wma", ".avi", ".ts", ".3gp"}
)


def find_sounds(paths: Iterable[Path]) -> list[Path]:
    """The files named, and in directories every file with a sound's suffix, sorted; hidden ones are left out."""
    found: list[Path] = []
    for path in paths:
        if _is_dir(path):
            files = sorted(sounds_under(path))
            if not files:
                raise DataError(f"{path}: holds no sound files ({', '.join(sorted(SOUND_SUFFIXES)[:6])} ...)")
            found += files
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def sounds_under(folder: Path) -> Iterator[Path]:
    """Every file below `folder` with a sound's suffix, in no order; hidden files and folders are left out."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SOUND_SUFFIXES and not hidden and path.is_file():
            yield path


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long: told with the other files that cannot be read
        return False
