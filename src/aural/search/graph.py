"""Search a library through a graph index that is mapped into memory, next to the table as the store of record.

Candidates come from a graph of 8-bit codes (HNSW, package usearch); they are compared again by the float16 vectors.
Vectors that are not in the graph yet are compared one by one, and so are the rows of a filter that few rows meet. An
index that is missing, damaged or older than the table is not used: `GraphIndex.current` then returns None.

Legend: N rows, S slots, E dimensions.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError, WriteError
from aural.core.types import FloatArray
from aural.search.filters import Filter
from aural.search.folder import TABLE_FOLDER
from aural.search.graph_build import update
from aural.search.graph_codes import codes
from aural.search.graph_files import FOLDER, INDEX, OPEN_BYTES, GraphManifest, intact, read_manifest, remove_unused
from aural.search.graph_rows import GraphRows, Rows
from aural.search.index import Hit, unit_query
from aural.search.lance import LanceStore
from aural.search.lance_files import newest_number

SEARCH_CANDIDATES: Final = 256
"""Candidates that a search of the graph keeps; more if more rows are requested."""
COMPARED: Final = 100
"""Candidates that are compared by their vectors, plus two per requested row."""
MOST_CANDIDATES: Final = 4_096
EXACT_ROWS: Final = 12_000
"""Rows that meet a filter up to which each of them is compared, instead of searching the graph."""
SPARE: Final = 64
"""Rows that are kept beyond the requested ones when float16 queries compare, and ranked by float32 queries."""
_BLOCK_ROWS: Final = 512
"""Rows that are copied and compared at once; larger blocks leave the cache."""


class GraphSnapshot:
    """An `Index` of one version of a table, mapped into memory. Several threads may search it."""

    def __init__(self, folder: Path, manifest: GraphManifest) -> None:
        from usearch.index import Index

        self.manifest = manifest
        self.embed_dim = manifest.embed_dim
        self.rows = GraphRows(folder / manifest.table, manifest.slots)
        shape = (manifest.slots, manifest.embed_dim)
        mapped = np.memmap(folder / manifest.vectors, np.float16, "r", shape=shape)
        self._vectors: NDArray[np.float16] = np.asarray(mapped)
        self._graph: Any = None
        if manifest.graph is not None:
            self._graph = Index.restore(str(folder / manifest.graph), view=True)
        outside = self.rows.row_of_slot[manifest.graph_slots :]
        self._outside: Rows = outside[outside >= 0].astype(np.int64)
        self._lock = threading.Lock()

    def search(
        self, query: FloatArray, top: int, where: Filter | None = None, *, candidates: int = SEARCH_CANDIDATES
    ) -> list[Hit]:
        """Return the nearest rows; see `aural.search.index.Index`.

        candidates: number that the graph search keeps; more find more of the nearest rows and take longer.
        """
        query = unit_query(query, self.embed_dim)
        if where is not None and where.files is not None:
            return self._ranked(query, self._nearest(query, self.rows.select(where), top), top)
        if where is None:
            share, mask = 1.0, None
        else:
            mask = self.rows.mask(where)
            count = int(np.count_nonzero(mask))
            if count <= max(EXACT_ROWS, top):
                return self._ranked(query, self._nearest(query, np.flatnonzero(mask), top), top)
            share = count / len(self.rows)
        outside = self._outside if mask is None else self._outside[mask[self._outside]]
        others = self._nearest(query, outside, top)
        wanted = math.ceil((COMPARED + 2 * top) / (share if share < 0.5 else 1.0))
        while wanted <= MOST_CANDIDATES or mask is None:
            inside = self._neighbors(query, wanted, max(candidates, wanted))
            inside = inside if mask is None else inside[mask[inside]]
            if len(inside) >= top or wanted >= self.manifest.graph_slots:
                return self._ranked(query, np.concatenate([inside, others]), top)
            wanted *= 2
        every = np.arange(len(self.rows)) if mask is None else np.flatnonzero(mask)
        return self._ranked(query, self._nearest(query, every, top), top)

    def count(self, where: Filter | None = None) -> int:
        """Return the number of rows that meet `where`; see `aural.search.index.Index`."""
        if where is None:
            return len(self.rows)
        return len(self.rows.select(where))

    def _neighbors(self, query: FloatArray, count: int, candidates: int) -> Rows:
        """Return about `count` rows near the query by the graph."""
        if self._graph is None:
            return np.empty(0, np.int64)
        code = codes(query, self.manifest.scale)
        with self._lock:
            self._graph.expansion_search = candidates
            slots = self._graph.search(code, count, threads=1).keys
        rows = self.rows.row_of_slot[slots.astype(np.int64)]
        return rows[rows >= 0].astype(np.int64)

    def _nearest(self, query: FloatArray, rows: Rows, top: int) -> Rows:
        """Return more than the `top` nearest of these rows, by a float16 query, in no particular order."""
        keep = top + SPARE
        if len(rows) <= 2 * keep:
            return rows
        from numkong import cdist

        half = query.astype(np.float16)[None]
        slots = self.rows.slots[rows]
        scores = np.empty(len(rows), np.float32)
        copied = np.empty((_BLOCK_ROWS, self.embed_dim), np.float16)
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = copied[: min(_BLOCK_ROWS, len(rows) - start)]
            np.take(self._vectors, slots[start : start + len(block)], axis=0, out=block, mode="clip")
            scores[start : start + len(block)] = np.asarray(cdist(half, block, metric="dot", threads=1))[0]
        return rows[np.argpartition(-scores, keep)[:keep]]

    def _ranked(self, query: FloatArray, rows: Rows, top: int) -> list[Hit]:
        """Return the `top` best of these rows as hits; equal scores are ordered by file and window."""
        scores = self._vectors[self.rows.slots[rows]].astype(np.float32) @ query
        order = np.lexsort((rows, -scores))[:top]
        return self.rows.hits(rows[order], scores[order])


class GraphIndex:
    """The graph index of a library's folder: opens what is current, and writes it for the holder of the lock."""

    def __init__(self, folder: Path, store: LanceStore) -> None:
        self.folder, self.store = folder, store
        self._opened: tuple[tuple[int, ...], GraphSnapshot | None] | None = None
        self._lock = threading.Lock()

    def current(self) -> GraphSnapshot | None:
        """Return the index of the table's newest version, or None if there is none that can be used."""
        try:
            status = (self.folder / FOLDER / INDEX).stat()
            newest = newest_number(self.folder / TABLE_FOLDER)
        except OSError:
            return None
        key = status.st_ino, status.st_mtime_ns, status.st_size
        with self._lock:
            if self._opened is None or self._opened[0] != key:
                self._opened = key, self._open()
            snapshot = self._opened[1]
        return snapshot if snapshot is not None and snapshot.manifest.version == newest else None

    def _open(self) -> GraphSnapshot | None:
        place = self.folder / FOLDER
        manifest = read_manifest(place)
        if manifest is None or manifest.embed_dim != self.store.embed_dim or not intact(place, manifest, OPEN_BYTES):
            return None
        try:
            return GraphSnapshot(place, manifest)
        except (ImportError, OSError, RuntimeError, ValueError, KeyError):
            return None

    def update(self, *, create: bool = False, threads: int = 0) -> None:
        """Bring the index up to date with the table; the caller holds the writer's lock.

        create: also write a missing index. Nothing is raised if the disk refuses it or usearch is not installed: the
        table is searched then.
        """
        if not create and not os.path.lexists(self.folder / FOLDER):
            return
        try:
            import usearch  # noqa: F401
        except ImportError:
            return
        try:
            update(self.folder, self.store, threads=threads)
        except (WriteError, DataError, OSError, RuntimeError, ValueError, KeyError):
            with contextlib.suppress(WriteError, OSError):
                remove_unused(self.folder / FOLDER)
