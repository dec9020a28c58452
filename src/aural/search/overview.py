"""A map of a library: every file a point in the plane, alike sounds side by side.

Up to `LANDMARKS` files are laid out by t-SNE on their vectors (scikit-learn, started from the principal axes, so that
equal libraries get equal maps); every further file lies at the mean of its nearest landmarks. Without scikit-learn the
two principal axes alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import numpy as np

from aural.core.errors import ConfigError, DataError
from aural.core.types import FloatArray
from aural.search.library import Library, any_window_zero, file_vectors

LANDMARKS: Final = 4000
NEIGHBOURS: Final = 5
FILE: Final = "map.parquet"


@dataclass(frozen=True, slots=True)
class Map:
    """Files with their places: `xy` (F, 2) in -1 to 1, and their tags."""

    files: list[str]
    paths: list[str]
    tags: list[list[str]]
    xy: FloatArray
    method: str


def overview(library: Library, *, anew: bool = False) -> Map:
    """The library's map; it is kept in the library's folder and drawn anew when files came or went."""
    import pyarrow as pa
    from pyarrow import parquet

    names = library.store.rows(["file", "path", "tags"], any_window_zero()).sort_by("file").to_pydict()
    if not names["file"]:
        raise DataError(f"{library.folder}: holds no sounds yet; add some first")
    signature = hashlib.blake2b("".join(names["file"]).encode(), digest_size=8).hexdigest()
    kept = library.folder / FILE
    if kept.is_file() and not anew:
        table = parquet.read_table(kept)
        found = table.schema.metadata or {}
        if found.get(b"signature") == signature.encode():
            xy = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1).astype(np.float32)
            return Map(names["file"], names["path"], names["tags"], xy, found[b"method"].decode())
    files, vectors = file_vectors(library.store.rows(["file", "window", "end", "vector"]), library.card.embed_dim)
    if files != names["file"]:
        raise DataError(f"{library.folder}: files came or went while the map was drawn; draw it again")
    xy, method = lay_out(vectors)
    table = pa.table({"file": files, "x": xy[:, 0], "y": xy[:, 1]})
    part = kept.with_name(FILE + ".part")
    parquet.write_table(table.replace_schema_metadata({"signature": signature, "method": method}), part)
    part.replace(kept)
    return Map(files, names["path"], names["tags"], xy, method)


def lay_out(vectors: FloatArray) -> tuple[FloatArray, str]:
    """(F, E) unit vectors to places (F, 2) in -1 to 1, and the name of the method."""
    count = len(vectors)
    chosen = np.sort(np.random.default_rng(0).permutation(count)[:LANDMARKS])
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        TSNE = None
    if TSNE is None or count < 10:
        return _fit(_axes(vectors)), "principal axes"
    start = _axes(vectors[chosen])
    start = (1e-4 * start / max(float(start[:, 0].std()), 1e-12)).astype(np.float32)
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    placed = TSNE(2, perplexity=perplexity, init=start, random_state=0, n_jobs=1).fit_transform(vectors[chosen])
    xy = np.empty((count, 2), np.float32)
    xy[chosen] = placed
    rest = np.setdiff1d(np.arange(count), chosen)
    for at in range(0, len(rest), 1024):
        block = rest[at : at + 1024]
        cosines = vectors[block] @ vectors[chosen].T
        near = np.argpartition(-cosines, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        weights = np.maximum(np.take_along_axis(cosines, near, axis=1), 1e-3) ** 8
        xy[block] = (placed[near] * weights[..., None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    return _fit(xy), "t-SNE"


def _axes(vectors: FloatArray) -> FloatArray:
    """(F, 2) the first two principal axes; signs fixed by the largest loading."""
    centered = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    axes = axes[:, [-1, -2]]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return np.asarray(centered @ axes, np.float32)


def _fit(xy: FloatArray) -> FloatArray:
    low, high = xy.min(axis=0), xy.max(axis=0)
    return np.asarray(2 * (xy - low) / np.maximum(high - low, 1e-9) - 1, np.float32)


def write_map(found: Map, out: Path) -> None:
    """Write as .csv (file, path, x, y, tags), .parquet or .svg (a dot a file, its path as its title)."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    suffix = out.suffix.lower()
    if suffix not in (".csv", ".parquet", ".svg"):
        raise ConfigError(f"{out}: a map is written as .csv, .parquet or .svg")
    if suffix == ".svg":
        dots = (
            f'<circle cx="{500 + 480 * x:.1f}" cy="{500 - 480 * y:.1f}" r="3"><title>{escape(path)}</title></circle>'
            for path, (x, y) in zip(found.paths, found.xy.tolist(), strict=True)
        )
        head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 1000" fill="#2563eb" fill-opacity="0.5">'
        out.write_text("\n".join([head, *dots, "</svg>\n"]), encoding="utf-8")
        return
    columns = {"file": found.files, "path": found.paths, "x": found.xy[:, 0], "y": found.xy[:, 1]}
    if suffix == ".csv":
        csv.write_csv(pa.table(columns | {"tags": [", ".join(row) for row in found.tags]}), out)
    else:
        parquet.write_table(pa.table(columns | {"tags": pa.array(found.tags, pa.list_(pa.string()))}), out)
