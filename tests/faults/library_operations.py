"""Commands of `aural library`, and what must hold of a library after a fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aural.search.check import check
from aural.search.library import Library
from faults.contents import contents
from faults.harness import Operation, Place, in_turn
from library_toys import RATE_HZ, write_sound
from sketch import SketchEmbedder

SECONDS = (0.4, 1.2, 2.5)
COLUMNS = ["file", "window", "start", "end", "hash", "tags", "vector"]


def sounds_of(place: Place) -> Path:
    """Return the folder of six sounds; it is at one place, so that addresses and ids are equal in every run."""
    folder = place.inputs / "sounds"
    if not folder.exists():
        for i in range(6):
            write_sound(folder / f"{i}.wav", SECONDS[i % 3], i)
    return folder


def _long_sounds(place: Place) -> Path:
    """Return the folder of six sounds of 50 windows of 1 s each."""
    folder = place.inputs / "long"
    if not folder.exists():
        folder.mkdir()
        for i in range(6):
            noise = 0.1 * np.random.default_rng(i).standard_normal(50 * RATE_HZ)
            soundfile.write(folder / f"{i}.wav", noise.astype(np.float32), RATE_HZ)
    return folder


def library_of(place: Place, sounds: Path, *patterns: str) -> Library:
    """Create a library with the sounds that match each pattern, in one commit or more per pattern."""
    embedder = SketchEmbedder()
    library = Library.create(place.work / "library", embedder, model="sketch", window_s=1.0)
    for pattern in patterns:
        list(library.add(sorted(sounds.glob(pattern)), embedder, roots=[sounds]))
    return library


def small(place: Place) -> None:
    library_of(place, sounds_of(place), "[012].wav").optimize()


def _large(place: Place) -> None:
    """A library of several commits that is large enough for an approximate index."""
    library_of(place, _long_sounds(place), "[012].wav", "[345].wav")


def _with_index(place: Place) -> None:
    """A library with an approximate index, and later commits that are neither compacted nor in the index."""
    sounds = _long_sounds(place)
    library = library_of(place, sounds, "*.wav")
    library.optimize(build_from=256)
    list(library.add(sorted(sounds_of(place).glob("*.wav")), SketchEmbedder(), roots=[sounds_of(place)]))
    stats = library.store.stats()
    assert stats["index"], "the library has no index"


def _tagged(place: Place) -> None:
    small(place)
    (place.inputs / "labels.txt").write_text("\n".join(f"label {i}" for i in range(40)))


def _damaged(place: Place) -> None:
    library_of(place, sounds_of(place), "*.wav").optimize()
    (place.work / "library" / "library.json").write_text("{")
    data = next((place.work / "library" / "sounds.lance" / "data").iterdir())
    content = bytearray(data.read_bytes())
    content[len(content) // 3] ^= 0x10
    data.write_bytes(content)


def has_no_problem(place: Place, killed: bool, *, name: str = "library") -> bool:
    """Verify that the check of a library reports no problem; return False if there is no library."""
    folder = place.work / name
    if not (folder / "library.json").exists():
        assert killed or not folder.exists(), "a refused command left a folder"
        return False
    report = check(folder)
    assert report.problems == [], report.problems
    return True


def is_sound(place: Place, killed: bool) -> None:
    """Verify that a library has no problem and lost no file."""
    if not has_no_problem(place, killed):
        return
    folder = place.work / "library"
    stored = Library(folder).files()
    first = [sounds_of(place) / f"{i}.wav" for i in range(3)] + [_long_sounds(place) / f"{i}.wav" for i in range(5)]
    folders = {Path(path).parent for path in stored}
    lost = [path for path in first if path.parent in folders and str(path) not in stored]
    assert not lost, f"{lost} were lost"


def rows(place: Place) -> dict[str, Any]:
    """Return the rows of the library; none if there is no library."""
    folder = place.work / "library"
    if not (folder / "library.json").exists():
        return {}
    table = Library(folder).store.rows(COLUMNS)
    return table.sort_by([("file", "ascending"), ("window", "ascending")]).to_pydict()


def _rows_and_index(place: Place) -> dict[str, Any]:
    stats = Library(place.work / "library").store.stats()
    counts = {"index": stats["index"], "without index": stats["unindexed_rows"], "parts": stats["fragments"]}
    return rows(place) | counts


def _outside(place: Place) -> dict[str, Any]:
    return {name: one for name, one in contents(place.work).items() if not name.startswith("library")}


def _rows_if_readable(place: Place) -> dict[str, Any]:
    """Return the rows of a library that may be damaged."""
    try:
        return rows(place)
    except Exception:
        return {}


def _repairable(place: Place, killed: bool) -> None:
    """A repair that was interrupted can be repeated: verified by the repeated run."""
    assert (place.work / "library").is_dir()


def of_library(*words: str) -> Callable[[Place], list[str]]:
    """Return the arguments of a command of the library; WORK and INPUTS stand for the folders."""

    def arguments(place: Place) -> list[str]:
        given = [word.replace("WORK", str(place.work)).replace("INPUTS", str(place.inputs)) for word in words]
        return ["library", *given, "--library", str(place.work / "library")]

    return arguments


def _add(place: Place) -> list[str]:
    return of_library("add", str(sounds_of(place)), "--model", "sketch", "--window", "1")(place)


def _nothing(place: Place) -> None:
    sounds_of(place)


def _export(place: Place) -> list[str]:
    """Export the rows with vectors, the files, and a playlist."""
    table = of_library("export", "-o", "WORK/table.parquet")(place)
    files = of_library("export", "--per-file", "-o", "WORK/files.csv")(place)
    return in_turn(table, files, of_library("export", "-o", "WORK/list.m3u")(place))


def _search(place: Place) -> list[str]:
    return ["search", "rain", "--library", str(place.work / "library"), "--top", "3"]


def _history(place: Place) -> dict[str, Any]:
    """Return the rows, and the different queries of the history."""
    past = Library(place.work / "library").notebook.history()
    return rows(place) | {"history": sorted({str(one.query) for one in past})}


_optimize = of_library("optimize", "--index-from", "256")


OPERATIONS = [
    Operation("library add", _nothing, _add, rows, is_sound, mixed=True),
    Operation("library update", small, of_library("update"), rows, is_sound, mixed=True),
    Operation("library optimize", _large, _optimize, _rows_and_index, is_sound, mixed=True, most_equal=4),
    Operation("library optimize, indexed", _with_index, _optimize, _rows_and_index, is_sound, mixed=True, most_equal=4),
    Operation("library tag", _tagged, of_library("tag", "--labels-file", "INPUTS/labels.txt"), rows, is_sound),
    Operation("library map", small, of_library("map", "-o", "WORK/map.csv"), _outside, is_sound),
    Operation("library export", small, _export, _outside, is_sound),
    Operation("library watch", small, of_library("watch"), rows, is_sound, mixed=True),
    Operation("search", small, _search, _history, is_sound),
    Operation("library repair", _damaged, of_library("repair"), _rows_if_readable, _repairable, mixed=True),
]  # fmt: skip
