"""Describe a library in numbers: files, hours, folders, formats, size and index."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from aural.search.filters import FIRST_WINDOWS
from aural.search.library import Library
from aural.search.locations import is_below
from aural.search.notebook import Marks
from aural.search.select import select


@dataclass(frozen=True, slots=True)
class LibraryInfo:
    """Numbers of a library.

    roots: files per location that updates look through. other_files: files in none of them. formats: files per format,
    most frequent first. removed: locations that updates leave out. index: kind of the approximate index, or None.
    """

    model: str
    window_s: float
    embed_dim: int
    files: int
    windows: int
    seconds: float
    size_bytes: int
    roots: dict[str, int]
    other_files: int
    formats: dict[str, int]
    removed: list[str]
    index: str | None
    unindexed_rows: int


def describe(library: Library) -> LibraryInfo:
    """Count what a library contains."""
    columns = library.store.rows(["path", "format", "duration"], FIRST_WINDOWS).to_pydict()
    stats = library.store.stats()
    roots = dict.fromkeys(library.card.roots, 0)
    other_files = 0
    for path in columns["path"]:
        inside = [root for root in roots if is_below(path, root)]
        for root in inside:
            roots[root] += 1
        other_files += not inside
    return LibraryInfo(
        model=library.card.model,
        window_s=library.card.window_s,
        embed_dim=library.card.embed_dim,
        files=len(columns["path"]),
        windows=stats["rows"],
        seconds=sum(columns["duration"]),
        size_bytes=stats["bytes"],
        roots=roots,
        other_files=other_files,
        formats=dict(Counter(columns["format"]).most_common()),
        removed=list(library.card.removed),
        index=stats["index"],
        unindexed_rows=stats["unindexed_rows"] or 0,
    )


def describe_file(library: Library, pattern: str) -> dict[str, Any]:
    """Return the columns and marks of the first file that a pattern names; see `aural.search.select`."""
    rows = library.windows(select(library, [pattern])[0].file)
    columns = [name for name in rows.schema.names if name not in ("vector", "digest", "window", "start", "end")]
    values = dict(rows.select(columns).slice(0, 1).to_pylist()[0]) | {"windows": rows.num_rows}
    return values | asdict(library.notebook.marks([values["hash"]]).get(values["hash"], Marks()))
