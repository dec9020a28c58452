"""Map the metadata of a mapped index into memory: hits, filters, and the rows of files.

Legend: N rows, sorted by file and window; S slots.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray
from aural.search.filters import COLUMNS, Filter
from aural.search.index import Hit
from aural.search.lance import HIT_COLUMNS, column_of

if TYPE_CHECKING:
    import pyarrow as pa

SLOT: Final = "slot"
ID_CHARACTERS: Final = 16
"""Characters of a file's id; see `aural.search.locations.file_id`."""
MASK_BYTES: Final = 64 << 20
"""Memory for the rows that meet recent filters, one byte per row and filter."""

Rows = NDArray[np.int64]


class MappedRows:
    """The metadata of N rows in an Arrow file that is mapped into memory."""

    def __init__(self, path: Path, slots: int) -> None:
        import pyarrow as pa

        with pa.memory_map(str(path)) as source:
            self._table = pa.ipc.open_file(source).read_all()
        self.slots: Rows = self._table[SLOT].to_numpy()
        self.row_of_slot: NDArray[np.int32] = np.full(slots, -1, np.int32)
        self.row_of_slot[self.slots] = np.arange(len(self.slots), dtype=np.int32)
        self._files = _ids(self._table["file"])
        self._masks: OrderedDict[str, NDArray[np.bool_]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def mask(self, where: Filter) -> NDArray[np.bool_]:
        """Return which rows meet a filter (N,). Recent filters are remembered."""
        with self._lock:
            if where.sql in self._masks:
                self._masks.move_to_end(where.sql)
                return self._masks[where.sql]
        mask = where.mask(_Columns(self._table))
        with self._lock:
            self._masks[where.sql] = mask
            while len(self._masks) > max(1, MASK_BYTES // max(1, len(self))):
                self._masks.popitem(last=False)
        return mask

    def select(self, where: Filter) -> Rows:
        """Return the rows that meet a filter, in order. A filter that names its files looks at their rows only."""
        if where.files is None:
            return np.flatnonzero(self.mask(where))
        rows = self._rows_of(where.files)
        return rows[where.mask(_Columns(self._table.take(rows)))] if len(rows) else rows

    def _rows_of(self, files: Sequence[str]) -> Rows:
        wanted = np.unique(np.array([file for file in files if len(file) == ID_CHARACTERS], f"S{ID_CHARACTERS}"))
        first = np.searchsorted(self._files, wanted, "left")
        last = np.searchsorted(self._files, wanted, "right")
        ranges = [np.arange(start, end) for start, end in zip(first, last, strict=True)]
        return np.concatenate(ranges) if ranges else np.empty(0, np.int64)

    def hits(self, rows: Rows, scores: FloatArray) -> list[Hit]:
        """Return rows with their scores as hits, in the given order."""
        columns = self._table.select(HIT_COLUMNS[:-1]).take(rows).to_pydict()
        return [
            Hit(file, path, window, start, end, duration, score, silent, tuple(tags))
            for file, path, window, start, end, duration, silent, tags, score in zip(
                *(columns[name] for name in HIT_COLUMNS[:-1]), scores.tolist(), strict=True
            )
        ]


class _Columns(Mapping[str, Any]):
    """The columns of a table for a filter: numbers as arrays, texts and lists as they are in the table."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __getitem__(self, name: str) -> Any:
        return self._table[name] if COLUMNS[name] in ("text", "list") else column_of(self._table, name)

    def __iter__(self) -> Iterator[str]:
        return iter(COLUMNS)

    def __len__(self) -> int:
        return len(COLUMNS)


def _ids(column: pa.ChunkedArray) -> NDArray[np.bytes_]:
    """Return ids, which have equal lengths, as an array (N,) without a copy."""
    chunk = column.chunk(0) if column.num_chunks else None
    if chunk is None or not len(chunk):
        return np.empty(0, f"S{ID_CHARACTERS}")
    offsets = np.frombuffer(chunk.buffers()[1], np.int64, len(chunk) + 1)
    return np.frombuffer(chunk.buffers()[2], f"S{ID_CHARACTERS}", len(chunk), int(offsets[0]))


def write_rows(path: Path, table: pa.Table, slots: Rows) -> None:
    """Write metadata (the columns of `COLUMNS`), sorted by file and window, with the slot of each row.

    Raises ValueError for a file whose id has not 16 characters.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if table.num_rows and not pc.all(pc.equal(pc.binary_length(table["file"]), ID_CHARACTERS)).as_py():
        raise ValueError(f"ids of files have {ID_CHARACTERS} characters")
    table = table.select(list(COLUMNS)).append_column(SLOT, pa.array(slots, pa.int64()))
    table = table.sort_by([("file", "ascending"), ("window", "ascending")])
    large = [pa.field(f.name, pa.large_string() if f.type == pa.string() else f.type) for f in table.schema]
    table = table.cast(pa.schema(large)).combine_chunks()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(1, table.num_rows))
