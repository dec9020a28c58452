"""Remove and move sounds of a library: what later updates do, and what an interruption leaves."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from aural.core.errors import ConfigError, DataError
from aural.search import move as moves
from aural.search import remove as removals
from aural.search.check import check
from aural.search.filters import parse_filter
from aural.search.folder import read_card
from aural.search.library import Library
from aural.search.move import move
from aural.search.remove import remove
from aural.search.removed import Removed
from aural.search.select import select
from library_toys import write_sound
from sketch import SketchEmbedder


def names(library: Library) -> list[str]:
    return sorted(Path(path).name for path in library.files())


def update(library: Library, embedder: SketchEmbedder) -> dict[str, str]:
    done = {Path(one.path).name: one.status for one in library.update(embedder)}
    done.pop("broken.wav", None)
    return done


def vectors(library: Library) -> dict[str, list[float]]:
    rows = library.store.rows(["hash", "window", "vector"]).to_pylist()
    return {f"{row['hash']} {row['window']}": row["vector"] for row in rows}


@pytest.mark.parametrize(
    ("pattern", "where", "count"),
    [
        ("Effects", None, 6),
        ("Effects/00.wav", None, 1),
        ("*.wav", None, 13),
        ("0?.wav", None, 10),
        ("{sounds}/E*/0*.wav", None, 5),
        (None, "duration > 10", 7),
        ("Effects", "duration > 10", 3),
    ],
)
def test_select(library: Library, built: Path, pattern: str | None, where: str | None, count: int) -> None:
    sounds = built / "sounds"
    if pattern is None:
        patterns = []
    elif "*" in pattern or "?" in pattern:
        patterns = [pattern.format(sounds=sounds)]
    else:
        patterns = [str(sounds / pattern)]
    assert len(select(library, patterns, parse_filter(where) if where else None)) == count


def test_a_name_with_wildcards_is_a_name_first(tmp_path: Path) -> None:
    embedder = SketchEmbedder()
    for name in ("take[1].wav", "take1.wav"):
        write_sound(tmp_path / "sounds" / name, 0.5, len(name))
    library = Library.create(tmp_path / "l", embedder, model="sketch")
    list(library.add([tmp_path / "sounds"], embedder))
    assert [Path(one.path).name for one in select(library, [str(tmp_path / "sounds" / "take[1].wav")])] == [
        "take[1].wav"
    ]


def test_removed_sounds_stay_removed_until_they_are_added_by_name(editable: Library, tmp_path: Path) -> None:
    embedder, sounds = SketchEmbedder(), tmp_path / "sounds"
    before = names(editable)
    assert len(remove(editable, ["*00.wav"], dry_run=True)) == 1
    assert names(editable) == before
    removed = remove(editable, [str(sounds / "ambience"), "*00.wav"])
    assert len(removed) == 7
    assert update(editable, embedder) == {}
    assert names(editable) == ["02.wav", "04.wav", "06.wav", "08.wav", "10.wav", "silent.wav"]
    assert check(editable).problems == []
    assert editable.words.search(["01"], 5) == {}
    write_sound(sounds / "ambience" / "new.wav", 0.5, 50)
    assert update(editable, embedder) == {}  # the folder is removed, not the files that were in it
    list(editable.add([sounds / "ambience" / "01.wav"], embedder, roots=[sounds / "ambience" / "01.wav"]))
    assert update(editable, embedder) == {}
    assert "01.wav" in names(editable)
    list(editable.add([sounds / "ambience"], embedder, roots=[sounds / "ambience"]))
    assert set(names(editable)) == {*before, "new.wav"} - {"00.wav"}


def test_a_removed_root_is_no_longer_looked_through(editable: Library, tmp_path: Path) -> None:
    remove(editable, [str(tmp_path / "sounds")])
    assert (editable.files(), editable.card.roots, editable.card.removed) == ({}, (), ())
    assert update(editable, SketchEmbedder()) == {}


def test_a_kill_between_card_and_rows_loses_nothing_else(editable: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(editable.store), "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(editable, ["*00.wav"])
    library = Library(editable.folder)
    assert "00.wav" in names(library)
    assert update(library, SketchEmbedder()) == {"00.wav": "removed"}


@pytest.mark.parametrize(
    ("patterns", "error"), [([], ConfigError), (["nothing.wav"], DataError), (["*.mp3"], DataError)]
)
def test_nothing_to_remove(library: Library, patterns: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        remove(library, patterns)


def test_moved_folder_keeps_every_vector(editable: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "FILES_PER_COMMIT", 4)
    embedder = SketchEmbedder()
    before, stored = vectors(editable), names(editable)
    removals.remove(editable, ["*04.wav"])
    (tmp_path / "disk").mkdir()
    os.rename(tmp_path / "sounds", tmp_path / "disk" / "all")
    os.utime(tmp_path / "disk" / "all" / "Effects" / "06.wav", ns=(1, 10**18))  # read, because its time differs
    done = list(move(editable, tmp_path / "sounds", tmp_path / "disk" / "all"))
    assert [one.status for one in done] == ["moved"] * 12
    after = vectors(editable)
    assert {key: before[key] for key in after} == after
    assert read_card(editable.folder).roots == (str(tmp_path / "disk" / "all"),)
    assert (names(editable), embedder.sounds) == ([name for name in stored if name != "04.wav"], 0)
    assert check(editable, hashes=True).problems == []
    assert update(editable, embedder) == {}
    assert editable.words.search(["disk"], 20).keys() == {one.file for one in editable.files().values()}


def test_what_is_not_at_its_new_place_is_kept(editable: Library, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "sounds", tmp_path / "new")
    (tmp_path / "new" / "Effects" / "02.wav").unlink()
    write_sound(tmp_path / "new" / "Effects" / "04.wav", 3.0, 77)
    dry = list(move(editable, tmp_path / "sounds", tmp_path / "new", dry_run=True))
    assert str(tmp_path / "new" / "silent.wav") not in editable.files()
    done = list(move(editable, tmp_path / "sounds", tmp_path / "new"))
    assert sorted(one.status for one in done) == sorted(one.status for one in dry) == ["moved"] * 11 + ["skipped"] * 2
    kept = {path for path in editable.files() if path.startswith(str(tmp_path / "sounds"))}
    assert kept == {str(tmp_path / "sounds" / "Effects" / name) for name in ("02.wav", "04.wav")}
    assert read_card(editable.folder).roots == (str(tmp_path / "new"), str(tmp_path / "sounds"))


@pytest.mark.parametrize("at", range(5))
def test_a_kill_during_a_move_and_then_an_update_embed_nothing_again(
    editable: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(moves, "FILES_PER_COMMIT", 4)
    before, steps = vectors(editable), iter(range(99))

    def counted(function: object) -> object:
        def run(*arguments: object, **options: object) -> object:
            if next(steps) == at:
                raise KeyboardInterrupt
            return function(*arguments, **options)  # type: ignore[operator]

        return run

    os.rename(tmp_path / "sounds", tmp_path / "moved")
    with monkeypatch.context() as patch:
        patch.setattr(moves, "write_card", counted(moves.write_card))
        patch.setattr(moves, "_rewrite", counted(moves._rewrite))
        with contextlib.suppress(KeyboardInterrupt):
            list(move(editable, tmp_path / "sounds", tmp_path / "moved"))
    library, embedder = Library(editable.folder), SketchEmbedder()
    update(library, embedder)
    assert embedder.sounds <= 1  # the reference sound
    stored = vectors(library)
    assert before.keys() == stored.keys()
    assert all(np.array_equal(before[key], stored[key]) for key in before)


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_repeated_move_completes_the_card(editable: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.rename(tmp_path / "sounds", tmp_path / "new")
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(moves, "_finish_card", interrupt)
        list(move(editable, tmp_path / "sounds", tmp_path / "new"))
    assert len(read_card(editable.folder).roots) == 2
    assert list(move(editable, tmp_path / "sounds", tmp_path / "new")) == []
    assert read_card(editable.folder).roots == (str(tmp_path / "new"),)
    with pytest.raises(DataError, match="contains no sounds there"):
        list(move(editable, tmp_path / "sounds", tmp_path / "new"))


def test_what_counts_as_removed() -> None:
    from aural.search.folder import LibraryCard

    card = LibraryCard(
        model="m",
        sample_rate_hz=1,
        embed_dim=1,
        roots=("/a", "/a/b/c"),
        removed=("/a/b", "/a/x.tar", "/a/y.tar!/1.wav"),
    )
    removed = Removed(card)
    assert [path for path in ("/a/b/1.wav", "/a/x.tar!/1.wav", "/a/y.tar!/1.wav") if path not in removed] == []
    assert [path for path in ("/a/1.wav", "/a/b/c/1.wav", "/a/y.tar!/2.wav", "/a/bc.wav") if path in removed] == []
