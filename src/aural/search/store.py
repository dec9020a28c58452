"""The store: one LanceDB table, one row a window. Every change is one commit that readers see whole or not at all.

Sources: LanceDB's table API; an unindexed table is scanned exactly, an indexed one by inverted lists and re-ranking.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aural.core.errors import ConfigError, DataError, MissingDependencyError
from aural.core.types import FloatArray
from aural.search.index import ExactIndex, Hit, unit_query
from aural.search.where import COLUMNS, Condition, any_of

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "sounds"
HIT_COLUMNS = ["file", "path", "window", "start", "end", "duration", "silent", "tags", "_distance"]
INDEX_FROM_ROWS = 20_000  # below, comparing every row is fast enough; above, `optimize` builds the index
FILES_A_COMMIT = 500
FILE_VERSION = "2.1"  # 2.2 stores a stretch of equal values so that reading one of a million takes 6 ms
CANDIDATES = (
    150  # re-ranked by their vectors, and five more for each row that is asked for: one-bit codes misplace some
)
# Columns whose filters are answered by an index of their own, built with the approximate one.
FILTER_INDEXES = {"duration": "BTree", "tags": "LabelList"} | dict.fromkeys(
    ("format", "sample_rate", "channels", "silent"), "Bitmap"
)
# Old versions are kept so long, for readers that still hold them and for adds that were cut off.
KEEP_VERSIONS = timedelta(hours=1)


def schema(embed_dim: int) -> pa.Schema:
    """The table's columns; `vector` is a fixed-size list of E float32."""
    import pyarrow as pa

    kinds = {"text": pa.string(), "number": pa.float64(), "truth": pa.bool_(), "list": pa.list_(pa.string())}
    whole = {"window": pa.int32(), "sample_rate": pa.int32(), "channels": pa.int32(), "size": pa.int64()}
    fields = [pa.field(name, whole.get(name, kinds[kind]), nullable=False) for name, kind in COLUMNS.items()]
    fields.append(pa.field("mtime_ns", pa.int64(), nullable=False))
    fields.append(pa.field("vector", pa.list_(pa.float32(), embed_dim), nullable=False))
    return pa.schema(fields)


class LanceStore:
    """An `Index` on disk. Reading needs no lock; whoever writes holds the library's lock."""

    def __init__(self, folder: Path, embed_dim: int, *, create: bool = False) -> None:
        # lancedb's core would print notes about its own future to stderr.
        os.environ.setdefault("LANCEDB_LOG", "error")
        os.environ.setdefault("LANCE_LOG", "error")
        try:
            import lancedb
        except ImportError:
            raise MissingDependencyError(
                'the sound library needs the package lancedb; pip install "aural[search]"'
            ) from None
        self.embed_dim = embed_dim
        options = {"new_table_data_storage_version": FILE_VERSION}
        database = lancedb.connect(folder, read_consistency_interval=timedelta(0), storage_options=options)
        if create:
            self._table = database.create_table(TABLE, schema=schema(embed_dim), exist_ok=True)
        else:
            try:
                self._table = database.open_table(TABLE)
            except (ValueError, RuntimeError, OSError) as error:
                raise DataError(f"{folder}: its table of sounds cannot be read ({_short(error)})") from None

    # Reading -------------------------------------------------------------------------------------------------------

    def search(
        self,
        query: FloatArray,
        top: int,
        where: Condition | None = None,
        *,
        exact: bool = False,
        nprobes: int = 40,
        refine: int | None = None,
    ) -> list[Hit]:
        """See `Index`. With an approximate index: `nprobes` lists are read (twice as many under a filter, and all where
        those leave too few rows) and `top * refine` candidates re-ranked (default: 150 and five
        for each row that is asked for).

        exact=True compares every row whatever index there is.
        """
        search = self._table.search(unit_query(query, self.embed_dim), "vector").distance_type("dot")
        search = search.select(HIT_COLUMNS).limit(top).refine_factor(refine or -(-CANDIDATES // top) + 5)
        if exact:
            search = search.bypass_vector_index()
        if where is not None:
            search, nprobes = search.where(where.sql, prefilter=True), 2 * nprobes
        found = search.minimum_nprobes(nprobes).maximum_nprobes(nprobes).to_arrow()
        if where is not None and found.num_rows < top and not exact:
            found = search.maximum_nprobes(0).to_arrow()  # all lists
        rows = found.to_pydict()
        hits = [
            Hit(file, path, window, start, end, duration, 1.0 - distance, silent, tuple(tags))
            for file, path, window, start, end, duration, silent, tags, distance in zip(
                *(rows[name] for name in HIT_COLUMNS), strict=True
            )
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.file, hit.window))

    def count(self, where: Condition | None = None) -> int:
        """See `Index`."""
        return int(self._table.count_rows(None if where is None else where.sql))

    def rows(self, columns: Sequence[str], where: Condition | None = None) -> pa.Table:
        """The rows that meet `where`, as a table of these columns, in no order."""
        search = self._table.search().select(list(columns)).limit(None)
        return (search if where is None else search.where(where.sql)).to_arrow()

    def exact(self) -> ExactIndex:
        """All rows in memory, as the oracle."""
        table = self.rows([*COLUMNS, "vector"])
        return ExactIndex(vectors_of(table, self.embed_dim), {name: column_of(table, name) for name in COLUMNS})

    @property
    def version(self) -> int:
        """Number of the newest commit."""
        return int(self._table.version)

    def stats(self) -> dict[str, Any]:
        """Rows, bytes, fragments, and rows inside and outside the approximate index (None where there is none)."""
        found = self._table.stats()
        index = self._vector_index()
        return {
            "rows": int(self._table.count_rows()),
            "bytes": int(found["total_bytes"]),
            "fragments": int(found["fragment_stats"]["num_fragments"]),
            "index": None if index is None else str(index.index_type),
            "unindexed_rows": None if index is None else int(index.num_unindexed_rows or 0),
        }

    # Writing -------------------------------------------------------------------------------------------------------

    def append(self, rows: pa.Table) -> None:
        """Add rows of files that are not yet held: one commit."""
        self._table.add(rows)

    def replace(self, files: Sequence[str], rows: pa.Table) -> None:
        """Give these files new rows in place of their old ones: one commit."""
        merge = self._table.merge_insert(["file", "window"]).when_matched_update_all().when_not_matched_insert_all()
        merge.when_not_matched_by_source_delete(any_of("file", files).sql).execute(rows)

    def revise(self, rows: pa.Table) -> None:
        """Change some columns of whole files: `rows` holds `file` and the columns to change; one commit."""
        self._table.merge_insert(["file"]).when_matched_update_all().execute(rows)

    def remove(self, files: Sequence[str]) -> None:
        """Drop all rows of these files."""
        for at in range(0, len(files), FILES_A_COMMIT):
            self._table.delete(any_of("file", files[at : at + FILES_A_COMMIT]).sql)

    def compact(self) -> None:
        """Join small pieces, take new rows into the index, drop versions older than an hour."""
        self._table.optimize(cleanup_older_than=KEEP_VERSIONS)

    def optimize(self, *, build_from: int = INDEX_FROM_ROWS) -> bool:
        """Compact; from `build_from` rows on build the approximate index if it is not there. True if it was built."""
        self.compact()
        rows = int(self._table.count_rows())
        if rows < max(build_from, 256) or self._vector_index() is not None:
            return False
        self.build_index()
        self.index_filters()
        return True

    def build_index(self, kind: str | None = None, *, partitions: int | None = None, **options: Any) -> None:
        """Build the approximate index anew; searches go on beside it.

        kind: IVF_RQ by default (RaBitQ: one bit a dimension, re-ranked by the vectors themselves; built in a small part
        of IVF_PQ's time at equal recall, see docs/bench/search.md), IVF_FLAT where dimensions do not fill bytes.
        partitions: lists of rows; the root of their number by default.
        """
        kind = kind or ("IVF_RQ" if self.embed_dim % 8 == 0 else "IVF_FLAT")
        from lancedb import index as kinds

        configs: dict[str, Any] = {
            "IVF_FLAT": kinds.IvfFlat,
            "IVF_RQ": kinds.IvfRq,
            "IVF_SQ": kinds.IvfSq,
            "IVF_PQ": kinds.IvfPq,
            "IVF_HNSW_SQ": kinds.HnswSq,
        }
        if kind not in configs:
            raise ConfigError(f'index kind "{kind}" is not known; use {", ".join(configs)}')
        if kind == "IVF_PQ" and self.embed_dim % 8 == 0:
            options.setdefault("num_sub_vectors", self.embed_dim // 8)
        partitions = partitions or max(1, round(float(self._table.count_rows()) ** 0.5))
        options = {"sample_rate": 64, "max_iterations": 20} | options
        if kind == "IVF_RQ":
            options.setdefault("num_bits", 1 if self.embed_dim >= 256 else 4)
        config = configs[kind](distance_type="dot", num_partitions=partitions, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._table.create_index("vector", config=config)

    def index_filters(self) -> None:
        """Build the indexes of the columns that filters ask for most often; compacting takes new rows into them."""
        from lancedb import index as kinds

        for column, kind in FILTER_INDEXES.items():
            self._table.create_index(column, config=getattr(kinds, kind)())

    def indexes(self) -> list[list[str]]:
        """The columns of each index that is there."""
        return [list(index.columns) for index in self._table.list_indices()]

    def _vector_index(self) -> Any:
        return next((index for index in self._table.list_indices() if index.columns == ["vector"]), None)


def table_of(rows: Iterable[dict[str, Any]], vectors: FloatArray, embed_dim: int) -> pa.Table:
    """Rows (every column but `vector`) and their vectors (N, E) as a table."""
    import pyarrow as pa

    listed, names = list(rows), schema(embed_dim)
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    columns = [pa.array([row[f.name] for row in listed], f.type) for f in names if f.name != "vector"]
    return pa.table([*columns, pa.FixedSizeListArray.from_arrays(flat, embed_dim)], schema=names)


def vectors_of(table: pa.Table, embed_dim: int) -> FloatArray:
    """The column `vector` as (N, E) float32."""
    joined = table["vector"].combine_chunks()
    flat = joined.flatten() if table.num_rows else np.empty(0, np.float32)
    return np.asarray(flat, np.float32).reshape(-1, embed_dim)


def column_of(table: pa.Table, name: str) -> np.ndarray[Any, Any]:
    """A column as (N,): numbers as they are, texts and lists as objects."""
    if COLUMNS.get(name) in ("number", "truth"):
        return table[name].to_numpy()
    values = np.empty(table.num_rows, object)
    values[:] = table[name].to_pylist()
    return values


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
