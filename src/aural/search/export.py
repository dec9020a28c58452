"""A library as a table for other programs: csv (without vectors) or parquet (with them)."""

from __future__ import annotations

from pathlib import Path

from aural.core.errors import ConfigError
from aural.search.library import Library
from aural.search.where import COLUMNS, Condition


def export(library: Library, out: Path, *, where: Condition | None = None, vectors: bool = True) -> int:
    """Write one row a window that meets `where`; how many rows. The file appears only when it is whole."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    suffix = out.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{out}: a library is exported as .csv or .parquet")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: the folder {out.absolute().parent} does not exist; make it first")
    names = [*COLUMNS, *(["vector"] if vectors and suffix == ".parquet" else [])]
    table = library.store.rows(names, where).sort_by([("path", "ascending"), ("window", "ascending")])
    part = out.with_name(out.name + ".part")
    try:
        if suffix == ".csv":
            tags = pa.array([", ".join(row) for row in table["tags"].to_pylist()], pa.string())
            csv.write_csv(table.set_column(names.index("tags"), "tags", tags), part)
        else:
            parquet.write_table(table.replace_schema_metadata({"model": library.card.model}), part)
        part.replace(out)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror}); name another file") from None
    finally:
        part.unlink(missing_ok=True)
    return int(table.num_rows)
