"""Create sounds, libraries, and tables of random vectors with random metadata, for the tests of search and serving."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import soundfile

from aural.search.filters import COLUMNS
from aural.search.lance import LanceStore, table_of
from aural.search.library import Library
from sketch import DIM, SketchEmbedder

RATE_HZ = 8000


def write_sound(path: Path, seconds: float, seed: int, rate_hz: int = RATE_HZ) -> Path:
    """Write a tone with noise that depends on the seed."""
    draw = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = 0.3 * np.sin(2 * np.pi * draw.uniform(60, 3000) * t) + 0.02 * draw.standard_normal(t.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave.astype(np.float32), rate_hz)
    return path


def build_library(folder: Path, seconds: list[float], silent: str) -> Library:
    """Return a library of one sound per duration in two folders and a silent one; windows of 5 s."""
    for i, duration_s in enumerate(seconds):
        write_sound(folder / "sounds" / ("ambience" if i % 2 else "Effects") / f"{i:02}.wav", duration_s, i)
    soundfile.write(folder / "sounds" / silent, np.zeros(4000, np.float32), RATE_HZ)
    return add_all(folder)


def add_all(folder: Path) -> Library:
    """Return the library `folder`/library with all files below `folder`/sounds."""
    embedder = SketchEmbedder()
    library = Library.create(folder / "library", embedder, model="sketch", window_s=5.0)
    list(library.add(sorted((folder / "sounds").rglob("*.*")), embedder, roots=[folder / "sounds"]))
    return library


def named_library(folder: Path) -> Library:
    """Return a library of four steady tones of 1 s, each 10 dB louder than the one before, and a short click.

    Three files have UCS names, and one has tags.
    """
    from aural.audio.metadata import write_tags

    (folder / "sounds").mkdir()
    names = ("RAINMetl_Tin_ABC_Lib", "RAINGlas_Window_ABC_Lib", "DOORWood_Creak_XY_Lib", "plain")
    for i, name in enumerate(names):
        wave = 10 ** (-2 + i / 2) * np.sin(2 * np.pi * 500 * (i + 1) * np.arange(RATE_HZ) / RATE_HZ)
        soundfile.write(folder / "sounds" / f"{name}.wav", wave, RATE_HZ)
    click = np.exp(-np.arange(1600) / 100) * np.sin(np.arange(1600))
    soundfile.write(folder / "sounds" / "click.flac", click, RATE_HZ)
    write_tags(folder / "sounds" / "plain.wav", {"genre": "field", "artist": "me"})
    return add_all(folder)


def random_store(folder: Path, files: int, seed: int = 0) -> LanceStore:
    """Return a table of random unit vectors and random metadata: 1 to 4 windows per file."""
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
    """Return a filter over the columns of the random table that often keeps some rows."""
    if depth < 3 and draw.random() < 0.5:
        word = draw.choice([" and ", " or "])
        text = word.join(random_filter(draw, depth + 1) for _ in range(draw.randrange(2, 4)))
        return draw.choice(["", "", "not "]) + f"({text})"
    number = round(draw.uniform(0, 30), 1)
    terms = [
        f"duration {draw.choice(['<', '<=', '>', '>=', '!='])} {number}",
        f"duration between {number} and {number + 10}",
        f"path {draw.choice(['like', 'not like', 'ilike'])} '%{draw.choice('0123456789eR')}%'",
        f"name like '{draw.choice(['a_%', '%_.wav', '1%', 'B%'])}'",
        f"window in ({draw.randrange(4)}, 2)",
        random_comparison(draw),
        f"tags has '{draw.choice(['rain', 'wind', 'nothing'])}'",
        f"start {draw.choice(['<', '>='])} {draw.randrange(20)}",
        draw.choice(["silent", "not silent", "silent = true"]),
        f"format {draw.choice(['=', '!=', '<'])} 'wav'",
        "channels = 1",
        "modified > '2020-01-01'",
        "size > 0",
    ]
    return draw.choice(terms)


def random_comparison(draw: random.Random) -> str:
    """Return a comparison of a number column with a number of any size or fraction."""
    exponent = draw.randrange(-3, 19)
    number = draw.choice([draw.randrange(3), draw.randrange(6) / 2, 10**exponent, draw.uniform(-1, 1) * 10**exponent])
    column = draw.choice(["window", "sample_rate", "channels", "size", "duration", "end"])
    sign = draw.choice(["=", "!=", "<", "<=", ">", ">="])
    return draw.choice(
        [f"{column} {sign} {number!r}", f"{column} in (1, {number!r})", f"{column} not between {number!r} and 48000.5"]
    )
