"""Sounds, and a store of random vectors with random metadata, for the tests of search and serving."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import soundfile

from aural.search.store import LanceStore, table_of
from aural.search.where import COLUMNS
from sketch import DIM

RATE_HZ = 8000


def write_sound(path: Path, seconds: float, seed: int, rate_hz: int = RATE_HZ) -> Path:
    """A tone with noise, another one for every seed."""
    draw = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = 0.3 * np.sin(2 * np.pi * draw.uniform(60, 3000) * t) + 0.02 * draw.standard_normal(t.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave.astype(np.float32), rate_hz)
    return path


def random_store(folder: Path, files: int, seed: int = 0) -> LanceStore:
    """A store of random unit vectors and random metadata: 1 to 4 windows a file."""
    draw = np.random.default_rng(seed)
    rows = []
    for i in range(files):
        count = int(draw.integers(1, 5))
        path = f"/sounds/{draw.choice(['Rain', 'reed', 'ambience'])}/{draw.choice(list('abB1'))}{i}.wav"
        shared = dict.fromkeys(COLUMNS, "") | {"file": f"{i:016x}", "path": path, "name": path.rsplit("/", 1)[1]}
        shared |= {"format": str(draw.choice(["wav", "ogg"])), "hash": f"{i:032x}", "modified": "2026-11-22T10:00:00Z"}
        shared |= {"duration": round(float(draw.uniform(0, 30)), 1), "sample_rate": 48000, "size": i, "mtime_ns": i}
        shared |= {"channels": int(draw.integers(1, 3)), "silent": bool(draw.random() < 0.1)}
        shared["tags"] = [tag for tag in ("rain", "wind") if draw.random() < 0.3]
        rows += [shared | {"window": w, "start": 10.0 * w, "end": 10.0 * w + 10} for w in range(count)]
    vectors = draw.standard_normal((len(rows), DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = LanceStore(folder, DIM, create=True)
    store.append(table_of(rows, vectors, DIM))
    return store


def random_filter(draw: random.Random, depth: int = 0) -> str:
    """A filter over the columns of the test library that often keeps some rows."""
    if depth < 3 and draw.random() < 0.5:
        joined = [random_filter(draw, depth + 1) for _ in range(draw.randrange(2, 4))]
        text = f" {draw.choice(['and', 'or'])} ".join(joined)
        return f"not ({text})" if draw.random() < 0.3 else f"({text})"
    number = round(draw.uniform(0, 30), 1)
    return draw.choice(
        [
            f"duration {draw.choice(['<', '<=', '>', '>=', '!='])} {number}",
            f"duration between {number} and {number + 10}",
            f"path {draw.choice(['like', 'not like', 'ilike'])} '%{draw.choice('0123456789eR')}%'",
            f"name like '{draw.choice(['a_%', '%_.wav', '1%', 'B%'])}'",
            f"window in ({draw.randrange(4)}, 2)",
            f"tags has '{draw.choice(['rain', 'wind', 'nothing'])}'",
            f"start {draw.choice(['<', '>='])} {draw.randrange(20)}",
            draw.choice(["silent", "not silent", "silent = true"]),
            f"format {draw.choice(['=', '!=', '<'])} 'wav'",
            "channels = 1",
            "modified > '2020-01-01'",
            "size > 0",
        ]
    )
