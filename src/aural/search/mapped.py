"""Search a library through an index that is mapped into memory, next to the table as the store of record.

A small library is compared row by row. In a large one, 8-bit codes are stored in lists of similar vectors; the lists
whose centers are nearest to the query are compared, and the best of their rows again by the float16 vectors. Vectors
that are in no list yet are compared one by one, and so are the rows of a filter that few rows meet. An index that is
missing, damaged or older than the table is not used: `MappedIndex.current` then returns None.

Legend: N rows, S slots, P positions in the order of the codes, K lists, E dimensions.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError, WriteError
from aural.core.types import FloatArray
from aural.search.filters import Filter
from aural.search.folder import TABLE_FOLDER
from aural.search.index import Hit, unit_query
from aural.search.lance import LanceStore
from aural.search.lance_files import newest_number
from aural.search.mapped_build import update
from aural.search.mapped_codes import query_code
from aural.search.mapped_files import FOLDER, INDEX, OPEN_BYTES, MappedManifest, intact, read_manifest, remove_unused
from aural.search.mapped_lists import best_of, dots
from aural.search.mapped_rows import MASK_BYTES, MappedRows, Rows

SEARCHED_LISTS: Final = 64
"""Lists that a search compares; more if the rows that meet a filter are fewer than `SEARCHED_ROWS` in them."""
SEARCHED_ROWS: Final = 8_000
"""Rows that a search compares at least, and eight per requested row."""
COMPARED: Final = 128
"""Rows that are compared again by their vectors, plus two per requested row."""
EXACT_ROWS: Final = 16_000
"""Rows that meet a filter up to which each of them is compared, instead of lists."""
SPARE: Final = 64
"""Rows that are kept beyond the requested ones when float16 queries compare, and ranked by float32 queries."""
_BLOCK_ROWS: Final = 512
"""Rows that are copied and compared at once; larger blocks leave the cache."""


@dataclass(frozen=True)
class _Passing:
    """The positions of codes whose rows meet a filter, in order, where each list begins in them (K + 1,), and the rows
    outside the lists that meet it."""

    positions: NDArray[np.int32]
    bounds: Rows
    outside: Rows


class MappedSnapshot:
    """An `Index` of one version of a table, mapped into memory. Several threads may search it."""

    def __init__(self, folder: Path, manifest: MappedManifest) -> None:
        self.manifest = manifest
        self.embed_dim = manifest.embed_dim
        self.rows = MappedRows(folder / manifest.table, manifest.slots)
        shape = (manifest.slots, manifest.embed_dim)
        self._vectors: NDArray[Any] = np.asarray(np.memmap(folder / manifest.vectors, manifest.dtype, "r", shape=shape))
        self._codes: NDArray[np.int8] = np.empty((0, manifest.embed_dim), np.int8)
        self._centers, self._bounds = self._codes, np.zeros(1, np.int64)
        self._row_of_position = np.empty(0, np.int32)
        if manifest.codes is not None and manifest.lists is not None:
            self._codes = np.asarray(np.load(folder / manifest.codes, mmap_mode="r"))
            with np.load(folder / manifest.lists) as stored:
                self._centers, self._bounds = stored["center_codes"], stored["bounds"].astype(np.int64)
                self._row_of_position = self.rows.row_of_slot[stored["order"]]
        outside = self.rows.row_of_slot[manifest.coded_slots :]
        self._outside: Rows = np.sort(outside[outside >= 0]).astype(np.int64)
        self._passing: OrderedDict[str, _Passing] = OrderedDict()
        self._lock = threading.Lock()

    def search(
        self, query: FloatArray, top: int, where: Filter | None = None, *, lists: int = SEARCHED_LISTS
    ) -> list[Hit]:
        """Return the nearest rows; see `aural.search.index.Index`.

        lists: number of lists that are compared at least; more find more of the nearest rows and take longer.
        """
        query = unit_query(query, self.embed_dim)
        if where is not None and where.files is not None:
            return self._ranked(query, self._nearest(query, self.rows.select(where), top), top)
        passing = None if where is None else self._meeting(where)
        outside = self._nearest(query, self._outside if passing is None else passing.outside, top)
        return self._ranked(query, np.concatenate([self._inside(query, top, passing, lists), outside]), top)

    def count(self, where: Filter | None = None) -> int:
        """Return the number of rows that meet `where`; see `aural.search.index.Index`."""
        if where is None:
            return len(self.rows)
        return len(self.rows.select(where))

    def _meeting(self, where: Filter) -> _Passing:
        """Return the rows that meet a filter. Recent filters are remembered."""
        with self._lock:
            if where.sql in self._passing:
                self._passing.move_to_end(where.sql)
                return self._passing[where.sql]
        mask = self.rows.mask(where)
        positions = np.flatnonzero((self._row_of_position >= 0) & mask[self._row_of_position]).astype(np.int32)
        passing = _Passing(positions, np.searchsorted(positions, self._bounds), self._outside[mask[self._outside]])
        with self._lock:
            self._passing[where.sql] = passing
            while len(self._passing) > 1 and sum(one.positions.nbytes for one in self._passing.values()) > MASK_BYTES:
                self._passing.popitem(last=False)
        return passing

    def _inside(self, query: FloatArray, top: int, passing: _Passing | None, lists: int) -> Rows:
        """Return rows near the query from the lists whose centers are nearest, in no particular order."""
        if not len(self._codes):
            return np.empty(0, np.int64)
        code = query_code(query)
        bounds = self._bounds if passing is None else passing.bounds
        if bounds[-1] <= max(EXACT_ROWS, top):
            chosen = np.flatnonzero(np.diff(bounds))
        else:
            nearest = np.argsort(-dots(code, self._centers))
            wanted = max(SEARCHED_ROWS, 8 * top)
            enough = 1 + int(np.searchsorted(np.cumsum(np.diff(bounds)[nearest]), wanted))
            chosen = nearest[: max(lists, enough)]
        ranges = [(int(bounds[i]), int(bounds[i + 1])) for i in chosen if bounds[i] < bounds[i + 1]]
        if not ranges:
            return np.empty(0, np.int64)
        if passing is None:
            scores = np.concatenate([dots(code, self._codes[start:end]) for start, end in ranges])
            positions = np.concatenate([np.arange(start, end) for start, end in ranges])
        else:
            positions = np.concatenate([passing.positions[start:end] for start, end in ranges])
            scores = self._gathered(code, self._codes, positions)
        rows = self._row_of_position[positions[best_of(scores, COMPARED + 2 * top)]]
        rows = rows[rows >= 0].astype(np.int64)
        if len(rows) < top and len(ranges) < len(self._centers) and lists < len(self._centers):
            return self._inside(query, top, passing, len(self._centers))  # deleted rows were among the best
        return rows

    def _nearest(self, query: FloatArray, rows: Rows, top: int) -> Rows:
        """Return more than the `top` nearest of these rows, in no particular order."""
        keep = top + SPARE
        if len(rows) <= 2 * keep:
            return rows
        slots = self.rows.slots[rows]
        if self._vectors.dtype == np.float32:
            few = 4 * len(rows) < len(self._vectors)  # all are compared without a copy, some only with one
            scores = self._vectors[slots] @ query if few else (self._vectors @ query)[slots]
        else:
            scores = self._gathered(query.astype(np.float16), self._vectors, slots)
        return rows[best_of(scores, keep)]

    def _gathered(self, query: NDArray[Any], source: NDArray[Any], places: NDArray[Any]) -> FloatArray:
        """Return the inner products (N,) of a query with the rows of a matrix at these places."""
        scores = np.empty(len(places), np.float32)
        copied = np.empty((_BLOCK_ROWS, self.embed_dim), source.dtype)
        for start in range(0, len(places), _BLOCK_ROWS):
            block = copied[: min(_BLOCK_ROWS, len(places) - start)]
            np.take(source, places[start : start + len(block)], axis=0, out=block, mode="clip")
            scores[start : start + len(block)] = dots(query, block)
        return scores

    def _ranked(self, query: FloatArray, rows: Rows, top: int) -> list[Hit]:
        """Return the `top` best of these rows as hits; equal scores are ordered by file and window."""
        scores = self._vectors[self.rows.slots[rows]].astype(np.float32) @ query
        order = np.lexsort((rows, -scores))[:top]
        return self.rows.hits(rows[order], scores[order])


class MappedIndex:
    """The mapped index of a library's folder: opens what is current, and writes it for the holder of the lock."""

    def __init__(self, folder: Path, store: LanceStore) -> None:
        self.folder, self.store = folder, store
        self._opened: tuple[tuple[int, ...], MappedSnapshot | None] | None = None
        self._lock = threading.Lock()

    def current(self) -> MappedSnapshot | None:
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

    def _open(self) -> MappedSnapshot | None:
        place = self.folder / FOLDER
        manifest = read_manifest(place)
        if manifest is None or manifest.embed_dim != self.store.embed_dim or not intact(place, manifest, OPEN_BYTES):
            return None
        try:
            return MappedSnapshot(place, manifest)
        except (ImportError, OSError, RuntimeError, ValueError, KeyError):
            return None

    def update(self, *, create: bool = False) -> None:
        """Bring the index up to date with the table; the caller holds the writer's lock.

        create: also write a missing index. Nothing is raised if the disk refuses it: the table is searched then.
        """
        if not create and not os.path.lexists(self.folder / FOLDER):
            return
        try:
            update(self.folder, self.store)
        except (WriteError, DataError, OSError, RuntimeError, ValueError, KeyError):
            with contextlib.suppress(WriteError, OSError):
                remove_unused(self.folder / FOLDER)
