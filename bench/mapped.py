"""Compare the mapped index with USearch and faiss on the same hard vectors: build time, latency, recall and memory.

    python bench/mapped.py --from-library LIBRARY --vectors real.npz     # vectors of sounds and of texts, one model
    python bench/mapped.py --vectors real.npz --rows 1000000

Hard vectors are made from real ones: a real vector, moved up to a third of the way to another one, plus noise with the
covariance of the real vectors. One in twenty is a near copy of another (a near tie). They are turned into 512 numbers
by a fixed random rotation, so their geometry is that of the model. Queries are further draws ("sounds") and the model's
vectors of real sentences ("texts"), which are far from all sounds. Recall@10 is relative to a float32 comparison with
every row. Every query is timed separately, one after the other, on one thread; the peers add rows on `--threads`.
"Busy" is the processor time of the query's thread, which other work on the machine hardly changes. The mapped index
returns complete hits with metadata; faiss and USearch return row numbers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
TOP, CHUNK, QUERIES_FILE = 10, 50_000, Path(__file__).parent / "queries" / "libre-mini.tsv"
DISTANCE = 0.3
"""Weight of the noise in units of the real vectors' covariance."""


def save_real(folder: Path, out: Path) -> None:
    """Write the vectors of a library's windows and of the sentences of `bench/queries` by the library's model."""
    import aural
    from aural.search.lance import vectors_of
    from aural.search.library import Library

    library = Library(folder)
    sounds = vectors_of(library.store.rows(["vector"]), library.card.embed_dim)
    lines = QUERIES_FILE.read_text(encoding="utf-8").splitlines()
    texts = aural.load(library.card.model).embed_text([line.split("\t")[0] for line in lines])
    np.savez(out, sounds=sounds.astype(np.float16), texts=texts.astype(np.float32), model=library.card.model)
    print(f"{len(sounds)} sounds and {len(texts)} texts of {library.card.model} in {out}")


class Drawer:
    """Draws hard vectors (count, dim) around real ones; the same seed gives the same vectors."""

    def __init__(self, sounds: Rows, dim: int) -> None:
        self.sounds = sounds
        values, axes = np.linalg.eigh(np.cov(sounds.T))
        self._noise = (DISTANCE * axes * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)
        turn = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, sounds.shape[1])))[0]
        self.turn = turn.T.astype(np.float32)

    def draw(self, count: int, seed: int) -> Rows:
        out = np.empty((count, self.turn.shape[1]), np.float32)
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda at: self._fill(out[at : at + CHUNK], [seed, at]), range(0, count, CHUNK)))
        return out

    def _fill(self, out: Rows, seed: list[int]) -> None:
        draw = np.random.default_rng(seed)
        first, second = self.sounds[draw.integers(0, len(self.sounds), (2, len(out)))]
        block = first + (draw.random((len(out), 1)) / 3).astype(np.float32) * (second - first)
        block += draw.standard_normal(block.shape, np.float32) @ self._noise
        ties = draw.integers(0, len(out), len(out) // 20)
        block[draw.choice(len(out), len(ties), replace=False)] = block[ties]
        block += 1e-3 / block.shape[1] ** 0.5 * draw.standard_normal(block.shape, np.float32)
        block = block @ self.turn
        out[:] = block / np.linalg.norm(block, axis=1, keepdims=True)


class MemoryTable:
    """Rows in memory with the methods of a table that writing a mapped index needs."""

    version = 1

    def __init__(self, vectors: Rows) -> None:
        from search import metadata

        self.vectors, self.embed_dim = vectors, vectors.shape[1]
        self._metadata = metadata
        self.columns = ["digest"]

    def count(self) -> int:
        return len(self.vectors)

    def batches(self, columns: list[str], rows: int) -> Iterator[Any]:
        import pyarrow as pa

        for at in range(0, len(self.vectors), rows):
            block = self.vectors[at : at + rows]
            values = self._metadata(at, len(block), 1) | {"digest": pa.array(np.arange(at, at + len(block)))}
            values["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), self.embed_dim)
            yield pa.table({name: values[name] for name in columns})

    def durations(self) -> NDArray[np.float64]:
        step = 20_000
        parts = (self._metadata(at, min(step, self.count() - at), 1) for at in range(0, self.count(), step))
        return np.concatenate([part["duration"].to_numpy() for part in parts])


def truth(vectors: Rows, queries: Rows, keep: NDArray[np.bool_] | None = None) -> tuple[NDArray[Any], Rows]:
    """Return the numbers (Q, TOP) of the nearest rows of each query, and the lowest score among them (Q,)."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    asked = torch.from_numpy(queries).to(device)
    best = torch.full((len(queries), TOP), -2.0, device=device)
    rows = torch.zeros((len(queries), TOP), dtype=torch.int64, device=device)
    for at in range(0, len(vectors), CHUNK):
        scores = asked @ torch.from_numpy(vectors[at : at + CHUNK]).to(device).T
        if keep is not None:
            scores[:, torch.from_numpy(~keep[at : at + CHUNK]).to(device)] = -2.0
        some, numbers = scores.topk(TOP, dim=1)
        best, order = torch.cat([best, some], 1).topk(TOP, dim=1)
        rows = torch.cat([rows, numbers + at], 1).gather(1, order)
    return rows.cpu().numpy(), best[:, -1].cpu().numpy()


class Bench:
    """Times searches of one set of vectors with its queries; the first `sounds` queries are sounds."""

    def __init__(self, vectors: Rows, queries: Rows, sounds: int) -> None:
        self.vectors, self.queries, self.sounds = vectors, queries, sounds
        self.want = truth(vectors, queries)

    def row(self, name: str, search: Callable[[Rows], Any], note: str = "", want: Any = None) -> None:
        """Print p50, p99, the recall of sounds and texts, and that of rows whose score ties within 1e-4."""
        rows, lowest = self.want if want is None else want
        for query in self.queries[::5]:
            search(query)
        times, processor, recall, ties = [], [], [], []
        for i, query in enumerate(self.queries):
            began, busy = time.perf_counter(), time.thread_time()
            answer = search(query)
            processor.append(1000 * (time.thread_time() - busy))
            times.append(1000 * (time.perf_counter() - began))
            numbers = np.asarray(answer if isinstance(answer, np.ndarray) else [int(hit.file, 16) for hit in answer])
            recall.append(len(set(numbers.tolist()) & set(rows[i].tolist())) / TOP)
            ties.append(np.count_nonzero(self.vectors[numbers] @ query >= lowest[i] - 1e-4) / TOP)
        p50, p99 = np.percentile(times, (50, 99))
        busy50, busy99 = np.percentile(processor, (50, 99))
        shares = (np.mean(recall[: self.sounds]), np.mean(recall[self.sounds :]), np.mean(ties))
        numbers_shown = [f"{number:.2f}" for number in (p50, p99, busy50, busy99)]
        numbers_shown += [f"{share:.4f}" for share in shares]
        print(f"| {name} | {' | '.join(numbers_shown)} | {os.getloadavg()[0]:.1f} | {note} |", flush=True)


def bench_mapped(bench: Bench, folder: Path) -> None:
    from aural.search.filters import parse_filter
    from aural.search.mapped import MappedSnapshot
    from aural.search.mapped_build import update
    from aural.search.mapped_files import FOLDER, read_manifest

    table = MemoryTable(bench.vectors)
    began = time.perf_counter()
    update(folder, table)  # type: ignore[arg-type]
    seconds = time.perf_counter() - began
    manifest = read_manifest(folder / FOLDER)
    assert manifest is not None
    began = time.perf_counter()
    index = MappedSnapshot(folder / FOLDER, manifest)
    opened = time.perf_counter() - began
    sizes = {name.partition("-")[0]: record.size / 1e6 for name, record in manifest.files.items()}
    note = f"built in {seconds:.0f} s, opened in {opened:.2f} s, MB: " + ", ".join(
        f"{name} {size:,.0f}" for name, size in sizes.items()
    )
    for lists in (16, 32, 64, 128):
        bench.row(f"aural, {lists} lists", lambda q, count=lists: index.search(q, TOP, lists=count), note)
        note = ""
    duration = table.durations()
    for limit in (5, 1, 0.5):
        where = parse_filter(f"duration < {limit}")
        keep = duration < limit
        want = truth(bench.vectors, bench.queries, keep)
        name = f"aural, where duration < {limit}"
        bench.row(name, lambda q, w=where: index.search(q, TOP, w), f"{100 * keep.mean():.1f}% of rows", want)
    print(f"resident memory: {resident_mb()}", flush=True)


def bench_usearch(bench: Bench, threads: int) -> None:
    """USearch as it is used by default, with 8-bit codes, and the same candidates compared by float16 vectors."""
    from usearch.index import Index

    index = Index(ndim=bench.vectors.shape[1], metric="cos", dtype="i8")
    began = time.perf_counter()
    index.add(np.arange(len(bench.vectors)), bench.vectors, threads=threads)
    note = f"built in {time.perf_counter() - began:.0f} s, {index.memory_usage / 1e6:,.0f} MB"
    halves = bench.vectors.astype(np.float16)

    def plain(query: Rows) -> NDArray[np.int64]:
        """Return the nearest rows by codes alone."""
        return index.search(query, TOP, threads=1).keys.astype(np.int64)

    for candidates in (64, 256, 512):
        index.expansion_search = candidates

        def compared(query: Rows, count: int = min(100, candidates)) -> NDArray[np.int64]:
            rows = index.search(query, count, threads=1).keys.astype(np.int64)
            return rows[np.argsort(-(halves[rows].astype(np.float32) @ query))[:TOP]]

        bench.row(f"usearch, {candidates}", plain, note)
        bench.row(f"usearch, {candidates}, compared again", compared)
        note = ""


def bench_faiss(bench: Bench, threads: int, *, lists_too: bool) -> None:
    """Time HNSW and, if requested, inverted lists with 4-bit product codes; both refined by float32 vectors."""
    import faiss

    vectors = bench.vectors
    dim, lists = vectors.shape[1], round(4 * len(vectors) ** 0.5)
    sample = vectors[: 40 * lists]
    flat = faiss.IndexFlatIP(dim)
    flat.add(vectors)
    hnsw = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, 16, faiss.METRIC_INNER_PRODUCT)
    hnsw.hnsw.efConstruction = 128
    pq = faiss.index_factory(dim, f"IVF{lists},PQ{dim // 4}x4fs", faiss.METRIC_INNER_PRODUCT)
    kinds = [("HNSW16,SQ8", hnsw, (64, 256, 512)), (f"IVF{lists},PQ fast scan", pq, (32, 128, 512))]
    for name, index, settings in kinds if lists_too else kinds[:1]:
        faiss.omp_set_num_threads(threads)
        began = time.perf_counter()
        index.train(sample)
        index.add(vectors)
        note = f"built in {time.perf_counter() - began:.0f} s"
        faiss.omp_set_num_threads(1)
        refined = faiss.IndexRefine(index, flat)
        refined.k_factor = 10 if index is hnsw else 30
        for setting in settings:
            if index is hnsw:
                hnsw.hnsw.efSearch = setting
            else:
                pq.nprobe = setting
            bench.row(f"faiss {name}, {setting}, refined", lambda q, r=refined: r.search(q[None], TOP)[1][0], note)
            note = ""
        faiss.omp_set_num_threads(threads)


def resident_mb() -> str:
    """Return the memory of this process: its own, and that of mapped files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return ", ".join(
        f"{name} {int(lines[name].split()[0]) / 1024:,.0f} MiB" for name in ("RssAnon", "RssFile") if name in lines
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from-library", type=Path, help="write --vectors from this library, and end")
    parser.add_argument("--vectors", type=Path, required=True, help="an .npz file with sounds (R, E) and texts (T, E)")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--sounds", type=int, default=300, help="number of queries by sound")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peers", default="usearch,faiss", help="comma-separated: usearch, faiss, faiss-hnsw; or none")
    parser.add_argument("--out", type=Path, default=Path("out/bench-mapped"))
    chosen = parser.parse_args()
    if chosen.from_library:
        save_real(chosen.from_library, chosen.vectors)
        return
    real = np.load(chosen.vectors)
    drawer = Drawer(real["sounds"].astype(np.float32), chosen.dim)
    vectors = drawer.draw(chosen.rows, 1)
    queries = np.concatenate([drawer.draw(chosen.sounds, 2), real["texts"] @ drawer.turn])
    bench = Bench(vectors, queries, chosen.sounds)
    first, tenth = (vectors[bench.want[0][i]] @ queries[i] for i in (0, chosen.sounds)), bench.want[1]
    tops = ", ".join(f"{scores.max():.3f}" for scores in first)
    print(f"{chosen.rows:,} rows of {chosen.dim} from {len(real['sounds'])} real vectors of {real['model']}")
    print(f"{chosen.sounds} queries by sound, {len(real['texts'])} by text; best score of the first of each: {tops};")
    print(f"mean tenth score {tenth[: chosen.sounds].mean():.3f} and {tenth[chosen.sounds :].mean():.3f}")
    print(f"{os.cpu_count()} cores; {chosen.threads} threads for building, each query runs on one")
    print("| index | p50, ms | p99, ms | p50 busy | p99 busy | sounds | texts | ties count | load | |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|")
    shutil.rmtree(chosen.out, ignore_errors=True)
    chosen.out.mkdir(parents=True)
    bench_mapped(bench, chosen.out)
    for peer in chosen.peers.split(","):
        if peer == "usearch":
            bench_usearch(bench, chosen.threads)
        elif peer.startswith("faiss"):
            bench_faiss(bench, chosen.threads, lists_too=peer == "faiss")


if __name__ == "__main__":
    main()
