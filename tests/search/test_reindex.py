"""A second space of a library: build, interrupt, switch, roll back, delete; readers and writers meanwhile."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

import numpy as np
import pytest

from aural.core.errors import ConfigError, DataError
from aural.search.check import check
from aural.search.folder import BusyLibraryError, DamagedLibraryError
from aural.search.library import Library
from aural.search.reindex import delete_space, missing_files, name_of, new_space, reindex, rollback, spaces, switch
from aural.search.remove import remove
from aural.search.repair import repair
from aural.search.spaces import Pointer, read_pointer, write_pointer
from aural.search.tag import tag
from library_toys import write_sound
from sketch import SketchEmbedder

NEW = SketchEmbedder(1)


def build(library: Library, name: str = "new") -> Library:
    space = new_space(library.root, NEW, model="sketch-1", name=name, window_s=2.5)
    list(reindex(Library(library.root), space, NEW))
    return space


def names(library: Library) -> list[str]:
    return sorted(Path(path).name for path in library.files())


def best(root: Path, embedder: SketchEmbedder) -> list[str]:
    return [hit.path for hit in Library(root).search(embedder.embed_text(["rain"])[0], 5)]


def test_build_switch_and_roll_back(editable: Library, tmp_path: Path) -> None:
    root, old = editable.root, SketchEmbedder()
    tag(editable, old, ["rain", "wind"])
    editable.notebook.rate([next(iter(editable.files().values())).hash], 5)
    before, query = best(root, old), SketchEmbedder().embed_text(["rain"])[0]
    space = build(editable)
    assert (best(root, old), missing_files(editable, space)) == (before, [])
    assert [(one.name, one.model, one.files, one.active) for one in spaces(root)] == [
        ("first", "sketch", 13, True),
        ("new", "sketch-1", 13, False),
    ]
    assert [switch(root, "new") for _ in range(2)] == [0, 0]
    assert read_pointer(root) == Pointer(active="new", previous="first")
    assert [hit.path for hit in editable.search(query, 5)] == before  # a reader that was open goes on
    library = Library(root)
    assert (library.card.model, library.card.window_s, library.card.roots) == ("sketch-1", 2.5, editable.card.roots)
    assert library.notebook.marks() == editable.notebook.marks() != {}
    fresh = Library.create(tmp_path / "fresh", NEW, model="sketch-1", window_s=2.5)
    list(fresh.add([tmp_path / "sounds"], NEW))
    order = [("file", "ascending"), ("window", "ascending")]
    stored, want = (one.store.rows(["file", "window", "vector"]).sort_by(order) for one in (library, fresh))
    assert stored.select(["file", "window"]).equals(want.select(["file", "window"]))
    np.testing.assert_array_equal(np.stack(stored["vector"].to_numpy()), np.stack(want["vector"].to_numpy()))
    assert library.store.count() != editable.store.count()
    assert {tuple(one) for one in library.store.rows(["file", "tags"]).to_pylist()} == {
        tuple(one) for one in editable.store.rows(["file", "tags"]).to_pylist()
    }
    assert check(root).problems == []
    with pytest.raises(ConfigError):
        list(library.update(old))
    assert rollback(root) == ("first", 0)
    assert best(root, old) == before
    assert rollback(root) == ("new", 0)


def test_a_switch_loses_nothing(editable: Library, tmp_path: Path) -> None:
    root, old = editable.root, SketchEmbedder()
    space = build(editable)
    write_sound(tmp_path / "sounds" / "late.wav", 1.0, 70)
    write_sound(tmp_path / "sounds" / "Effects" / "00.wav", 2.0, 71)
    remove(editable, ["*02.wav"])
    list(editable.update(old))
    with pytest.raises(DataError, match="lacks 2 sounds of first"):
        switch(root, "new")
    (tmp_path / "sounds" / "Effects" / "04.wav").unlink()  # cannot be embedded, but the library still has its vectors
    counted = SketchEmbedder(1)
    space = new_space(root, counted, model="sketch-1", name="new")
    done = [(Path(one.path).name, one.status) for one in reindex(editable, space, counted)]
    assert sorted(done) == [("00.wav", "changed"), ("02.wav", "removed"), ("late.wav", "added")]
    assert switch(root, "new") == 0
    library = Library(root)
    assert names(library) == names(editable)
    assert library.card.removed == editable.card.removed != ()
    list(library.update(counted))
    assert "04.wav" not in names(library)
    assert rollback(root) == ("first", 0)


def test_sounds_that_cannot_be_read_stop_the_switch(editable: Library, tmp_path: Path) -> None:
    (tmp_path / "sounds" / "silent.wav").unlink()
    space = new_space(editable.root, NEW, model="sketch-1", name="new")
    assert "skipped" in [one.status for one in reindex(editable, space, NEW)]
    with pytest.raises(DataError, match=r"silent\.wav"):
        switch(editable.root, "new")
    assert switch(editable.root, "new", allow_missing=True) == 1


def test_an_interrupted_reindex_continues(editable: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aural.search.library.COMMIT_FILES", 2)
    counted = SketchEmbedder(1)
    done = 0
    for _ in range(8):  # each time after some files
        space = new_space(editable.root, counted, model="sketch-1", name="new", window_s=2.5)
        results = reindex(editable, space, counted)
        for _, _ in zip(range(3), results, strict=False):
            done += 1
        results.close()
        with contextlib.suppress(DataError):
            switch(editable.root, "new")
            break
    windows = Library(editable.root).store.count()
    assert counted.sounds - 8 <= windows + 8 * 16  # a batch may be lost per interruption, a file with a commit is not
    assert names(Library(editable.root)) == names(editable)
    assert check(editable.root).problems == []


def test_writers_of_the_old_space_stop_after_a_switch(editable: Library) -> None:
    build(editable)
    with editable.writing(), pytest.raises(BusyLibraryError):
        switch(editable.root, "new")
    switch(editable.root, "new")
    with pytest.raises(DataError, match="switched to another space"):
        list(editable.update(SketchEmbedder()))


def test_what_is_refused(editable: Library, tmp_path: Path) -> None:
    root = editable.root
    for call in (
        lambda: rollback(root),
        lambda: switch(root, "new"),
        lambda: delete_space(root, "first"),
        lambda: new_space(root, NEW, model="m", name="first"),
        lambda: new_space(root, NEW, model="m", name="../x"),
        lambda: new_space(tmp_path / "none", NEW, model="m", name="new"),
    ):
        with pytest.raises((ConfigError, DataError)):
            call()
    assert not (tmp_path / "none").exists()
    build(editable)
    with pytest.raises(ConfigError, match="was created with the model sketch-1"):
        new_space(root, SketchEmbedder(2), model="sketch-2", name="new")
    switch(root, "new")
    with pytest.raises(ConfigError, match="is in use"):
        new_space(root, NEW, model="sketch-1", name="new")
    with pytest.raises(ConfigError, match="the active space"):
        delete_space(root, "new")
    rollback(root)
    delete_space(root, "new")
    (root / "spaces" / "killed").mkdir()  # before its card was written
    assert [one.name for one in spaces(root)] == ["first"]
    delete_space(root, "killed")
    new_space(root, NEW, model="sketch-1", name="new")
    (root / "spaces" / "new").rename(root / "spaces" / ".new.deleted")  # the deletion was interrupted
    assert [one.name for one in spaces(root)] == ["first"]
    delete_space(root, "new")
    assert [path.name for path in (root / "spaces").iterdir()] == []
    with pytest.raises(ConfigError, match="no switch to take back"):
        rollback(root)


@pytest.mark.parametrize("damage", ["deleted", "emptied", "other name"])
def test_a_damaged_pointer_is_repaired(editable: Library, damage: str) -> None:
    root = editable.root
    build(editable)
    switch(root, "new")
    pointer = root / "spaces.json"
    if damage == "deleted":
        pointer.unlink()
    else:
        pointer.write_text("" if damage == "emptied" else json.dumps({"active": "lost"}))
    with pytest.raises(DamagedLibraryError, match="aural library repair"):
        Library(root)
    assert len(check(root).problems) == 1
    report = repair(root, lambda name: NEW)
    assert report.actions == ["spaces.json: restored, the active space is new"]
    assert Library(root).card.model == "sketch-1"
    assert read_pointer(root) == Pointer(active="new", previous="first")


def test_kills_between_the_steps_of_a_switch(editable: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill switch and rollback at a random step, 20 times: the library opens, and a repetition completes."""
    from aural.search import reindex as module
    from aural.search import spaces as pointers

    root, draw = editable.root, random.Random(5)
    build(editable)
    write_pointer(root, Pointer(active="first", previous="new"))
    for _ in range(20):
        before, steps = read_pointer(root), iter(range(99))
        at = draw.randrange(4)

        def killed(function: object, at: int = at, steps: object = steps) -> object:
            def run(*arguments: object, **options: object) -> object:
                if next(steps) == at:  # type: ignore[call-overload]
                    raise KeyboardInterrupt
                return function(*arguments, **options)  # type: ignore[operator]

            return run

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(module, "write_card", killed(module.write_card))
            patch.setattr(module, "write_pointer", killed(module.write_pointer))
            patch.setattr(pointers, "write_text", killed(pointers.write_text))
            rollback(root)
        after = read_pointer(root)
        assert after in (before, Pointer(active=before.previous or "", previous=before.active))
        assert names(Library(root)) == names(editable)
        if after == before:
            rollback(root)
        assert read_pointer(root).active == before.previous


def test_name_of_a_space() -> None:
    assert [name_of(model) for model in ("libre-base", "laion/larger clap", "///", "/a/model.v2")] == [
        "libre-base",
        "larger-clap",
        "space",
        "model.v2",
    ]
