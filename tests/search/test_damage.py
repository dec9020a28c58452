"""Damaged libraries: every command refuses them with a sentence, `check` reports them, `repair` loses no vector."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from damages import DAMAGES, all_damages, build, file_classes, rows_of, try_damage
from run_library import WideEmbedder

from aural.core.errors import DataError
from aural.search.check import check
from aural.search.checksums import damages, newest_version, read_record
from aural.search.lance_files import read_version, version_names
from aural.search.library import Library
from aural.search.repair import repair
from library_toys import write_sound

HARMLESS = {"copy of the card", "copy of the manifest", "version hint", "map", "word index", "lock"}
"""Files without which a library answers; Lance does not rely on its version hint."""

QUICK = [
    ("card", "delete"),
    ("card", "flip middle"),
    ("copy of the card", "half"),
    ("checksums", "flip middle"),
    ("copy of the manifest", "append"),
    ("manifest", "delete"),
    ("manifest", "flip middle"),
    ("deleted rows", "flip last"),
    ("vector index", "flip middle"),
    ("filter index", "delete"),
    ("map", "half"),
    ("word index", "half"),
    ("word index", "folder"),
    ("lock", "folder"),
]


@pytest.fixture(scope="module")
def damaged_later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("damage"), keep_versions=False)


@pytest.fixture
def copy(damaged_later: Path, tmp_path: Path) -> Path:
    """Return a copy of the library that a test may damage."""
    shutil.copytree(damaged_later, tmp_path / "library")
    return tmp_path / "library"


def test_the_manifest_names_the_files_that_are_there(damaged_later: Path) -> None:
    version = newest_version(damaged_later)
    library = Library(damaged_later)
    stats = library.store.stats()
    assert (version.number, len(version.fragments)) == (library.store.version, stats["fragments"])
    assert len(version.indexes) == len(library.store.indexes()) == 7
    files = version.files(damaged_later / "sounds.lance")
    assert all((damaged_later / "sounds.lance" / name).is_file() for name in files)
    assert sum(part.rows for part in version.fragments) == stats["rows"] + 1  # the row of the deleted sound
    record = read_record(damaged_later)
    assert sorted(record.files) == sorted(f"sounds.lance/{name}" for name in files)
    assert check(damaged_later).problems == []


def test_a_manifest_with_any_byte_flipped_is_no_crash(copy: Path) -> None:
    table = copy / "sounds.lance"
    name = version_names(table)[0][1]
    content = (table / name).read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 0x80
        (table / name).write_bytes(changed)
        assert [one.reason for one in damages(copy)] == ["its content changed"]
        with contextlib.suppress(DataError):  # a flipped byte may give another valid manifest
            read_version(table, name)


@pytest.mark.parametrize(("what", "damage"), QUICK)
def test_repaired_without_the_model(damaged_later: Path, tmp_path: Path, what: str, damage: str) -> None:
    name = file_classes(damaged_later)[what]
    outcome = try_damage(damaged_later, tmp_path / "library", name, DAMAGES[damage])
    assert outcome.use == ("answers" if what in HARMLESS else "refused")
    assert outcome.problems
    assert (outcome.problems_after, outcome.same_rows) == ([], True)
    assert outcome.report.actions
    assert (outcome.report.embedded, outcome.report.lost) == ([], [])


def test_only_the_sound_of_a_flipped_vector_is_embedded_again(damaged_later: Path, tmp_path: Path) -> None:
    name = file_classes(damaged_later)["data"]
    outcome = try_damage(damaged_later, tmp_path / "library", name, DAMAGES["flip middle"])
    assert outcome.use == "refused"
    assert any("its content changed" in line for line in outcome.problems)
    assert (outcome.problems_after, outcome.same_rows) == ([], False)  # the tags of one sound are lost
    assert (len(outcome.report.embedded), outcome.report.files_kept, outcome.report.lost) == (1, 38, [])


def test_lost_data_is_embedded_again_and_lost_sounds_are_named(copy: Path, damaged_later: Path) -> None:
    before = rows_of(copy)
    (copy / file_classes(copy)["data"]).unlink()
    embedder = WideEmbedder()
    report = repair(copy, lambda model: embedder)
    assert (len(report.embedded), report.files_kept, report.lost) == (39, 0, [])
    after = rows_of(copy)
    for column in ("file", "path", "window", "start", "end", "hash"):
        assert after[column].to_pylist() == before[column].to_pylist()
    np.testing.assert_array_equal(
        np.stack(after["vector"].to_numpy(zero_copy_only=False)),
        np.stack(before["vector"].to_numpy(zero_copy_only=False)),
    )
    assert check(copy).problems == []


def test_a_damaged_row_whose_sound_is_gone_is_lost(copy: Path, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "gone.wav", 0.5, 1)
    embedder = WideEmbedder()
    library = Library(copy)
    list(library.add([sound], embedder))
    library.store._table.update(where=f"path = '{sound}'", values={"duration": 0.7})
    sound.unlink()
    assert [line.rpartition("/")[2] for line in check(copy).problems] == [
        "gone.wav: its windows do not cover it from start to end"
    ]
    report = repair(copy, lambda model: embedder)
    assert len(report.lost) == 1
    assert report.lost[0].startswith(f"{sound}: ")
    assert (report.files_kept, report.embedded) == (39, [])
    assert check(copy).problems == []


def test_a_library_in_order_is_left_alone(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path.name != "writer.lock"}
    report = repair(copy, lambda model: pytest.fail("the model is not needed"))
    assert (report.actions, report.embedded, report.lost) == ([], [], [])
    assert before == {path: path.read_bytes() for path in before}


def test_card_and_copy_lost_needs_the_model_name(copy: Path) -> None:
    for name in ("library.json", "safety/library.json"):
        (copy / name).unlink()
    embedder = WideEmbedder()
    with pytest.raises(DataError, match="--model"):
        repair(copy, lambda model: embedder)
    repair(copy, lambda model: embedder, model="wide")
    library = Library(copy)
    assert (library.card.model, library.card.window_s, library.card.roots) == ("wide", 1.0, ())
    assert library.store.count() == rows_of(copy).num_rows > 0


def test_other_folders_are_not_repaired(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="is not a sound library"):
            repair(folder, lambda model: WideEmbedder())
        with pytest.raises(DataError, match="is not a sound library"):
            check(folder)


def test_a_missing_index_is_reported(copy: Path) -> None:
    shutil.rmtree(copy / "sounds.lance" / "_indices")
    problems = check(copy).problems
    assert any("_indices" in line and "is missing" in line for line in problems)
    report = repair(copy, lambda model: pytest.fail("the model is not needed"))
    assert any("indexes built again" in line for line in report.actions)
    checked = check(copy)
    assert (checked.problems, checked.indexes, checked.index) == ([], 7, "IvfRq")


@pytest.mark.slow
@pytest.mark.parametrize("keep_versions", [True, False], ids=["earlier versions kept", "newest version only"])
def test_every_damage(tmp_path: Path, keep_versions: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Every class of file, damaged in every way; prints the table of `docs/search/faults.md`."""
    library = build(tmp_path, keep_versions=keep_versions)
    lines: list[str] = []
    embedded = Counter[str]()
    for what, name, damage in all_damages(library):
        outcome = try_damage(library, tmp_path / "copy", name, DAMAGES[damage])
        report = outcome.report
        assert outcome.problems_after == [], (what, damage)
        assert report.lost == [], (what, damage)
        assert outcome.problems or what in HARMLESS, (what, damage)
        assert outcome.same_rows or what == "data", (what, damage)  # the tags of an earlier version
        embedded[what] += len(report.embedded)
        kept = f"{len(report.embedded)} of 39 embedded again" if report.embedded else "all rows kept"
        lines.append(f"| {what} | {damage} | {outcome.use} | {len(outcome.problems)} | {kept} |")
    with capsys.disabled():
        print("\n| file | damage | search | problems | repair |\n|---|---|---|---|---|", *lines, sep="\n")
    assert not keep_versions or not sum(embedded.values())
    assert set(embedded) - {what for what in embedded if embedded[what]} >= HARMLESS
