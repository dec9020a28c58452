"""What the commands share: finding sound files, reading label and text files, progress, the closing line, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aural.audio.find import SOUND_SUFFIXES, find_sounds
from aural.core.errors import AuralError, DataError

__all__ = ["SOUND_SUFFIXES", "Batch", "find_sounds", "json_line", "progress", "read_lines"]


def read_lines(path: Path, what: str) -> list[str]:
    """The non-empty lines of a UTF-8 text file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such {what} file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text; save the {what} file as UTF-8, one a line") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path}: holds no {what}; write one a line")
    return lines


@dataclass
class Batch:
    """A batch that goes on past bad files and says at its end what it skipped and why."""

    strict: bool = False
    done: int = 0
    silent: int = 0
    skipped: list[str] = field(default_factory=list)

    def skip(self, error: AuralError) -> None:
        self.skipped.append(str(error))

    def close(self, noun: str = "sound") -> int:
        """Print the closing line on stderr; the exit code is 0 if anything was done, 2 if not or with --strict."""
        for reason in self.skipped:
            print(f"skipped: {reason}", file=sys.stderr)
        line = f"{self.done} {noun}{'' if self.done == 1 else 's'}"
        if self.silent:
            line += f", {self.silent} of them digital silence"
        if self.skipped:
            line += f"; {len(self.skipped)} skipped"
        print(line, file=sys.stderr)
        return 2 if self.skipped and (self.strict or not self.done) else 0


def progress(items: Iterable[Any], total: int, title: str) -> Iterator[Any]:
    """A progress bar on stderr, for long work on a terminal only."""
    if not sys.stderr.isatty() or total < 8:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=title, total=total, console=Console(stderr=True), transient=True)


def json_line(values: dict[str, Any]) -> str:
    """One JSON object on one line, unicode as it is."""
    return json.dumps(values, ensure_ascii=False)
