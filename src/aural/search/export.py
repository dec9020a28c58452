"""Export a library for other programs: csv, parquet with vectors, or a playlist (m3u)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

from aural.core.errors import ConfigError
from aural.core.files import atomic_write, write_text
from aural.search.filters import COLUMNS, FIRST_WINDOWS, Filter
from aural.search.library import Library
from aural.search.locations import local_part
from aural.search.notebook import Marks

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Literal["windows", "files"]
PLAYLISTS: Final = (".m3u", ".m3u8")
OF_WINDOWS: Final = ("window", "start", "end", "silent")
MARK_COLUMNS: Final = ("favorite", "stars", "note", "collections")


def export(
    library: Library, out: str | Path, *, where: Filter | None = None, vectors: bool = True, rows: Rows = "windows"
) -> int:
    """Write one row per window that meets `where`, or one per file, and return their number.

    out: a .csv, .parquet, .m3u or .m3u8 file, which appears only when it is complete. vectors: include them (parquet
    with one row per window only). rows: "files" writes one row per file that has such a window, with its favorite,
    stars, note and collections from the notebook; playlists always have one entry per file.
    """
    from pyarrow import csv, parquet

    out = Path(out)
    suffix = out.suffix.lower()
    if suffix not in (".csv", ".parquet", *PLAYLISTS):
        raise ConfigError(f"{out}: a library is exported as .csv, .parquet, .m3u or .m3u8")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: the folder {out.absolute().parent} does not exist; create it first")
    if suffix in PLAYLISTS:
        return write_playlist(out, file_rows(library, where))
    if rows == "files":
        import pyarrow as pa

        table = pa.Table.from_pylist(file_rows(library, where))
    else:
        names = [*COLUMNS, *(["vector"] if vectors and suffix == ".parquet" else [])]
        table = library.store.rows(names, where).sort_by([("path", "ascending"), ("window", "ascending")])
    with atomic_write(out, ConfigError) as part:
        if suffix == ".csv":
            csv.write_csv(_joined(table), part)
        else:
            parquet.write_table(table.replace_schema_metadata({"model": library.card.model}), part)
    return int(table.num_rows)


def file_rows(library: Library, where: Filter | None = None) -> list[dict[str, Any]]:
    """Return the columns and marks of every file with a window that meets `where`, sorted by path."""
    table = library.store.rows([name for name in COLUMNS if name not in OF_WINDOWS], FIRST_WINDOWS).sort_by("path")
    marks = library.notebook.marks()
    rows = table.to_pylist()
    if where is not None:
        allowed = set(library.store.rows(["file"], where)["file"].to_pylist())
        rows = [row for row in rows if row["file"] in allowed]
    for row in rows:
        of_file = marks.get(row["hash"], Marks())
        row |= {name: getattr(of_file, name) for name in MARK_COLUMNS}
    return rows


def write_playlist(out: Path, rows: Sequence[dict[str, Any]]) -> int:
    """Write an extended M3U with one entry per row and return their number.

    rows: with path, name and duration. Members of tars are left out, because players cannot open them. The file is
    UTF-8 without a byte-order mark; a path with a line break is written as a file: URL.
    """
    lines = ["#EXTM3U"]
    for row in rows:
        path = str(row["path"])
        if not os.path.isfile(path) and local_part(path) is not None:
            continue
        address = path if path.isprintable() else f"file://{quote(path)}"
        name = "".join(character if character.isprintable() else " " for character in str(row["name"]))
        lines += [f"#EXTINF:{round(row['duration'])},{name}", address]
    write_text(out, "\n".join(lines) + "\n", ConfigError)
    return len(lines) // 2


def _joined(table: pa.Table) -> pa.Table:
    """Return a table with texts instead of lists, for csv."""
    import pyarrow as pa

    for number, column in enumerate(table.schema):
        if pa.types.is_list(column.type):
            texts = [", ".join(row) for row in table[column.name].to_pylist()]
            table = table.set_column(number, column.name, pa.array(texts, pa.string()))
    return table
