"""Write rows to a parquet table, in parts of bounded size."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aural.core.errors import ConfigError
from aural.core.files import atomic_write

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 4096


def check_table(out: Path, what: str) -> None:
    """Raise ConfigError unless `out` can become a parquet table; `what` names its content."""
    if out.suffix.lower() != ".parquet":
        raise ConfigError(f"{out}: {what} are written as parquet; give a name that ends in .parquet")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: the folder {out.absolute().parent} does not exist; create it first")


def write_table(
    out: Path, rows: Iterator[dict[str, Any]], kinds: Mapping[str, pa.DataType], metadata: Mapping[str, str]
) -> None:
    """Write the rows in row groups of `ROW_GROUP`; no file is written when there are no rows.

    kinds: the types of columns that are no strings.
    """
    import pyarrow as pa
    from pyarrow import parquet

    if out.is_dir():
        raise ConfigError(f"{out}: is a directory; give the name of a file for the table")
    if not os.access(out.absolute().parent, os.W_OK):
        raise ConfigError(f"{out}: the folder cannot be written to; give another folder")
    chunk = list(islice(rows, ROW_GROUP))
    if not chunk:
        return
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in chunk[0]], dict(metadata))
    with atomic_write(out, ConfigError) as part, parquet.ParquetWriter(part, schema) as writer:
        while chunk:
            columns = {name: [row[name] for row in chunk] for name in schema.names}
            writer.write_table(pa.table(columns, schema=schema))
            chunk = list(islice(rows, ROW_GROUP))
