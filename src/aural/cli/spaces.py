"""`aural library reindex`, `spaces`, `switch` and `rollback`: change the model of a library while it serves."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from aural.cli.files import Batch, json_line, progress, stored_model_name, whole_windows
from aural.cli.options import BatchOption, JsonOption, LibraryOption, ModelOption, ModelOptions, with_model_options
from aural.core.printable import safe_print as print


@with_model_options
def reindex(
    *,
    library: LibraryOption,
    model: ModelOption,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the space (default: that of the model).", metavar="NAME")
    ] = None,
    window: Annotated[float | None, typer.Option("--window", help="Window in seconds of a new space.")] = None,
    batch_size: BatchOption = None,
    switch_after: Annotated[bool, typer.Option("--switch", help="Switch to the space when it is complete.")] = False,
    options: ModelOptions,
) -> None:
    """Build a second space with another model; the library serves from the first one meanwhile.

    It may be interrupted and repeated. `aural library switch NAME` then makes the new space the active one.
    """
    from aural.search import reindex as spaces_of
    from aural.search.embed import BATCH_WINDOWS, embed_files
    from aural.search.library import Library
    from aural.search.plan import Plan

    target = Library(library)
    embedder = options.open(model)
    stored_name = stored_model_name(model)
    name = name or spaces_of.name_of(stored_name)
    if window is None and not (library / "spaces" / name).exists():
        window = whole_windows(embedder.window_s)
    space = spaces_of.new_space(library, embedder, model=stored_name, name=name, window_s=window)
    batch, counts, plans = Batch(), Counter[str](), list[Plan]()
    size = batch_size or BATCH_WINDOWS
    results = spaces_of.reindex(
        target,
        space,
        embedder,
        embed_with=lambda jobs: embed_files(jobs, embedder, space.card.window_s, batch=size),
        on_plan=plans.append,
    )
    first = [result for result in (next(results, None),) if result is not None]  # the plan is complete from here on
    for result in progress(chain(first, results), plans[0].size, "embedding"):
        counts[result.status] += 1
        if result.error is not None:
            batch.skip(result.error)
        else:
            batch.done += 1
    print(
        f"{name}: {counts['added'] + counts['changed']} embedded, {counts['copied']} copied, {plans[0].unchanged} kept"
    )
    code = batch.close()
    if switch_after:
        _switch(library, name, allow_missing=False)
    raise typer.Exit(code)


def list_spaces(
    library: LibraryOption,
    delete: Annotated[str | None, typer.Option("--delete", help="Delete this space; it must not be active.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the spaces of the library: model, number of files, and how many files of the active space are missing."""
    from dataclasses import asdict

    from aural.search.reindex import delete_space, spaces

    if delete is not None:
        delete_space(library, delete)
    for space in spaces(library):
        if as_json:
            print(json_line(asdict(space)))
            continue
        state = "active" if space.active else f"{space.missing} missing"
        print(f"{space.name}: {space.model}, {space.files} files, {state}{', previous' if space.previous else ''}")


def switch(
    library: LibraryOption,
    name: Annotated[str, typer.Argument(help="Name of the space.", metavar="NAME")],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Switch even if the space lacks files of the active one.")
    ] = False,
) -> None:
    """Make a space the active one. A running `aural serve` follows."""
    _switch(library, name, allow_missing=allow_missing)


def rollback(library: LibraryOption) -> None:
    """Take the last switch back."""
    from aural.search.reindex import rollback as run

    name, missing = run(library)
    print(f"{name} is active again")
    if missing:
        print(f"{missing} files were added or changed since; run `aural library update`", file=sys.stderr)


def _switch(library: Path, name: str, *, allow_missing: bool) -> None:
    from aural.search.reindex import switch as run
    from aural.search.spaces import read_pointer

    if read_pointer(library).active == name:
        print(f"{name} is the active space already")
        return
    missing = run(library, name, allow_missing=allow_missing)
    print(f"{name} is active{f', without {missing} files' if missing else ''}; `aural library rollback` takes it back")


COMMANDS: dict[str, Callable[..., None]] = {
    "reindex": reindex,
    "spaces": list_spaces,
    "switch": switch,
    "rollback": rollback,
}
"""Names of the commands of `aural library` in this file."""
