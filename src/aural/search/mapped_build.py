"""Write the mapped index of a table: completely, or what changed since its last version.

A row is recognized by its digest, which covers its id, its window and its vector. New vectors are appended. The lists
are extended when too many vectors are outside them. Everything is written again when a third of the vectors belong to
deleted rows, and when a small library becomes a large one. The caller holds the writer's lock.

Legend: N rows, S slots, E dimensions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from aural.core.files import atomic_write, delete
from aural.core.types import FloatArray
from aural.search.filters import COLUMNS, Filter
from aural.search.lance import LanceStore, vectors_of
from aural.search.mapped_files import (
    FOLDER,
    OPEN_BYTES,
    MappedManifest,
    intact,
    read_manifest,
    record,
    remove_unused,
    write_manifest,
)
from aural.search.mapped_lists import extended, new_lists, read_lists, write_codes
from aural.search.mapped_rows import Rows, write_rows
from aural.search.row_digests import DIGEST

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS: Final = 20_000
LISTS_FROM_ROWS: Final = 20_000
"""Rows from which a library is large: float16 vectors, and 8-bit codes in lists. Comparing fewer takes under 5 ms."""
TRAIN_AGAIN: Final = 4
"""Growth of the number of vectors after which the centers of the lists are chosen again."""
OUTSIDE: Final = 2_000
"""Vectors that may be outside the lists, or an eighth of those inside, up to `MOST_OUTSIDE`."""
MOST_OUTSIDE: Final = 16_000
QUERY_DIGESTS: Final = 2_000
"""Rows that one query names by their digests."""


@dataclass
class _Vectors:
    """The file of vectors that an update writes to, and what it has read."""

    path: Path
    embed_dim: int
    dtype: str
    slots: int = 0
    metadata: list[pa.Table] = field(default_factory=list)

    def append(self, batches: Iterator[pa.Table]) -> None:
        """Append the vectors of tables with the columns `DIGEST` and `vector`."""
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            # without what an interrupted update appended
            file.truncate(np.dtype(self.dtype).itemsize * self.slots * self.embed_dim)
            file.seek(0, os.SEEK_END)
            for batch in batches:
                file.write(vectors_of(batch, self.embed_dim).astype(self.dtype).tobytes())
                self.slots += batch.num_rows
                self.metadata.append(batch.drop_columns(["vector"]))
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> NDArray[Any]:
        """Return the vectors (S, E), mapped into memory."""
        return np.memmap(self.path, self.dtype, "r", shape=(self.slots, self.embed_dim))


def update(folder: Path, store: LanceStore) -> None:
    """Make the index in the library `folder` hold the table's newest version; create it if it is missing.

    A table without digests (format 1) or without rows gets no index.
    """
    place, version = folder / FOLDER, store.version
    manifest = read_manifest(place)
    if manifest is not None and not intact(place, manifest, OPEN_BYTES):
        manifest = None
    if manifest is not None and manifest.version == version:
        return
    if DIGEST not in store.columns or not store.count():
        return
    if manifest is None:
        delete(place)
        place.mkdir()
    else:
        remove_unused(place)
    if manifest is None or not _extend(place, store, manifest, version):
        _write_all(place, store, 1 if manifest is None else manifest.number + 1, version)


def _write_all(place: Path, store: LanceStore, number: int, version: int) -> None:
    import pyarrow as pa

    dtype = _dtype(store.count())
    vectors = _Vectors(place / f"vectors-{number}", store.embed_dim, dtype)
    vectors.append(store.batches([*COLUMNS, DIGEST, "vector"], BATCH_ROWS))
    table = pa.concat_tables(vectors.metadata)
    scale = _scale(vectors.rows())
    manifest = MappedManifest(
        version=version, embed_dim=store.embed_dim, rows=0, slots=0, scale=scale, dtype=dtype, number=number,
        vectors=vectors.path.name, table="", files={},
    )  # fmt: skip
    _finish(place, manifest, vectors, table, np.arange(table.num_rows))


def _extend(place: Path, store: LanceStore, manifest: MappedManifest, version: int) -> bool:
    """Bring an index up to date; returns False if it is better written completely."""
    table = store.rows([*COLUMNS, DIGEST])
    wanted = table[DIGEST].to_numpy()
    stored = np.load(place / _digests_name(manifest))
    order = np.argsort(stored, kind="stable")
    at = np.minimum(np.searchsorted(stored, wanted, sorter=order), len(stored) - 1)
    slots = np.where(stored[order[at]] == wanted, order[at], -1)
    fresh = np.unique(wanted[slots < 0])
    kept = slots[slots >= 0]
    unique = len(np.unique(wanted)) == len(wanted)
    dead = manifest.slots - len(kept)
    resized = manifest.dtype != _dtype(table.num_rows)
    if not unique or resized or 3 * dead > manifest.slots or len(fresh) > len(kept):
        return False
    vectors = _Vectors(place / manifest.vectors, store.embed_dim, manifest.dtype, manifest.slots)
    vectors.append(_rows_with(store, fresh))
    added = np.concatenate([part[DIGEST].to_numpy() for part in vectors.metadata] or [np.empty(0, np.int64)])
    if not np.array_equal(np.sort(added), fresh):
        return False  # the table changed meanwhile, or holds damaged digests
    by_digest = np.argsort(added)
    slots[slots < 0] = manifest.slots + by_digest[np.searchsorted(added, wanted[slots < 0], sorter=by_digest)]
    manifest = manifest.model_copy(update={"version": version, "number": manifest.number + 1})
    _finish(place, manifest, vectors, table, slots, np.concatenate([stored, added]))
    return True


def _rows_with(store: LanceStore, digests: NDArray[np.int64]) -> Iterator[pa.Table]:
    for start in range(0, len(digests), QUERY_DIGESTS):
        names = ", ".join(map(str, digests[start : start + QUERY_DIGESTS].tolist()))
        yield store.rows([DIGEST, "vector"], Filter("", f"`{DIGEST}` IN ({names})", lambda columns: columns[DIGEST]))


def _finish(
    place: Path,
    manifest: MappedManifest,
    vectors: _Vectors,
    table: pa.Table,
    slots: Rows,
    digests: NDArray[np.int64] | None = None,
) -> None:
    """Write metadata, digests and, if needed, the lists, and make the index current."""
    number = manifest.number
    before = dict(manifest.files)
    changes: dict[str, Any] = {"rows": table.num_rows, "slots": vectors.slots, "table": f"rows-{number}.arrow"}
    files = {vectors.path.name: record(vectors.path, None, before.get(vectors.path.name))}
    with atomic_write(place / changes["table"]) as part:
        write_rows(part, table, slots)
    with atomic_write(place / f"digests-{number}.npy") as part, part.open("wb") as file:
        np.save(file, table[DIGEST].to_numpy() if digests is None else digests)
    if vectors.dtype == "float16":
        outside = vectors.slots - manifest.coded_slots
        if manifest.codes is None or outside > max(OUTSIDE, min(MOST_OUTSIDE, manifest.coded_slots // 8)):
            changes |= _write_lists(place, manifest, vectors.rows())
        else:
            files |= {name: before[name] for name in (manifest.codes, manifest.lists) if name is not None}
    for name in (changes["table"], f"digests-{number}.npy", changes.get("codes"), changes.get("lists")):
        if name is not None:
            files[name] = record(place / name)
    write_manifest(place, manifest.model_copy(update=changes | {"files": files}))


def _write_lists(place: Path, manifest: MappedManifest, vectors: NDArray[np.float16]) -> dict[str, Any]:
    """Write the lists and codes of all vectors, and return what changes in the manifest."""
    number, trained = manifest.number, manifest.trained_slots
    if manifest.lists is None or len(vectors) > TRAIN_AGAIN * trained:
        lists, trained = new_lists(vectors), len(vectors)
    else:
        lists = extended(read_lists(place / manifest.lists), vectors[manifest.coded_slots :])
    names = {"codes": f"codes-{number}.npy", "lists": f"lists-{number}.npz"}
    with atomic_write(place / names["lists"]) as part:
        order = lists.write(part, manifest.scale)
    with atomic_write(place / names["codes"]) as part:
        write_codes(part, vectors, order, manifest.scale)
    return names | {"coded_slots": len(vectors), "trained_slots": trained}


def _dtype(rows: int) -> Literal["float32", "float16"]:
    return "float32" if rows < LISTS_FROM_ROWS else "float16"


def _scale(vectors: FloatArray | NDArray[np.float16]) -> float:
    """Return the factor that makes the largest parts of vectors 127; one of 10,000 parts is cut off."""
    sample = np.abs(vectors[:: max(1, len(vectors) // BATCH_ROWS)].astype(np.float32))
    return float(127 / max(np.quantile(sample, 0.9999), 1e-6))


def _digests_name(manifest: MappedManifest) -> str:
    return next(name for name in manifest.files if name.startswith("digests-"))
