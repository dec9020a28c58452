"""Measure index size, build time, latency and recall of the table on synthetic vectors, compared with faiss.

    python bench/search.py --rows 1000000 --dim 512 --queries 500

Vectors are unit rows drawn around cluster centers that are drawn around fewer centers, because embeddings of real
sounds form clusters; queries are further draws. Recall@10 is relative to an exact search (numpy). Every query is timed
separately, one after the other; faiss runs on as many threads as the table (`--threads`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP = 10
CHUNK = 50_000
Rows = NDArray[np.float32]


def draw_vectors(rows: int, dim: int, seed: int, centers_seed: int = 0) -> Rows:
    """Return unit rows (rows, dim) around 5,000 fine centers, which are drawn around 100 coarse ones."""
    fixed = np.random.default_rng(centers_seed)
    coarse = fixed.standard_normal((100, dim)).astype(np.float32)
    fine = coarse[fixed.integers(0, 100, 5000)] + 0.8 * fixed.standard_normal((5000, dim)).astype(np.float32)
    draw = np.random.default_rng(seed)
    out = np.empty((rows, dim), np.float32)
    for at in range(0, rows, CHUNK):
        count = min(CHUNK, rows - at)
        block = fine[draw.integers(0, 5000, count)] + 0.7 * draw.standard_normal((count, dim), np.float32)
        out[at : at + count] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return out


def metadata(first: int, count: int, seed: int) -> dict[str, Any]:
    """Return the columns of `count` rows, one file per row."""
    import pyarrow as pa

    draw = np.random.default_rng([seed, first])
    ids = range(first, first + count)
    duration = np.round(draw.gamma(1.5, 6.0, count), 2)
    places = [f"/sounds/{('ambience', 'foley', 'music', 'voice')[k]}" for k in draw.integers(0, 4, count)]
    return {
        "path": pa.array([f"{place}/{i:07}.wav" for place, i in zip(places, ids, strict=True)]),
        "name": pa.array([f"{i:07}.wav" for i in ids]),
        "format": pa.array(["wav"] * count),
        "file": pa.array([f"{i:016x}" for i in ids]),
        "hash": pa.array([f"{i:032x}" for i in ids]),
        "modified": pa.array(["2026-11-22T12:00:00Z"] * count),
        "window": pa.array(np.zeros(count, np.int32)),
        "start": pa.array(np.zeros(count)),
        "end": pa.array(duration),
        "duration": pa.array(duration),
        "sample_rate": pa.array(np.full(count, 48000, np.int32)),
        "channels": pa.array(draw.integers(1, 3, count).astype(np.int32)),
        "size": pa.array(draw.integers(10_000, 10_000_000, count)),
        "silent": pa.array(np.zeros(count, bool)),
        "tags": pa.array([["rain"] if r < 0.05 else [] for r in draw.random(count)], pa.list_(pa.string())),
        "mtime_ns": pa.array(np.arange(first, first + count)),
    }


def fill(store: Any, vectors: Rows) -> float:
    """Append all rows in chunks; seconds."""
    import pyarrow as pa

    from aural.search.lance import schema

    names, began = schema(vectors.shape[1]), time.perf_counter()
    for at in range(0, len(vectors), CHUNK):
        block = vectors[at : at + CHUNK]
        columns = metadata(at, len(block), 1)
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), vectors.shape[1])
        store.append(pa.table([columns[name] for name in names.names], schema=names))
    return time.perf_counter() - began


def truth(vectors: Rows, queries: Rows, keep: NDArray[np.bool_] | None = None) -> list[set[int]]:
    """The TOP nearest rows of each query."""
    neighbors = []
    for at in range(0, len(queries), 25):
        scores = queries[at : at + 25] @ vectors.T
        if keep is not None:
            scores[:, ~keep] = -2
        best = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
        neighbors += [set(map(int, row)) for row in best]
    return neighbors


def measure(search: Callable[[Rows], list[int]], queries: Rows, want: list[set[int]]) -> tuple[float, float, float]:
    """p50 and p99 in milliseconds, recall@10; ten queries go first unmeasured."""
    for query in queries[:10]:
        search(query)
    times, hits = [], 0
    for query, rows in zip(queries, want, strict=True):
        began = time.perf_counter()
        hits_of_query = search(query)
        times.append(1000 * (time.perf_counter() - began))
        hits += len(rows & set(hits_of_query))
    return float(np.percentile(times, 50)), float(np.percentile(times, 99)), hits / (TOP * len(want))


def folder_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def row(name: str, build_s: float | None, size_mb: float | None, measured: tuple[float, float, float]) -> None:
    build = "" if build_s is None else f"{build_s:,.0f}"
    size = "" if size_mb is None else f"{size_mb:,.0f}"
    print(f"| {name} | {build} | {size} | {measured[0]:.1f} | {measured[1]:.1f} | {measured[2]:.3f} |", flush=True)


def bench_store(folder: Path, vectors: Rows, queries: Rows, want: list[set[int]], kinds: list[str], keep: bool) -> None:
    from aural.search.filters import parse_filter
    from aural.search.lance import LanceStore

    store = LanceStore(folder, vectors.shape[1], create=True)
    if not keep:
        seconds = fill(store, vectors)
        rate = len(vectors) / seconds
        print(f"filled in {seconds:.1f} s ({rate:,.0f} rows/s), {folder_mb(folder):,.0f} MB on disk", flush=True)
    print("| what | build, s | index, MB | p50, ms | p99, ms | recall@10 |\n|---|--:|--:|--:|--:|--:|")

    def asked(**options: Any) -> Callable[[Rows], list[int]]:
        return lambda query: [int(hit.file, 16) for hit in store.search(query, TOP, **options)]

    few = max(20, len(queries) // 10)
    row("aural, every row", None, None, measure(asked(exact=True), queries[:few], want[:few]))
    for kind in kinds:
        began = time.perf_counter()
        if kind == "default" and not keep:
            store.optimize(build_from=0)
        elif not keep:
            store.build_index(kind)
        seconds = None if keep else time.perf_counter() - began
        indexes = (folder / "sounds.lance" / "_indices").iterdir()
        size = max(map(folder_mb, indexes))  # the vectors'; those of filters are small
        row(f"aural, {kind} ({store.stats()['index']}), as set", seconds, size, measure(asked(), queries, want))
        for nprobes, refine in ((20, 10), (40, 10), (20, 30)):
            name = f"aural, {kind}, {nprobes} lists, {refine} times"
            row(name, None, None, measure(asked(nprobes=nprobes, refine=refine), queries, want))
    duration = np.concatenate(
        [metadata(at, min(CHUNK, len(vectors) - at), 1)["duration"].to_numpy() for at in range(0, len(vectors), CHUNK)]
    )
    for limit in (5, 0.5):
        keep = duration < limit
        kept = truth(vectors, queries[:few], keep)
        name = f"aural, as set, where duration < {limit} ({100 * keep.mean():.1f}% of rows)"
        row(name, None, None, measure(asked(where=parse_filter(f"duration < {limit}")), queries[:few], kept))


def bench_faiss(vectors: Rows, queries: Rows, want: list[set[int]], threads: int, hnsw_too: bool) -> None:
    import faiss

    faiss.omp_set_num_threads(threads)
    dim, lists = vectors.shape[1], round(np.sqrt(len(vectors)))

    def asked(index: Any) -> Callable[[Rows], list[int]]:
        return lambda query: [int(i) for i in index.search(query[None], TOP)[1][0]]

    def size_mb(index: Any) -> float:
        return len(faiss.serialize_index(index)) / 1e6

    few = max(20, len(queries) // 10)
    flat = faiss.IndexFlatIP(dim)
    flat.add(vectors)
    row("faiss, every row", None, None, measure(asked(flat), queries[:few], want[:few]))
    began = time.perf_counter()
    quantizer = faiss.IndexFlatIP(dim)
    pq = faiss.IndexIVFPQ(quantizer, dim, lists, dim // 8, 8, faiss.METRIC_INNER_PRODUCT)
    pq.train(vectors[: min(len(vectors), 40 * lists)])
    pq.add(vectors)
    refined = faiss.IndexRefine(pq, flat)
    seconds = time.perf_counter() - began
    for nprobe, factor in ((20, 10), (40, 10), (80, 30)):
        pq.nprobe, refined.k_factor = nprobe, factor
        measured = measure(asked(refined), queries, want)
        row(f"faiss, IVF{lists},PQ{dim // 8} refined, {nprobe} lists, {factor} times", seconds, size_mb(pq), measured)
    if not hnsw_too:
        return
    began = time.perf_counter()
    hnsw = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    hnsw.hnsw.efConstruction = 100
    hnsw.add(vectors)
    seconds = time.perf_counter() - began
    for ef in (64, 256):
        hnsw.hnsw.efSearch = ef
        row(f"faiss, HNSW32, ef {ef}", seconds, size_mb(hnsw), measure(asked(hnsw), queries, want))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--kinds", default="default", help="comma-separated: default, IVF_RQ, IVF_PQ, IVF_SQ, IVF_HNSW_SQ"
    )
    parser.add_argument("--keep", action="store_true", help="ask the table of the last run, which must be of this size")
    parser.add_argument("--no-faiss", action="store_true")
    parser.add_argument("--no-hnsw", action="store_true", help="leave out faiss' slowest build")
    parser.add_argument("--out", type=Path, default=Path("out/bench-search"))
    chosen = parser.parse_args()
    if not chosen.keep:
        shutil.rmtree(chosen.out, ignore_errors=True)
    vectors = draw_vectors(chosen.rows, chosen.dim, seed=1)
    queries = draw_vectors(chosen.queries, chosen.dim, seed=2)
    want = truth(vectors, queries)
    load = os.getloadavg()[0]
    print(f"{chosen.rows:,} rows of {chosen.dim}, {chosen.queries} queries, {os.cpu_count()} cores, load {load:.1f}")
    bench_store(chosen.out, vectors, queries, want, chosen.kinds.split(","), chosen.keep)
    if not chosen.no_faiss:
        bench_faiss(vectors, queries, want, chosen.threads, not chosen.no_hnsw)
    print(f"load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
