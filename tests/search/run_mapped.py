"""Append rows to a table and bring its mapped index up to date, again and again: `run_mapped.py FOLDER SEED`."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from aural.search import mapped_build
from aural.search.filters import FIRST_WINDOWS
from aural.search.lance import LanceStore, table_of
from aural.search.mapped_build import update
from sketch import DIM

if __name__ == "__main__":
    mapped_build.LISTS_FROM_ROWS = mapped_build.OUTSIDE = mapped_build.MOST_OUTSIDE = 20
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    store = LanceStore(folder, DIM)
    row = store.rows([name for name in store.columns if name != "vector"], FIRST_WINDOWS).slice(0, 1).to_pylist()[0]
    draw = np.random.default_rng(seed)
    update(folder, store)
    print("ready", flush=True)
    for turn in itertools.count():
        vectors = draw.standard_normal((8, DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        files = [f"{seed * 10**6 + turn * 10 + i + 10**9:016x}" for i in range(8)]
        store.append(table_of([row | {"file": file} for file in files], vectors, DIM))
        update(folder, store)
