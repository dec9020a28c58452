"""`aural library list`, `info`, `remove`, `move` and `watch`: the files of a library during its life."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from aural.cli.files import Batch, json_line
from aural.cli.options import (
    JsonOption,
    LibraryOption,
    MarkOptions,
    ModelOptions,
    PatternsArgument,
    StrictOption,
    WhereOption,
    with_model_options,
)
from aural.core.printable import safe_print as print

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; change nothing.")]
LIST_COLUMNS = ["path", "duration", "format", "sample_rate", "channels", "size", "modified", "silent", "tags", "hash"]


@with_model_options
def list_files(
    *,
    library: LibraryOption,
    patterns: PatternsArgument = None,
    where: WhereOption = None,
    marks: MarkOptions,
    as_json: JsonOption = False,
) -> None:
    """List the files of the library with their durations, sorted by path."""
    from aural.search.filters import FIRST_WINDOWS
    from aural.search.library import Library
    from aural.search.select import select

    target = Library(library)
    selected = {one.path for one in select(target, patterns or [], marks.filter(target, where))}
    rows = target.store.rows(LIST_COLUMNS, FIRST_WINDOWS).sort_by("path").to_pylist()
    rows = [row for row in rows if row["path"] in selected]
    for row in rows:
        print(json_line(row) if as_json else f"{row['duration']:>9.2f} s  {row['path']}")
    hours = sum(row["duration"] for row in rows) / 3600
    print(f"{len(rows)} files, {hours:.2f} hours", file=sys.stderr)


def info(
    library: LibraryOption,
    file: Annotated[str | None, typer.Argument(help="A file of the library; without it, the library.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Describe the library, or one of its files."""
    from aural.search.describe import describe, describe_file
    from aural.search.library import Library

    target = Library(library)
    values = asdict(describe(target)) if file is None else describe_file(target, file)
    if as_json:
        print(json_line(values))
        return
    for name, value in values.items():
        label = name.replace("_", " ")
        if isinstance(value, dict):
            print(f"{label}:")
            for key, count in value.items():
                print(f"  {count:>8}  {key}")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            print(f"{label}: {f'{shown:.2f}' if isinstance(shown, float) else shown}")


def remove(
    library: LibraryOption,
    patterns: PatternsArgument = None,
    where: WhereOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove files from the library, by path, pattern or filter. The sound files are not touched.

    Later updates leave the files out until they are added by name.
    """
    from aural.search.library import Library
    from aural.search.remove import remove as run

    target = Library(library)
    files = run(target, patterns or [], target.filter(where), dry_run=dry_run)
    status = "would be removed" if dry_run else "removed"
    for one in files:
        print(json_line({"path": one.path, "status": status}) if as_json else f"{status}: {one.path}")
    if not dry_run:
        target.optimize()
    print(f"{len(files)} {status}", file=sys.stderr)


def move(
    library: LibraryOption,
    old: Annotated[str, typer.Argument(help="The folder where the library's sounds were.", metavar="OLD")],
    new: Annotated[str, typer.Argument(help="The folder where they are now.", metavar="NEW")],
    dry_run: DryRunOption = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Follow sounds that were moved to another folder, without embedding them again."""
    from aural.search.library import Library
    from aural.search.move import move as run

    target = Library(library)
    batch = Batch(strict)
    for result in run(target, old, new, dry_run=dry_run):
        if result.error is not None:
            batch.skip(result.error)
        else:
            batch.done += 1
        if as_json:
            error = {"error": str(result.error)} if result.error else {}
            print(json_line({"path": result.path, "status": result.status} | error))
    if not dry_run:
        target.optimize()
    if not as_json:
        print(f"{batch.done} {'would be moved' if dry_run else 'moved'} to {new}")
    raise typer.Exit(batch.close())


@with_model_options
def watch(
    *,
    library: LibraryOption,
    quiet_s: Annotated[
        float,
        typer.Option("--quiet", min=0.05, max=3600.0, help="Seconds without a change after which changes are read."),
    ] = 1.0,
    options: ModelOptions,
    as_json: JsonOption = False,
) -> None:
    """Add, update and delete files as they change in the library's folders, until Ctrl-C or SIGTERM."""
    from aural.search.library import FileResult, Library
    from aural.search.watch import WatchConfig
    from aural.search.watch import watch as run

    target = Library(library)
    model = options.open(target.card.model)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    counts = Counter[str]()
    for event in run(target, model, stop, config=WatchConfig(quiet_s=quiet_s)):
        if not isinstance(event, FileResult):
            for note in event.notes:
                print(f"note: {note}", file=sys.stderr, flush=True)
            continue
        counts[event.status] += 1
        reason = {"error": str(event.error)} if event.error else {}
        if as_json:
            print(json_line({"path": event.path, "status": event.status} | reason), flush=True)
        else:
            print(f"{event.status}: {event.error or event.path}", flush=True)
    target.optimize()
    print(f"stopped; {', '.join(f'{n} {name}' for name, n in counts.items()) or 'no changes'}", file=sys.stderr)


COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_files,
    "info": info,
    "remove": remove,
    "move": move,
    "watch": watch,
}
"""Names of the commands of `aural library` in this file."""
