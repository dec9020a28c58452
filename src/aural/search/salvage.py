"""Read as many rows of a damaged table as possible, column by column, in a process that may crash.

`python -m aural.search.salvage LIBRARY OUT VERSION:FRAGMENT...` writes the rows of each fragment as an Arrow file. A
value that cannot be read is null there. Damaged files can end the process (LanceDB allocates what a damaged length
says). `salvage` then takes the fragment for unreadable and starts another process for the remaining ones.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

TIMEOUT_S: Final = 600.0
BLOCK_ROWS: Final = 4096
SAMPLES: Final = 8
"""Rows of an unreadable block that are read one by one; if none can be read, the block is given up."""


def salvage(folder: Path, parts: Sequence[tuple[int, int]]) -> Iterator[pa.Table | None]:
    """Yield the readable rows of each (version, fragment) with all columns, or None if nothing can be read."""
    import pyarrow as pa

    with tempfile.TemporaryDirectory(prefix="aural-repair-") as scratch:
        names = [f"{version}:{fragment}" for version, fragment in parts]
        for position, name in enumerate(names):
            out = Path(scratch) / name
            if not out.exists():
                command = [sys.executable, "-m", "aural.search.salvage", str(folder), scratch, *names[position:]]
                with contextlib.suppress(subprocess.TimeoutExpired):
                    subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
            if not out.exists():  # the process ended at this fragment
                yield None
                continue
            with pa.memory_map(str(out)) as file:
                table = pa.ipc.open_file(file).read_all()
                yield table if table.num_rows else None


def main(folder: str, scratch: str, *parts: str) -> None:
    """Read fragments and write their rows; see the module."""
    import lancedb
    import pyarrow as pa

    from aural.search.folder import TABLE_FOLDER
    from aural.search.lance_files import read_version, version_names

    database = lancedb.connect(folder)
    names = dict(version_names(Path(folder) / TABLE_FOLDER))
    for part in parts:
        version, fragment = map(int, part.split(":"))
        out = Path(scratch) / part
        table = database.open_table(Path(TABLE_FOLDER).stem)
        table.checkout(version)
        fragments = read_version(Path(folder) / TABLE_FOLDER, names[version]).fragments
        count = next(one.rows for one in fragments if one.number == fragment)
        ids = [(fragment << 32) + row for row in range(count)]
        schema = pa.schema([field.with_nullable(True) for field in table.schema])
        blocks = [_rows(table, ids[at : at + BLOCK_ROWS], schema) for at in range(0, count, BLOCK_ROWS)]
        unfinished = out.with_suffix(".part")
        with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for block in blocks:
                writer.write_table(block)
        unfinished.rename(out)


def _rows(table: Any, ids: Sequence[int], schema: pa.Schema) -> pa.Table:
    """Return the rows of these ids that are not deleted; a value that cannot be read is null."""
    import pyarrow as pa

    try:
        return _take(table, ids, schema.names).cast(schema)
    except Exception:  # LanceDB and pyarrow raise several types, and what they raise depends on the damage
        pass
    columns = [dict(_column(table, ids, name)) for name in schema.names]
    present = [row for row in ids if any(row in column for column in columns)]
    values = [
        pa.array([column.get(row) for row in present], field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.table(values, schema=schema)


def _column(table: Any, ids: Sequence[int], name: str) -> list[tuple[int, Any]]:
    """Return (row id, value) of the readable values of a column."""
    try:
        got = _take(table, ids, [name], with_id=True)
        return list(zip(got["_rowid"].to_pylist(), got[name].to_pylist(), strict=True))
    except Exception:  # as above
        if len(ids) == 1:
            return []
    if len(ids) > 2 * SAMPLES:
        step = len(ids) // SAMPLES
        if not any(_column(table, [row], name) for row in ids[::step]):
            return []
    half = len(ids) // 2
    return _column(table, ids[:half], name) + _column(table, ids[half:], name)


def _take(table: Any, ids: Sequence[int], names: Sequence[str], *, with_id: bool = False) -> pa.Table:
    query = table.take_row_ids(list(ids)).select(list(names))
    if with_id:
        query = query.with_row_id()
    taken = query.to_arrow()
    taken.validate(full=True)
    return taken


if __name__ == "__main__":
    main(*sys.argv[1:])
