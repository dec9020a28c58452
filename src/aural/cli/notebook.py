"""`aural library favorite`, `rate`, `note`, `collect`, `collections` and `history`: what people note about sounds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from aural.cli.files import json_line
from aural.cli.options import JsonOption, LibraryOption, PatternsArgument, WhereOption
from aural.core.errors import ConfigError
from aural.core.printable import printable
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.search.library import Library

OffOption = Annotated[bool, typer.Option("--off", help="Undo it for these files.")]


def favorite(
    library: LibraryOption, patterns: PatternsArgument = None, where: WhereOption = None, off: OffOption = False
) -> None:
    """Make sounds favorites."""
    target, hashes = _selected(library, patterns, where)
    target.notebook.set_favorite(hashes, not off)
    print(f"{len(hashes)} sounds {'are no longer' if off else 'are'} favorites")


def rate(
    library: LibraryOption,
    stars: Annotated[int, typer.Option("--stars", "-s", min=0, max=5, help="1 to 5; 0 deletes the rating.")],
    patterns: PatternsArgument = None,
    where: WhereOption = None,
) -> None:
    """Rate sounds with 1 to 5 stars."""
    target, hashes = _selected(library, patterns, where)
    target.notebook.rate(hashes, stars)
    print(f"{len(hashes)} sounds have {stars} stars" if stars else f"{len(hashes)} sounds have no rating")


def note(
    library: LibraryOption,
    text: Annotated[str, typer.Option("--text", "-t", help="The note; an empty text deletes it.")],
    patterns: PatternsArgument = None,
    where: WhereOption = None,
) -> None:
    """Replace the note of sounds."""
    target, hashes = _selected(library, patterns, where)
    target.notebook.write_note(hashes, text)
    print(f"{len(hashes)} sounds have {'this note' if text else 'no note'}")


def collect(
    library: LibraryOption,
    name: Annotated[str, typer.Argument(help="Name of the collection.", metavar="NAME")],
    patterns: PatternsArgument = None,
    where: WhereOption = None,
    off: OffOption = False,
) -> None:
    """Add sounds to a collection."""
    target, hashes = _selected(library, patterns, where)
    change = target.notebook.uncollect if off else target.notebook.collect
    change(name, hashes)
    print(f"{len(hashes)} sounds {'deleted from' if off else 'are in'} {name}")


def collections(
    library: LibraryOption,
    delete: Annotated[str | None, typer.Option("--delete", help="Delete this collection, not its sounds.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the collections with their numbers of sounds."""
    from aural.search.library import Library

    notebook = Library(library).notebook
    if delete is not None:
        notebook.delete_collection(delete)
    counts = notebook.collections()
    if not counts:
        print("no collections", file=sys.stderr)
    for name, count in counts.items():
        print(json_line({"name": name, "sounds": count}) if as_json else f"{count:>7}  {name}")


def history(
    library: LibraryOption,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of queries to print.")] = 20,
    clear: Annotated[bool, typer.Option("--clear", help="Delete all past queries.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List past queries, newest first."""
    from aural.search.library import Library

    notebook = Library(library).notebook
    if clear:
        notebook.clear_history()
    queries = notebook.history(top)
    if not queries:
        print("no past queries", file=sys.stderr)
    for past in queries:
        if as_json:
            print(json_line({"time": past.time, "query": past.query, "hits": past.hits}))
        else:
            print(f"{past.time}  {past.hits:>4} hits  {printable(json_line(past.query))}")


def _selected(library: LibraryOption, patterns: list[str] | None, where: str | None) -> tuple[Library, list[str]]:
    """Return the library and the content hashes of the files that are named."""
    from aural.search.library import Library
    from aural.search.select import select

    if not patterns and not where:
        raise ConfigError("no sounds are named; name files, folders or patterns, or give a filter with --where")
    target = Library(library)
    return target, list(dict.fromkeys(one.hash for one in select(target, patterns or [], target.filter(where))))


COMMANDS: dict[str, Callable[..., None]] = {
    "favorite": favorite,
    "rate": rate,
    "note": note,
    "collect": collect,
    "collections": collections,
    "history": history,
}
"""Names of the commands of `aural library` in this file."""
