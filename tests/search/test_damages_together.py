"""Damages that the table of single files lacks: two files at once, further spaces, the notebook, pipes."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damages import DAMAGES, build, file_classes, rows_of
from run_library import WideEmbedder

from aural.core.errors import AuralError
from aural.search.check import check
from aural.search.checksums import read_record
from aural.search.library import Library
from aural.search.notebook import COPY, FILE, Notebook
from aural.search.reindex import new_space, reindex, spaces, switch
from aural.search.repair import repair

Damage = Callable[[Path], Any]
QUERY = np.eye(1, WideEmbedder.embed_dim, dtype=np.float32)[0]


@pytest.fixture(scope="module")
def sound_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library with marks and a second space, `b`."""
    folder = build(tmp_path_factory.mktemp("together"), keep_versions=False)
    library, embedder = Library(folder), WideEmbedder()
    hashes = [one.hash for one in library.files().values()]
    library.notebook.set_favorite(hashes[:1])
    library.notebook.collect("drums", hashes[1:3])
    list(reindex(library, new_space(folder, embedder, model="wide", name="b", window_s=2.0), embedder))
    return folder


@pytest.fixture
def copy(sound_library: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound_library, tmp_path / "library")
    return tmp_path / "library"


def to(name: str, damage: str) -> Damage:
    """Return the damage of a file; its name is a class of `file_classes`, or a path."""
    return lambda folder: DAMAGES[damage](folder / file_classes(folder).get(name, name))


def data_of_space(folder: Path) -> Path:
    space = folder / "spaces" / "b"
    return space / next(name for name in read_record(space).files if "/data/" in name)


def exchange(folder: Path, first: str, second: str) -> None:
    paths = [folder / file_classes(folder)[name] for name in (first, second)]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)


def pipe(name: str) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / file_classes(folder).get(name, name)
        path.unlink()
        os.mkfifo(path)

    return damage


def change_card(folder: Path, **values: Any) -> None:
    card = json.loads((folder / "library.json").read_text())
    (folder / "library.json").write_text(json.dumps(card | values))


def point_to(folder: Path, name: str) -> None:
    (folder / "spaces.json").write_text(json.dumps({"active": name, "previous": "first"}))


def as_file(folder: Path, name: str) -> None:
    shutil.rmtree(folder / name)
    (folder / name).write_text("x")


DAMAGES_TOGETHER: dict[str, tuple[Damage, ...]] = {
    "card and manifest": (to("manifest", "flip middle"), to("card", "flip middle")),
    "card and checksums": (to("card", "delete"), to("safety/checksums.json", "half")),
    "manifest and its copy": (to("copy of the manifest", "flip middle"), to("manifest", "flip middle")),
    "map and words, folders": (to("map", "folder"), to("word index", "folder")),
    "notebook, bit flipped": (to(FILE, "flip middle"),),
    "notebook, half": (to(FILE, "half"),),
    "notebook, deleted": (to(FILE, "delete"),),
    "notebook, emptied": (to(FILE, "empty"),),
    "notebook, a folder": (to(FILE, "folder"),),
    "notebook, a pipe": (pipe(FILE),),
    "copy of the notebook, half": (to(COPY, "half"),),
    "copy of the notebook, a folder": (to(COPY, "folder"),),
    "card, a pipe": (pipe("card"),),
    "checksums, a pipe": (pipe("checksums"),),
    "manifest, a pipe": (pipe("manifest"),),
    "card, deeply nested": (lambda folder: (folder / "library.json").write_text("[" * 100_000),),
    "card, a huge number": (lambda folder: change_card(folder, embed_dim=10**9),),
    "card exchanged for a manifest": (lambda folder: exchange(folder, "card", "copy of the manifest"),),
    "safety, a file": (lambda folder: as_file(folder, "safety"),),
    "safety, deleted": (lambda folder: shutil.rmtree(folder / "safety"),),
    "versions, deleted": (lambda folder: shutil.rmtree(folder / "sounds.lance" / "_versions"),),
    "space b, card deleted": (lambda folder: (folder / "spaces" / "b" / "library.json").unlink(),),
    "space b, data flipped": (lambda folder: DAMAGES["flip middle"](data_of_space(folder)),),
}
"""Damages with which no vector of the first space is lost."""
QUICK = {"notebook, deleted", "notebook, a pipe", "checksums, a pipe", "manifest, a pipe", "safety, deleted"}
QUICK |= {"space b, data flipped"}


def slow_unless_quick(name: str) -> Any:
    return pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)


def refusal_of(folder: Path) -> str:
    """Return the sentence with which a library refuses a search or its marks, or nothing."""
    try:
        library = Library(folder)
        library.search(QUERY, 3)
        library.notebook.marks()
    except AuralError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", [slow_unless_quick(name) for name in DAMAGES_TOGETHER])
def test_checked_and_repaired(copy: Path, sound_library: Path, name: str) -> None:
    marks = Notebook(sound_library).marks()
    for damage in DAMAGES_TOGETHER[name]:
        damage(copy)
    refusal = refusal_of(copy)
    assert not refusal or (str(copy) in refusal and "\n" not in refusal)
    assert check(copy).problems
    report = repair(copy, lambda model: WideEmbedder())
    assert report.actions
    assert report.lost == []
    assert check(copy).problems == []
    assert rows_of(copy).equals(rows_of(sound_library))
    assert Notebook(copy).marks() == marks
    assert [(space.name, space.missing) for space in spaces(copy)] == [("first", 0), ("b", 0)]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip middle", "half", "delete", "empty", "folder"])
def test_pointer_and_first_space_damaged_while_another_is_active(copy: Path, damage: str) -> None:
    switch(copy, "b")
    DAMAGES[damage](copy / "spaces.json")
    DAMAGES["flip middle"](copy / file_classes(copy)["data"])
    problems = check(copy).problems
    assert any("spaces.json" in line for line in problems)
    with pytest.raises(AuralError, match="is damaged"):
        Library(copy)
    report = repair(copy, lambda model: WideEmbedder())
    assert report.lost == []
    assert (check(copy).problems, [space.name for space in spaces(copy) if space.active]) == ([], ["b"])


@pytest.mark.parametrize(
    "damage", [lambda root: shutil.rmtree(root / "spaces" / "b"), lambda root: point_to(root, "../..")]
)
def test_without_the_active_space_the_first_one_is_active(copy: Path, damage: Damage) -> None:
    switch(copy, "b")
    damage(copy)
    (copy / "spaces" / "b").mkdir(exist_ok=True)
    with pytest.raises(AuralError, match=r"is damaged \(spaces.json"):
        Library(copy)
    assert check(copy).problems
    report = repair(copy, lambda model: WideEmbedder())
    assert any("the first space is active" in line or "the active space is" in line for line in report.actions)
    assert check(copy).problems == []
    Library(copy).search(QUERY, 3)


def test_marks_are_not_written_over_a_lost_notebook(copy: Path) -> None:
    """A new notebook would replace the copy, the last place of the marks."""
    (copy / FILE).unlink()
    notebook = Notebook(copy)
    for use in (notebook.marks, lambda: notebook.collect("new", ["0"]), lambda: notebook.remember({}, 0)):
        with pytest.raises(AuralError, match="has a copy; run `aural library repair"):
            use()
    assert sqlite3.connect(copy / COPY).execute("SELECT count(*) FROM members").fetchall() == [(2,)]
    (copy / COPY).unlink()
    assert notebook.marks() == {}
