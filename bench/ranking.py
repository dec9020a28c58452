"""Evaluate the ranking of a library on bench/queries: by sound, by words, and by both.

The clips of libre-mini are the library. A clip is relevant to a query if its class is one of those listed with the
query. Half of the queries, chosen by a hash, was used to choose the weights of the fusion; the other half is held out.

    python bench/ranking.py LIBRE_MINI [--model M] [--tune]
"""

from __future__ import annotations

import argparse
import itertools
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import aural
from aural.core.names import DEFAULT_MODEL
from aural.core.types import FloatArray
from aural.data.manifest import read_manifest
from aural.search.fuse import DEFAULT, FuseConfig, fused
from aural.search.index import best_per_file
from aural.search.library import Library

QUERIES = Path(__file__).parent / "queries" / "libre-mini.tsv"
TOP = 10


def ndcg(relevant: list[bool], count: int) -> float:
    """Return nDCG at 10 with gains of 0 and 1; count: number of relevant files."""
    discounts = 1 / np.log2(np.arange(2, TOP + 2))
    best = discounts[: min(count, TOP)].sum()
    return float((discounts[: len(relevant)] * relevant).sum() / best)


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    rng = np.random.default_rng(0)
    draws = values[rng.integers(len(values), size=(10_000, len(values)))].mean(axis=1)
    return float(values.mean()), *np.quantile(draws, [0.025, 0.975])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--library", type=Path, default=Path("out/ranking"))
    parser.add_argument("--tune", action="store_true", help="print the first half for a grid of weights")
    options = parser.parse_args()
    model = aural.load(options.model)
    library = Library.create(options.library, model, model=options.model)
    for _ in library.add([options.corpus], model):
        pass
    class_of = {str((options.corpus / row.path).resolve()): row.class_name for row in read_manifest(options.corpus)}
    rows = [line.split("\t") for line in QUERIES.read_text(encoding="utf-8").splitlines()]
    texts, wanted = [row[0] for row in rows], [set(row[1].split(";")) for row in rows]
    counts = [sum(name in classes for name in class_of.values()) for classes in wanted]
    held_out = np.array([zlib.crc32(text.encode()) % 2 == 1 for text in texts])
    index, words, plain = library.store.exact(), library.words, model.embed_text(texts)

    def score(paths: list[str], n: int) -> float:
        return ndcg([class_of[path] in wanted[n] for path in paths], counts[n])

    def by_sound(vectors: FloatArray) -> NDArray[np.float64]:
        values = []
        for n, vector in enumerate(vectors):
            hits = best_per_file(partial(index.search, vector), TOP)
            values.append(score([hit.path for hit in hits], n))
        return np.array(values)

    def by_both(config: FuseConfig) -> NDArray[np.float64]:
        values = []
        for n, vector in enumerate(plain):
            hits = fused(index.search, vector, partial(words.search, [texts[n]]), TOP, config=config)
            values.append(score([hit.path for hit in hits], n))
        return np.array(values)

    path_of = {hit.file: hit.path for hit in index.search(plain[0], 1_000_000)}
    sound, prompted = by_sound(plain), by_sound(model.embed_text([f"the sound of {text}" for text in texts]))
    names = np.array([score([path_of[file] for file in words.search([text], TOP)], n) for n, text in enumerate(texts)])
    if options.tune:
        for weight, half in itertools.product((0.1, 0.2, 0.3, 0.5, 0.8), (1.0, 2.0, 4.0, 8.0)):
            mean = by_both(FuseConfig(weight, half))[~held_out].mean()
            print(f"weight {weight} half {half}: {mean:.4f}")
    both = by_both(DEFAULT)
    for title, which in (("first half, used for the weights", ~held_out), ("second half, held out", held_out)):
        print(f"{title}: {which.sum()} queries, nDCG@10 [95%]")
        rows_of_table = {"sound": sound, "sound, with a prompt": prompted, "words": names, "both": both}
        rows_of_table |= {"both - sound": both - sound, "both - words": both - names}
        for label, values in rows_of_table.items():
            print("  {:<22} {:+.3f} [{:+.3f}, {:+.3f}]".format(label, *interval(values[which])))


if __name__ == "__main__":
    main()
