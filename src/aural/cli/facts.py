"""`aural library analyze`, `facets` and `write-tags`: metadata and measures of sounds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from aural.cli.files import Batch, json_line, progress
from aural.cli.options import JsonOption, LibraryOption, PatternsArgument, StrictOption, WhereOption
from aural.core.errors import ConfigError
from aural.core.printable import safe_print as print

TagOption = Annotated[str | None, typer.Option(help="New value; empty deletes it.", show_default=False)]


def analyze(
    library: LibraryOption,
    again: Annotated[bool, typer.Option("--again", help="Also sounds that were analyzed before.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Number of processes that measure.")] = 1,
    strict: StrictOption = False,
) -> None:
    """Read the metadata of all sounds and measure them, so that filters and facets can use both."""
    from aural.search.analyze import analyze as run
    from aural.search.library import Library

    target = Library(library)
    hashes = {one.hash for one in target.files().values()}
    total = len(hashes) if again else len(target.facts.missing(list(hashes)))
    batch = Batch(strict)
    for result in progress(run(target, again=again, jobs=jobs), total, "analyzing"):
        if result.error is not None:
            batch.skip(result.error)
        else:
            batch.done += 1
    raise typer.Exit(0 if not total else batch.close())


def facets(library: LibraryOption, where: WhereOption = None, as_json: JsonOption = False) -> None:
    """Count the files per tag, format, length, category, key, loudness and other facts."""
    from aural.search.facets import FACTS
    from aural.search.facets import facets as run
    from aural.search.library import Library

    target = Library(library)
    counted = run(target, target.filter(where))
    if not any(counted[name] for name in FACTS):
        print("no facts are stored for these sounds; run `aural library analyze`", file=sys.stderr)
    for name, counts in counted.items():
        if as_json:
            print(json_line({"facet": name, "counts": counts}))
            continue
        for value, count in counts.items():
            print(f"{count:>7}  {name} = {value}")


def write_tags(
    library: LibraryOption,
    patterns: PatternsArgument = None,
    where: WhereOption = None,
    title: TagOption = None,
    artist: TagOption = None,
    genre: TagOption = None,
    description: TagOption = None,
) -> None:
    """Write tags into sound files (ID3, Vorbis comments, MP4). The sound itself is not changed.

    In a value, {name}, {tags}, {note} and {collections} are replaced by those of the sound.
    """
    from aural.search.analyze import write_file_tags
    from aural.search.filters import FIRST_WINDOWS
    from aural.search.library import Library
    from aural.search.notebook import Marks
    from aural.search.plan import StoredFile
    from aural.search.select import select

    values = {"title": title, "artist": artist, "genre": genre, "description": description}
    wanted = {name: value for name, value in values.items() if value is not None}
    if not wanted or not (patterns or where):
        raise ConfigError("nothing to write; name files or give --where, and give a tag such as --genre rain")
    target = Library(library)
    files = select(target, patterns or [], target.filter(where))
    marks = target.notebook.marks([one.hash for one in files])
    rows = target.store.rows(["file", "name", "tags"], FIRST_WINDOWS).to_pylist()
    columns = {row["file"]: row for row in rows}

    def tags_of(file: StoredFile) -> dict[str, str]:
        of_file, row = marks.get(file.hash, Marks()), columns[file.file]
        parts = {"name": row["name"].rpartition(".")[0], "note": of_file.note}
        parts |= {"tags": ", ".join(row["tags"]), "collections": ", ".join(of_file.collections)}
        texts = dict(wanted)
        for key, part in parts.items():
            texts = {name: text.replace(f"{{{key}}}", part) for name, text in texts.items()}
        return texts

    batch = Batch()
    for result in progress(write_file_tags(target, files, tags_of), len(files), "writing"):
        if result.error is not None:
            batch.skip(result.error)
        else:
            batch.done += 1
    target.optimize()
    print(f"tags of {batch.done} files written", file=sys.stderr)
    raise typer.Exit(batch.close())


COMMANDS: dict[str, Callable[..., None]] = {"analyze": analyze, "facets": facets, "write-tags": write_tags}
"""Names of the commands of `aural library` in this file."""
