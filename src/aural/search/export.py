"""Export a library as a table for other programs: csv (without vectors) or parquet (with vectors)."""

from __future__ import annotations

from pathlib import Path

from aural.core.errors import ConfigError
from aural.core.files import atomic_write
from aural.search.filters import COLUMNS, Filter
from aural.search.library import Library


def export(library: Library, out: Path, *, where: Filter | None = None, vectors: bool = True) -> int:
    """Write one row per window that meets `where` and return their number.

    out: a .csv or .parquet file, which appears only when it is complete. vectors: include them (parquet only).
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    suffix = out.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{out}: a library is exported as .csv or .parquet")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: the folder {out.absolute().parent} does not exist; create it first")
    names = [*COLUMNS, *(["vector"] if vectors and suffix == ".parquet" else [])]
    table = library.store.rows(names, where).sort_by([("path", "ascending"), ("window", "ascending")])
    with atomic_write(out, ConfigError) as part:
        if suffix == ".csv":
            tags = pa.array([", ".join(row) for row in table["tags"].to_pylist()], pa.string())
            csv.write_csv(table.set_column(names.index("tags"), "tags", tags), part)
        else:
            parquet.write_table(table.replace_schema_metadata({"model": library.card.model}), part)
    return int(table.num_rows)
