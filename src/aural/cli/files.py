"""Functions that the commands share: read text files, count results, show progress and print JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aural.audio.find import SOUND_SUFFIXES, find_sounds
from aural.core.errors import AuralError, ConfigError, DataError
from aural.core.files import check_readable
from aural.core.printable import printable, printable_json
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.models.embedding import AudioEmbedding
    from aural.models.tagging import TaggedSound

__all__ = [
    "SOUND_SUFFIXES",
    "Batch",
    "check_page",
    "json_line",
    "progress",
    "read_lines",
    "stored_model_name",
    "whole_windows",
]


def read_lines(path: Path, what: str) -> list[str]:
    """Return the non-empty lines of a UTF-8 text file; `what` names its content in errors."""
    try:
        check_readable(path, DataError)
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such {what} file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text; save the {what} file as UTF-8 with one per line") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path}: holds no {what}; write one per line")
    return lines


def check_page(path: Path, what: str) -> None:
    """Raise ConfigError unless `path` is the name of an HTML page; `what` names its content."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{path}: {what} is an HTML page; give a name that ends in .html")


@dataclass
class Batch:
    """The counts of a command over many files, which skips unreadable files and reports them at the end."""

    strict: bool = False
    done: int = 0
    silent: int = 0
    skipped: list[str] = field(default_factory=list)

    def find(self, paths: Iterable[Path]) -> list[Path]:
        """Return the sound files of files and directories, and record what cannot be a sound as skipped."""
        sounds = find_sounds(paths)
        for problem in sounds.problems:
            self.skip(problem)
        return sounds.files

    def skip(self, error: AuralError) -> None:
        """Record the reason why a file was skipped."""
        self.skipped.append(str(error))

    def add(self, result: AudioEmbedding | TaggedSound) -> bool:
        """Count an embedded sound, or record its error; return whether it was embedded."""
        if result.error is not None:
            self.skip(result.error)
            return False
        self.done += 1
        self.silent += result.silent
        return True

    def close(self, noun: str = "sound") -> int:
        """Print the skipped files and a summary on stderr, and return the exit code.

        The code is 2 if files were skipped and either nothing was done or --strict was given, else 0.
        """
        for reason in self.skipped:
            print(f"skipped: {printable(reason)}", file=sys.stderr)
        line = f"{self.done} {noun}{'' if self.done == 1 else 's'}"
        if self.silent:
            line += f", {self.silent} of them digital silence"
        if self.skipped:
            line += f"; {len(self.skipped)} skipped"
        print(line, file=sys.stderr)
        return 2 if self.skipped and (self.strict or not self.done) else 0


def progress(items: Iterable[Any], total: int, title: str) -> Iterator[Any]:
    """Yield the items; show a progress bar on stderr if it is a terminal and there are at least 8 items."""
    if not sys.stderr.isatty() or total < 8:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=title, total=total, console=Console(stderr=True), transient=True)


def json_line(values: dict[str, Any]) -> str:
    """Return a mapping as one line of JSON; characters that a terminal may obey are escaped, other letters are not."""
    return printable_json(json.dumps(values, ensure_ascii=False))


def whole_windows(model_s: float, about_s: float = 10.0) -> float:
    """Return the multiple of the model's window that is nearest to `about_s`, so that no part is embedded twice."""
    return model_s * max(1, round(about_s / model_s))


def stored_model_name(name: str) -> str:
    """Return the name that is stored in the library: an absolute path for a model given as a path."""
    return str(Path(name).absolute()) if Path(name).exists() else name
