"""Store a library's rows in one LanceDB table with one row per window.

Every change is one commit, which readers see completely or not at all. Source: LanceDB's table API. A table without an
index is scanned exactly; one with an index is searched by inverted lists and re-ranking.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from aural.core.errors import ConfigError, DataError, MissingDependencyError
from aural.core.types import FloatArray
from aural.search.checksums import incomplete_file, record_files
from aural.search.filters import COLUMNS, INTEGER_BITS, Filter, one_of
from aural.search.folder import TABLE_FOLDER, DamagedLibraryError
from aural.search.index import ExactIndex, Hit, unit_query
from aural.search.lance_errors import lance_errors
from aural.search.lance_files import newest_number, version_names
from aural.search.row_digests import DIGEST, digests

if TYPE_CHECKING:
    import pyarrow as pa

P = ParamSpec("P")
R = TypeVar("R")
TABLE = "sounds"
HIT_COLUMNS = ["file", "path", "window", "start", "end", "duration", "silent", "tags", "_distance"]
INDEX_FROM_ROWS = 20_000
"""Number of rows from which `optimize` builds the approximate index. Below, comparing every row is fast enough."""

FILES_PER_COMMIT = 500
FILE_VERSION = "2.1"
"""Version of Lance's file format. Version 2.2 needs 6 ms to read one value of a column of equal values."""

CANDIDATES = 150
"""Rows that are re-ranked by their vectors, plus five per requested row, because one-bit codes misplace some rows."""

FILTER_INDEXES = {"duration": "BTree", "tags": "LabelList"} | dict.fromkeys(
    ("format", "sample_rate", "channels", "silent"), "Bitmap"
)
"""Columns with an index for filters and its kind; built together with the approximate index."""

KEEP_VERSIONS = timedelta(hours=1)
"""Age up to which old versions are kept, for readers that still use them and for adds that were interrupted."""


def schema(embed_dim: int) -> pa.Schema:
    """Return the columns of the table; `vector` is a fixed-size list of E float32."""
    import pyarrow as pa

    kinds = {"text": pa.string(), "number": pa.float64(), "truth": pa.bool_(), "list": pa.list_(pa.string())}
    integers = {name: pa.int32() if bits == 32 else pa.int64() for name, bits in INTEGER_BITS.items()}
    fields = [pa.field(name, integers.get(name, kinds[kind]), nullable=False) for name, kind in COLUMNS.items()]
    fields.append(pa.field("mtime_ns", pa.int64(), nullable=False))
    fields.append(pa.field("vector", pa.list_(pa.float32(), embed_dim), nullable=False))
    fields.append(pa.field(DIGEST, pa.int64(), nullable=False))
    return pa.schema(fields)


def _guarded(method: Callable[P, R]) -> Callable[P, R]:
    """Raise DataError with one sentence when LanceDB fails in a method of a store."""

    @wraps(method)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        with lance_errors(arguments[0].folder):  # type: ignore[attr-defined]
            return method(*arguments, **options)

    return run


def _commits(method: Callable[P, R]) -> Callable[P, R]:
    """Guard a method that commits, and record the files of the new version afterwards."""

    @wraps(method)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        folder: Path = arguments[0].folder  # type: ignore[attr-defined]
        table = folder / TABLE_FOLDER
        before = {name for _, name in version_names(table)}
        with lance_errors(folder):
            try:
                result = method(*arguments, **options)
            except BaseException:
                with contextlib.suppress(OSError):  # LanceDB created it for rows that the disk refused
                    (table / "data").rmdir()
                raise
            finally:  # LanceDB may fail when it reads what it has committed
                if (file := incomplete_file(folder)) is not None:
                    _take_back(table, before)
                    reason = f"the disk refused a part of {file}; check the free space and try again"
                    raise DataError(f"{folder}: {reason}") from None
            record_files(folder)
            return result

    return run


def _take_back(table: Path, names: set[str]) -> None:
    """Delete the manifests of all versions but these, if one of them is still there."""
    present = [name for _, name in version_names(table)]
    if not names.isdisjoint(present):
        for name in present:
            if name not in names:
                (table / name).unlink()


class LanceStore:
    """An `Index` on disk. Reading needs no lock; a writer holds the library's lock."""

    def __init__(self, folder: Path, embed_dim: int, *, create: bool = False, defer: bool = False) -> None:
        """Open the table in `folder`. defer: when it is first used, because importing LanceDB takes a second."""
        self.folder = Path(folder)
        self.embed_dim = embed_dim
        self._opened: Any = None
        if not defer:
            self._open(create=create)

    def _open(self, *, create: bool = False) -> None:
        # Without these variables, lancedb prints notes about future versions to stderr.
        os.environ.setdefault("LANCEDB_LOG", "error")
        os.environ.setdefault("LANCE_LOG", "error")
        try:
            import lancedb
        except ImportError:
            raise MissingDependencyError(
                'the sound library needs the package lancedb; pip install "aural[search]"'
            ) from None
        options = {"new_table_data_storage_version": FILE_VERSION}
        with lance_errors(self.folder):
            database = lancedb.connect(self.folder, read_consistency_interval=timedelta(0), storage_options=options)
            if create:
                table = database.create_table(TABLE, schema=schema(self.embed_dim), exist_ok=True)
                record_files(self.folder)
            else:
                table = database.open_table(TABLE)
            width = table.schema.field("vector").type.list_size
        if width != self.embed_dim:
            raise DamagedLibraryError(
                self.folder, f"its card states vectors of {self.embed_dim} numbers, the table of {width}"
            )
        self._database, self._opened = database, table

    @property
    def _table(self) -> Any:
        if self._opened is None:
            self._open()
        return self._opened

    # Reading -------------------------------------------------------------------------------------------------------

    @_guarded
    def search(
        self,
        query: FloatArray,
        top: int,
        where: Filter | None = None,
        *,
        exact: bool = False,
        nprobes: int = 40,
        refine: int | None = None,
    ) -> list[Hit]:
        """Return the nearest rows; see `Index`.

        With an approximate index, `nprobes` lists are read (twice as many under a filter, and all of them if those
        leave too few rows) and `top * refine` candidates are re-ranked (default: 150 plus five per requested row).
        exact=True compares every row even if there is an index.
        """
        search = self._table.search(unit_query(query, self.embed_dim), "vector").distance_type("dot")
        search = search.select(HIT_COLUMNS).limit(top).refine_factor(refine or -(-CANDIDATES // top) + 5)
        if exact:
            search = search.bypass_vector_index()
        if where is not None:
            search = search.where(where.sql, prefilter=True)
            nprobes = 2 * nprobes
        table = search.minimum_nprobes(nprobes).maximum_nprobes(nprobes).to_arrow()
        if where is not None and table.num_rows < top and not exact:
            table = search.maximum_nprobes(0).to_arrow()  # all lists
        rows = table.to_pydict()
        hits = [
            Hit(file, path, window, start, end, duration, 1.0 - distance, silent, tuple(tags))
            for file, path, window, start, end, duration, silent, tags, distance in zip(
                *(rows[name] for name in HIT_COLUMNS), strict=True
            )
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.file, hit.window))

    @_guarded
    def count(self, where: Filter | None = None) -> int:
        """Return the number of rows that meet `where`; see `Index`."""
        return int(self._table.count_rows(None if where is None else where.sql))

    @_guarded
    def rows(self, columns: Sequence[str], where: Filter | None = None) -> pa.Table:
        """Return the rows that meet `where` as a table with these columns, in no particular order."""
        search = self._table.search().select(list(columns)).limit(None)
        return (search if where is None else search.where(where.sql)).to_arrow()

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        """Yield all rows in tables of at most `rows`, in the order in which they are stored."""
        import pyarrow as pa

        with lance_errors(self.folder):
            for batch in self._table.search().select(list(columns)).limit(None).to_batches(batch_size=rows):
                yield pa.Table.from_batches([batch])

    def exact(self) -> ExactIndex:
        """Return an `ExactIndex` of all rows, in memory."""
        table = self.rows([*COLUMNS, "vector"])
        return ExactIndex(vectors_of(table, self.embed_dim), {name: column_of(table, name) for name in COLUMNS})

    @property
    @_guarded
    def version(self) -> int:
        """The number of the newest commit."""
        return newest_number(self.folder / TABLE_FOLDER) if self._opened is None else int(self._opened.version)

    @_guarded
    def stats(self) -> dict[str, Any]:
        """Return the numbers of rows, bytes, fragments and rows that are not in the approximate index.

        `index` is the kind of the approximate index; it and `unindexed_rows` are None if there is none.
        """
        table = self._table.stats()
        index = self._vector_index()
        return {
            "rows": int(self._table.count_rows()),
            "bytes": int(table["total_bytes"]),
            "fragments": int(table["fragment_stats"]["num_fragments"]),
            "indexes": len(self._table.list_indices()),
            "index": None if index is None else str(index.index_type),
            "unindexed_rows": None if index is None else int(index.num_unindexed_rows or 0),
        }

    # Writing -------------------------------------------------------------------------------------------------------

    @_commits
    def append(self, rows: pa.Table) -> None:
        """Add the rows of files that are not in the table yet, in one commit."""
        self._table.add(self._stored_columns(rows))

    @_commits
    def replace(self, files: Sequence[str], rows: pa.Table) -> None:
        """Replace all rows of these files by new rows, in one commit."""
        merge = self._table.merge_insert(["file", "window"]).when_matched_update_all().when_not_matched_insert_all()
        merge.when_not_matched_by_source_delete(one_of("file", files).sql).execute(self._stored_columns(rows))

    @_commits
    def revise(self, rows: pa.Table) -> None:
        """Change some columns of all rows of files, in one commit. `rows` has the column `file` and those to change."""
        self._table.merge_insert(["file"]).when_matched_update_all().execute(rows)

    @_commits
    def remove(self, files: Sequence[str]) -> None:
        """Delete all rows of these files."""
        for start in range(0, len(files), FILES_PER_COMMIT):
            self._table.delete(one_of("file", files[start : start + FILES_PER_COMMIT]).sql)

    def compact(self) -> None:
        """Merge small fragments, add new rows to the indexes, and delete versions older than an hour.

        LanceDB merges fragments before it adds rows to indexes, and merges only fragments that the same indexes cover.
        So the fragments of new rows are merged with the others in a second pass, once the indexes cover them.
        """
        index = self._vector_index()
        self._compact_once()
        if index is not None and index.num_unindexed_rows:
            self._compact_once()

    @_commits
    def _compact_once(self) -> None:
        self._table.optimize(cleanup_older_than=KEEP_VERSIONS)

    def optimize(self, *, build_from: int = INDEX_FROM_ROWS) -> bool:
        """Compact, and build a missing approximate index if there are `build_from` rows or more.

        Returns True if the index was built.
        """
        self.compact()
        rows = int(self._table.count_rows())
        if rows < max(build_from, 256) or self._vector_index() is not None:
            return False
        self.build_index()
        self.index_filters()
        return True

    @_commits
    def build_index(self, kind: str | None = None, *, partitions: int | None = None, **options: Any) -> None:
        """Build or rebuild the approximate index; searches continue meanwhile.

        kind: IVF_RQ by default (RaBitQ: one bit per dimension, re-ranked by the vectors themselves; it builds much
        faster than IVF_PQ at equal recall, see docs/bench/search.md), or IVF_FLAT if the number of dimensions is not a
        multiple of 8. partitions: number of inverted lists; by default the square root of the number of rows.
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
            raise ConfigError(f'index kind "{kind}" is unknown; use {", ".join(configs)}')
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

    @_commits
    def index_filters(self) -> None:
        """Build the indexes of `FILTER_INDEXES`; compacting adds new rows to them."""
        from lancedb import index as kinds

        for column, kind in FILTER_INDEXES.items():
            self._table.create_index(column, config=getattr(kinds, kind)())

    @_commits
    def drop_indexes(self) -> None:
        """Delete every index; searches compare every row from then on."""
        for index in self._table.list_indices():
            self._table.drop_index(index.name)

    @_commits
    def overwrite(self, rows: pa.Table) -> None:
        """Replace all rows, in one commit; indexes are dropped. Earlier versions are not read."""
        self._opened = self._database.create_table(TABLE, data=rows, schema=schema(self.embed_dim), mode="overwrite")

    @property
    def columns(self) -> list[str]:
        """The names of all columns; a table of format 1 has no `digest`."""
        return list(self._table.schema.names)

    def _stored_columns(self, rows: pa.Table) -> pa.Table:
        """Return the columns that the table has; a table of format 1 has no digests."""
        return rows.select(self.columns)

    @_guarded
    def indexes(self) -> list[list[str]]:
        """Return the columns of each existing index."""
        return [list(index.columns) for index in self._table.list_indices()]

    def _vector_index(self) -> Any:
        return next((index for index in self._table.list_indices() if index.columns == ["vector"]), None)


def table_of(rows: Iterable[dict[str, Any]], vectors: FloatArray, embed_dim: int) -> pa.Table:
    """Return rows (every column except `vector`) and their vectors (N, E) as a table."""
    import pyarrow as pa

    rows = list(rows)
    fields = schema(embed_dim)
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    columns = [pa.array([row[f.name] for row in rows], f.type) for f in fields if f.name not in ("vector", DIGEST)]
    columns.append(pa.FixedSizeListArray.from_arrays(flat, embed_dim))
    table = pa.table(columns, schema=pa.schema([f for f in fields if f.name != DIGEST]))
    return table.append_column(fields.field(DIGEST), pa.array(digests(table), pa.int64()))


def vectors_of(table: pa.Table, embed_dim: int) -> FloatArray:
    """Return the column `vector` as (N, E) float32."""
    joined = table["vector"].combine_chunks()
    flat = joined.flatten() if table.num_rows else np.empty(0, np.float32)
    return np.asarray(flat, np.float32).reshape(-1, embed_dim)


def column_of(table: pa.Table, name: str) -> np.ndarray[Any, Any]:
    """Return a column as an array (N,); texts and lists become objects."""
    if COLUMNS.get(name) in ("number", "truth"):
        return table[name].to_numpy()
    values = np.empty(table.num_rows, object)
    values[:] = table[name].to_pylist()
    return values
