"""Damage files of a library in every way, and record what opening, `check` and `repair` do with each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from run_library import WideEmbedder

from aural.core.errors import AuralError
from aural.search.check import check
from aural.search.checksums import read_record, record_files
from aural.search.library import Library
from aural.search.repair import RepairReport, repair
from aural.search.sound_map import sound_map
from library_toys import write_sound

ROWS = ["file", "path", "window", "start", "end", "duration", "hash", "tags", "size", "vector"]


def flip(place: float) -> Callable[[Path], None]:
    """Return a damage that inverts one bit of the byte at a place between 0 (first) and 1 (last)."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[round(place * (len(content) - 1))] ^= 0x10
        path.write_bytes(content)

    return damage


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "flip first": flip(0.0),
    "flip quarter": flip(0.25),
    "flip middle": flip(0.5),
    "flip last": flip(1.0),
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "append": lambda path: path.write_bytes(path.read_bytes() + b"garbage" * 10),
    "delete": Path.unlink,
    "folder": replace_by_folder,
}


def build(folder: Path, *, keep_versions: bool) -> Path:
    """Return a library of 40 sounds with indexes, a list of deleted rows, tags and a map.

    keep_versions: keep the earlier versions of the table, as within an hour of a change.
    """
    sounds = folder / "sounds"
    for i in range(40):
        write_sound(sounds / f"{i:02}.wav", (0.3, 0.6, 3.2)[i % 3], i)
    embedder = WideEmbedder()
    library = Library.create(folder / "library", embedder, model="wide", window_s=1.0)
    list(library.add(sorted(sounds.glob("*.wav")), embedder, roots=[sounds]))
    library.store.build_index(partitions=2)
    library.store.index_filters()
    files = library.files()
    tags = pa.schema([("file", pa.string()), ("tags", pa.list_(pa.string()))])
    library.store.revise(pa.table({"file": [one.file for one in files.values()], "tags": [["rain"]] * 40}, schema=tags))
    sound_map(library)
    library.words.update()
    library.optimize()
    (sounds / "07.wav").unlink()
    list(library.update(embedder))
    if not keep_versions:
        library.store._table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
        record_files(library.folder)
    return folder / "library"


def file_classes(library: Path) -> dict[str, str]:
    """Return one file of each class of a library: what it is -> its path relative to the library."""
    recorded = list(read_record(library).files)

    def first(part: str) -> str:
        return next(name for name in recorded if part in name)

    return {
        "card": "library.json",
        "copy of the card": "safety/library.json",
        "checksums": "safety/checksums.json",
        "copy of the manifest": "safety/copies/" + first("/_versions/"),
        "manifest": first("/_versions/"),
        "version hint": "sounds.lance/_versions/latest_version_hint.json",
        "data": first("/data/"),
        "deleted rows": first("/_deletions/"),
        "vector index": first("index.idx"),
        "filter index": first("bitmap_page_lookup"),
        "map": "map.parquet",
        "word index": "words.sqlite",
        "lock": "writer.lock",
    }


class Outcome(NamedTuple):
    """What a damage led to. use: "answers", or "refused" with a sentence that proposes the repair."""

    use: str
    problems: list[str]
    report: RepairReport
    problems_after: list[str]
    same_rows: bool


def try_damage(source: Path, scratch: Path, name: str, damage: Callable[[Path], Any]) -> Outcome:
    """Damage a copy of a library, open it, check it, repair it, and compare its rows with those before."""
    want = rows_of(source)
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(source, scratch)
    damage(scratch / name)
    refusal = refusal_of(scratch)
    if refusal:
        assert refusal.startswith(f"{scratch}: the library is damaged (")
        assert f"`aural library check --library {scratch}`" in refusal
    problems = check(scratch).problems
    embedder = WideEmbedder()
    report = repair(scratch, lambda model: embedder)
    return Outcome(
        "refused" if refusal else "answers", problems, report, check(scratch).problems, rows_of(scratch).equals(want)
    )


def refusal_of(folder: Path) -> str:
    """Return the sentence with which a library refuses a search, or nothing if it answers."""
    try:
        hits = Library(folder).search(np.eye(1, WideEmbedder.embed_dim, dtype=np.float32)[0], 3)
    except AuralError as error:
        return str(error)
    assert len(hits) == 3
    return ""


def rows_of(folder: Path) -> pa.Table:
    return Library(folder).store.rows(ROWS).sort_by([("file", "ascending"), ("window", "ascending")])


def all_damages(library: Path) -> Iterator[tuple[str, str, str]]:
    """Yield class, path and damage of every pair of the table."""
    for what, name in file_classes(library).items():
        for damage in DAMAGES:
            if (library / name).stat().st_size or not damage.startswith(("flip", "half")):
                yield what, name, damage
