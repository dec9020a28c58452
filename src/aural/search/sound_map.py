"""Lay the files of a library out in the plane so that similar sounds are close to each other.

Up to `LANDMARKS` files are placed by t-SNE on their vectors (scikit-learn, started from the principal axes, so that
equal libraries get equal maps). Every further file is placed at the weighted mean of its nearest landmarks. Without
scikit-learn, the two principal axes are used.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import numpy as np

from aural.core.errors import ConfigError, DataError
from aural.core.files import atomic_write
from aural.core.types import FloatArray
from aural.search.filters import FIRST_WINDOWS
from aural.search.library import Library

LANDMARKS: Final = 4000
NEIGHBORS: Final = 5
FILE: Final = "map.parquet"


@dataclass(frozen=True, slots=True)
class SoundMap:
    """The files of a library with their positions: `xy` (F, 2) in -1 to 1, and their tags."""

    files: list[str]
    paths: list[str]
    tags: list[list[str]]
    xy: FloatArray
    method: str


def sound_map(library: Library, *, redraw: bool = False) -> SoundMap:
    """Return the map of a library.

    The map is stored in the library's folder and computed again when files were added or removed, or with `redraw`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names = library.store.rows(["file", "path", "tags"], FIRST_WINDOWS).sort_by("file").to_pydict()
    if not names["file"]:
        raise DataError(f"{library.folder}: contains no sounds yet; add some first")
    signature = hashlib.blake2b("".join(names["file"]).encode(), digest_size=8).hexdigest()
    stored = library.folder / FILE
    if stored.is_file() and not redraw and is_readable(stored):
        table = parquet.read_table(stored)
        metadata = table.schema.metadata or {}
        if metadata.get(b"signature") == signature.encode():
            xy = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1).astype(np.float32)
            return SoundMap(names["file"], names["path"], names["tags"], xy, metadata[b"method"].decode())
    files, vectors = library.all_file_vectors()
    if files != names["file"]:
        raise DataError(f"{library.folder}: files changed while the map was computed; try again")
    xy, method = lay_out(vectors)
    table = pa.table({"file": files, "x": xy[:, 0], "y": xy[:, 1]})
    with atomic_write(stored) as part:
        parquet.write_table(table.replace_schema_metadata({"signature": signature, "method": method}), part)
    return SoundMap(files, names["path"], names["tags"], xy, method)


def is_readable(stored: Path) -> bool:
    """Return whether a stored map is missing, which is no error, or a table with the columns of a map."""
    from pyarrow import parquet

    if not os.path.lexists(stored):
        return True
    try:
        table = parquet.read_table(stored, columns=["file", "x", "y"])
        table.validate(full=True)
    except (OSError, ValueError):  # the errors of pyarrow are ValueErrors
        return False
    return set(table.schema.metadata or {}) >= {b"signature", b"method"}


def lay_out(vectors: FloatArray) -> tuple[FloatArray, str]:
    """Return positions (F, 2) in -1 to 1 for unit vectors (F, E), and the name of the method."""
    count = len(vectors)
    landmarks = np.sort(np.random.default_rng(0).permutation(count)[:LANDMARKS])
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        TSNE = None
    if TSNE is None or count < 10:
        return _scale(_principal_axes(vectors)), "principal axes"
    start = _principal_axes(vectors[landmarks])
    start = (1e-4 * start / max(float(start[:, 0].std()), 1e-12)).astype(np.float32)
    perplexity = min(30.0, (len(landmarks) - 1) / 3)
    placed = TSNE(2, perplexity=perplexity, init=start, random_state=0, n_jobs=1).fit_transform(vectors[landmarks])
    xy = np.empty((count, 2), np.float32)
    xy[landmarks] = placed
    rest = np.setdiff1d(np.arange(count), landmarks)
    for first in range(0, len(rest), 1024):
        block = rest[first : first + 1024]
        cosines = vectors[block] @ vectors[landmarks].T
        near = np.argpartition(-cosines, NEIGHBORS, axis=1)[:, :NEIGHBORS]
        weights = np.maximum(np.take_along_axis(cosines, near, axis=1), 1e-3) ** 8
        xy[block] = (placed[near] * weights[..., None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    return _scale(xy), "t-SNE"


def _principal_axes(vectors: FloatArray) -> FloatArray:
    """Return the first two principal components (F, 2); the largest loading of each is positive."""
    centered = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    axes = axes[:, [-1, -2]]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return np.asarray(centered @ axes, np.float32)


def _scale(xy: FloatArray) -> FloatArray:
    """Scale each axis to -1 to 1."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    return np.asarray(2 * (xy - low) / np.maximum(high - low, 1e-9) - 1, np.float32)


def write_map(drawn: SoundMap, out: Path) -> None:
    """Write a map as .csv, .parquet (file, path, x, y, tags) or .svg (one dot per file, its path as the title)."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    suffix = out.suffix.lower()
    if suffix not in (".csv", ".parquet", ".svg"):
        raise ConfigError(f"{out}: a map is written as .csv, .parquet or .svg")
    columns = {"file": drawn.files, "path": drawn.paths, "x": drawn.xy[:, 0], "y": drawn.xy[:, 1]}
    with atomic_write(out, ConfigError) as part:
        if suffix == ".svg":
            part.write_text(_svg(drawn), encoding="utf-8")
        elif suffix == ".csv":
            csv.write_csv(pa.table(columns | {"tags": [", ".join(row) for row in drawn.tags]}), part)
        else:
            parquet.write_table(pa.table(columns | {"tags": pa.array(drawn.tags, pa.list_(pa.string()))}), part)


def _svg(drawn: SoundMap) -> str:
    dots = (
        f'<circle cx="{500 + 480 * x:.1f}" cy="{500 - 480 * y:.1f}" r="3"><title>{escape(path)}</title></circle>'
        for path, (x, y) in zip(drawn.paths, drawn.xy.tolist(), strict=True)
    )
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 1000" fill="#2563eb" fill-opacity="0.5">'
    return "\n".join([head, *dots, "</svg>\n"])
