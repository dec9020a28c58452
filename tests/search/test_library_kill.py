"""kill -9 at random moments of add, update, compaction: nothing lost, nothing doubled, the next command just works.

Every library has an approximate index of the default kind, RaBitQ with one bit a dimension.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from run_library import WideEmbedder

from aural.search.check import check
from aural.search.filters import one_of
from aural.search.library import Library
from library_toys import write_sound

SCRIPT = Path(__file__).with_name("run_library.py")


def run_and_kill(what: str, folder: Path, sounds: Path, after_s: float | None) -> tuple[list[str], bool]:
    """The lines that the command told before it was killed `after_s` seconds past its start; whether it was killed."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), what, str(folder), str(sounds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        killed = False
        if after_s is not None:
            time.sleep(after_s)
            killed = process.poll() is None
            process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=120)
        assert killed or process.returncode in (0, -signal.SIGKILL), err
    return out.splitlines(), "end" not in out.splitlines()


def make_sounds(folder: Path, count: int, draw: random.Random) -> None:
    for i in range(count):
        write_sound(folder / f"{i:03}.wav", draw.choice([0.3, 0.6, 1.5, 3.2]), i)


def change_sounds(folder: Path, draw: random.Random) -> None:
    """Change, delete, move and add some."""
    files = sorted(folder.glob("*.wav"))
    for path in draw.sample(files, 10):
        what = draw.choice(["change", "change", "delete", "move", "new"])
        if what == "change":
            write_sound(path, draw.choice([0.4, 1.1, 2.6, 4.0]), draw.randrange(10**6))
        elif what == "delete":
            path.unlink()
        elif what == "move":
            path.rename(path.with_name(f"m{draw.randrange(10**6)}.wav"))
        else:
            write_sound(folder / f"n{draw.randrange(10**6)}.wav", 0.7, draw.randrange(10**6))


def whole(folder: Path) -> Library:
    """The library in `folder`, which must be whole: no half file, none doubled."""
    library = Library(folder)
    assert check(library).problems == []
    return library


def as_on_disk(library: Library, sounds: Path) -> None:
    """The library holds the files on disk, each with the vectors that a fresh library would hold."""
    assert sorted(library.files()) == sorted(map(str, sounds.glob("*.wav")))
    embedder = WideEmbedder()
    fresh = Library.create(library.folder.parent / f"fresh{time.monotonic_ns()}", embedder, model="s", window_s=1.0)
    list(fresh.add(sorted(sounds.glob("*.wav")), embedder))
    names = ["file", "window", "start", "end", "hash", "size", "vector"]
    order = [("file", "ascending"), ("window", "ascending")]
    one, other = library.store.rows(names).sort_by(order), fresh.store.rows(names).sort_by(order)
    for name in names[:-1]:
        assert one[name].to_pylist() == other[name].to_pylist()
    np.testing.assert_array_equal(np.stack(one["vector"].to_numpy()), np.stack(other["vector"].to_numpy()))


def kill_many(tmp_path: Path, kills: dict[str, int], seed: int) -> dict[str, int]:
    """Kill each command so many times; how often it really was cut off."""
    draw, cut = random.Random(seed), dict.fromkeys(kills, 0)
    sounds = tmp_path / "sounds"
    make_sounds(sounds, 180, draw)
    for what in (name for name, count in kills.items() for _ in range(count)):
        folder = tmp_path / ("added" + str(draw.randrange(10**9)) if what == "add" else "library")
        if what != "add" and not folder.exists():
            run_and_kill("add", folder, sounds, None)
        if what == "update":
            change_sounds(sounds, draw)
        before = whole(folder).files() if folder.exists() else {}
        told, was_cut = run_and_kill(what, folder, sounds, draw.uniform(0.0, 3.0 if what == "compact" else 1.2))
        cut[what] += was_cut
        if (folder / "library.json").exists():
            held = whole(folder).files()
            done = [line.split(" ", 1) for line in told if line not in ("ready", "end")]
            assert {path for status, path in done if status != "removed"} <= held.keys(), "told as done, but lost"
            assert held.keys() >= {path for path in before if Path(path).exists()}, "lost what was held"
        run_and_kill("add" if what == "add" else "update", folder, sounds, None)
        library = whole(folder)
        as_on_disk(library, sounds)
        assert library.store.count(one_of("file", ["none"])) == 0
        assert library.store.stats()["index"] == "IvfRq"
        for query in library.store.exact().vectors[::60]:
            found, want = (library.store.search(query, 10, exact=exact) for exact in (False, True))
            np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in want], atol=1e-5)
    return cut


def test_killed_once_each(tmp_path: Path) -> None:
    kill_many(tmp_path, {"add": 1, "update": 1, "compact": 1}, seed=1)


@pytest.mark.slow
def test_killed_33_times(tmp_path: Path) -> None:
    """With the 17 of a server (tests/serve/test_serve_run.py) fifty."""
    cut = kill_many(tmp_path, {"add": 11, "update": 11, "compact": 11}, seed=2)
    assert all(count >= 5 for count in cut.values()), cut
