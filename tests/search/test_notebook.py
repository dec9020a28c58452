"""Favorites, ratings, notes, collections and past queries: values, survival, damage, other processes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pyarrow import csv

from aural.core.errors import ConfigError, DataError
from aural.search import notebook as notebooks
from aural.search.check import check
from aural.search.export import export
from aural.search.filters import parse_filter
from aural.search.folder import UnusableLibraryError
from aural.search.library import Library
from aural.search.marked import MarkFilter, with_marks
from aural.search.move import move
from aural.search.notebook import Marks, Notebook
from aural.search.remove import remove
from aural.search.repair import repair
from library_toys import write_sound
from sketch import SketchEmbedder


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path)


def test_marks_of_contents(notebook: Notebook) -> None:
    assert (notebook.marks(), notebook.collections(), notebook.history(), notebook.path.exists()) == ({}, {}, [], False)
    notebook.set_favorite(["a", "b"])
    notebook.set_favorite(["b"], False)
    notebook.rate(["a", "c"], 4)
    notebook.rate(["c"], 0)
    notebook.write_note(["d"], "too loud")
    notebook.collect("storm", ["d", "a", "d"])
    notebook.collect("door", ["a"])
    want = {"a": Marks(True, 4, "", ("door", "storm")), "d": Marks(note="too loud", collections=("storm",))}
    assert notebook.marks() == want
    assert notebook.marks(["d", "x"]) == {"d": want["d"]}
    assert notebook.marks([]) == {}
    assert notebook.collections() == {"door": 1, "storm": 2}
    assert notebook.members("storm") == ["d", "a"]
    assert notebook.rated(favorite=True) == {"a"}
    assert (notebook.rated(min_stars=4), notebook.rated(min_stars=5)) == ({"a"}, set())
    notebook.uncollect("storm", ["a"])
    notebook.delete_collection("door")
    assert notebook.collections() == {"storm": 1}
    assert notebook.marks(["a"]) == {"a": Marks(True, 4)}


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
def test_names_of_collections(notebook: Notebook, name: str) -> None:
    with pytest.raises(ConfigError):
        notebook.collect(name, ["a"])
    assert notebook.collections() == {}


def test_values_out_of_range(notebook: Notebook) -> None:
    notebook.collect("storm", ["a"])
    with pytest.raises(ConfigError, match="rating of 6"):
        notebook.rate(["a"], 6)
    with pytest.raises(ConfigError, match="10001 characters"):
        notebook.write_note(["a"], "x" * 10_001)
    with pytest.raises(DataError, match='did you mean "storm"'):
        notebook.members("strom")


def test_history_keeps_the_newest(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "KEPT_QUERIES", 5)
    for i in range(8):
        notebook.remember({"words": [f"rain {i} ☂"]}, i)
    assert [(past.query, past.hits) for past in notebook.history()] == [
        ({"words": [f"rain {i} ☂"]}, i) for i in (7, 6, 5, 4, 3)
    ]
    assert [past.hits for past in notebook.history(2)] == [7, 6]
    notebook.clear_history()
    assert notebook.history() == []


def test_a_change_happens_completely_or_not_at_all(notebook: Notebook) -> None:
    notebook.collect("storm", ["a"])

    def interrupted() -> Iterator[str]:
        yield "b"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        notebook.uncollect("storm", ["a", *interrupted()])
    with pytest.raises(KeyboardInterrupt):
        notebook.collect("door", interrupted())
    assert notebook.collections() == {"storm": 1}
    assert notebook.members("storm") == ["a"]


def test_threads_and_processes_write_at_once(notebook: Notebook) -> None:
    (notebook.folder / "safety").mkdir()
    command = "import sys; from pathlib import Path; from aural.search.notebook import Notebook\n"
    command += "for i in range(20): Notebook(Path(sys.argv[1])).collect('c', [f'{sys.argv[2]} {i}'])"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", command, str(notebook.folder), "process"], env=environment)
    threads = [
        threading.Thread(target=lambda n=n: [notebook.collect("c", [f"{n} {i}"]) for i in range(10)]) for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.wait(60) == 0
    assert len(notebook.members("c")) == 50
    with closing(sqlite3.connect(notebook.folder / notebooks.COPY)) as copy:
        assert copy.execute("SELECT count(*) FROM members").fetchone() == (50,)


def test_marks_survive_move_remove_change_and_a_new_library(editable: Library, tmp_path: Path) -> None:
    embedder, sounds = SketchEmbedder(), tmp_path / "sounds"
    hashes = {Path(path).name: one.hash for path, one in editable.files().items()}
    editable.notebook.rate([hashes["02.wav"], hashes["04.wav"]], 5)
    editable.notebook.collect("best", [hashes["04.wav"], hashes["02.wav"]])
    os.rename(sounds, tmp_path / "new")
    list(move(editable, sounds, tmp_path / "new"))
    remove(editable, ["*02.wav"])
    list(editable.add([tmp_path / "new" / "Effects" / "02.wav"], embedder))
    write_sound(tmp_path / "new" / "Effects" / "04.wav", 1.0, 400)
    assert [one.status for one in editable.update(embedder)] == ["skipped", "changed"]
    changed = next(one.hash for path, one in editable.files().items() if path.endswith("04.wav"))
    assert changed != hashes["04.wav"]
    assert editable.notebook.marks([changed, hashes["02.wav"]]) == dict.fromkeys(
        [changed, hashes["02.wav"]], Marks(stars=5, collections=("best",))
    )
    assert check(editable).problems == []


def test_filters_by_marks(editable: Library, tmp_path: Path) -> None:
    hashes = {Path(path).name: one.hash for path, one in editable.files().items()}
    book = editable.notebook
    book.collect("best", [hashes["02.wav"], hashes["04.wav"], hashes["06.wav"], "not in the library"])
    book.collect("empty", [])
    book.set_favorite([hashes["04.wav"], hashes["06.wav"]])
    book.rate([hashes["06.wav"]], 3)

    def names(marks: MarkFilter, where: str | None = None) -> list[str]:
        condition = with_marks(book, marks, parse_filter(where) if where else None)
        hits = editable.search(SketchEmbedder().embed_text(["rain"])[0], 20, condition)
        oracle = editable.store.exact()
        assert condition is None or len(hits) == len(
            {row.file for row in oracle.search(oracle.vectors[0], 99, condition)}
        )
        return sorted(Path(hit.path).name for hit in hits)

    assert len(names(MarkFilter())) == 13
    assert names(MarkFilter(["best"])) == ["02.wav", "04.wav", "06.wav"]
    assert names(MarkFilter(["best"], favorites=True), "duration > 12") == ["06.wav"]
    assert names(MarkFilter(min_stars=3)) == ["06.wav"]
    assert names(MarkFilter(["best", "empty"])) == names(MarkFilter(min_stars=4)) == []
    with pytest.raises(DataError):
        names(MarkFilter(["bset"]))

    condition = with_marks(book, MarkFilter(["best"]))
    assert export(editable, tmp_path / "best.csv", where=condition, rows="files") == 3
    table = csv.read_csv(tmp_path / "best.csv").to_pydict()
    assert (table["name"], table["favorite"]) == (["02.wav", "04.wav", "06.wav"], [False, True, True])
    assert (table["stars"], table["collections"]) == ([0, 0, 3], ["best"] * 3)
    assert export(editable, tmp_path / "best.m3u8", where=condition) == 3
    folder = tmp_path / "sounds" / "Effects"
    assert (tmp_path / "best.m3u8").read_text().splitlines() == [
        "#EXTM3U",
        *("#EXTINF:5,02.wav", f"{folder}/02.wav"),
        *("#EXTINF:10,04.wav", f"{folder}/04.wav"),
        *("#EXTINF:15,06.wav", f"{folder}/06.wav"),
    ]


def test_a_damaged_notebook_is_restored_from_its_copy(editable: Library) -> None:
    editable.notebook.write_note(["a"], "kept " * 2000)
    path, content = editable.notebook.path, editable.notebook.path.read_bytes()
    path.write_bytes(content[:4096] + b"\0" * (len(content) - 4096))
    assert not notebooks.is_readable(path)
    with pytest.raises(UnusableLibraryError, match="aural library repair"):
        editable.notebook.marks()
    assert len(check(editable).problems) == 1
    report = repair(editable.folder, lambda name: SketchEmbedder())
    assert report.actions == ["notebook.sqlite: restored from its copy; past queries may be missing"]
    assert editable.notebook.marks()["a"].note.startswith("kept")
    assert check(editable).problems == []


def test_a_folder_without_permission(editable: Library) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    editable.folder.chmod(0o500)
    try:
        assert editable.notebook.marks() == {}
        with pytest.raises(UnusableLibraryError):
            editable.notebook.rate(["a"], 1)
    finally:
        editable.folder.chmod(0o700)


def test_an_older_aural_refuses_a_later_version(notebook: Notebook) -> None:
    notebook.rate(["a"], 1)
    with closing(sqlite3.connect(notebook.path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match="update aural"):
        notebook.marks()
    shutil.rmtree(notebook.folder)
