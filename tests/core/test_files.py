"""Atomic writing: the old content or the new one, a sentence when the system refuses, and no leftovers."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from aural.core.errors import CheckpointError, DataError, WriteError
from aural.core.files import atomic_write, delete, made_parents, system_reason, write_text


def test_the_old_content_stays_when_the_block_fails(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), atomic_write(target) as part:
        part.write_text(str(1 / 0))
    assert target.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(CheckpointError, match=r"a\.txt: cannot be written \(No space left on device\)"):
        write_text(tmp_path / "a.txt", "new", CheckpointError)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing/a\.txt: the folder .*missing does not exist; create it first"):
        write_text(tmp_path / "missing" / "a.txt", "new")


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(DataError, match=r"a\.txt: is a folder; name a file$"):
        write_text(tmp_path / "a.txt", "new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_moved_whole_and_keeps_its_suffix(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "model.d") as part:
        assert part.suffix == ".d"
        part.mkdir()
        (part / "x").write_text("x")
    assert (tmp_path / "model.d" / "x").read_text() == "x"
    assert [file.name for file in tmp_path.iterdir()] == ["model.d"]


def test_a_refused_deletion_names_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`shutil.rmtree` names the last part of the path."""
    folder = tmp_path / "copies" / "part"
    folder.mkdir(parents=True)

    def refuse(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", Path(path).name)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        with pytest.raises(WriteError, match=rf"^{folder}: cannot be deleted \(Input/output error\); "):
            delete(folder)
    delete(folder)
    delete(folder)  # it is not there any more
    assert list(tmp_path.iterdir()) == [tmp_path / "copies"]


def test_created_folders_disappear_unless_something_is_in_them(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "run.json"
    with pytest.raises(ZeroDivisionError), made_parents(file):
        file.with_name(str(1 / 0)).touch()
    assert list(tmp_path.iterdir()) == []
    with made_parents(file):
        file.write_text("{}")
    assert file.is_file()


@pytest.mark.parametrize("text", ["basic_ios::clear: iostream error", "PytorchStreamWriter failed writing file x"])
def test_errors_of_torch_are_errors_of_the_disk(text: str) -> None:
    assert system_reason(RuntimeError(text)) == "the disk refused a part of it"
    assert system_reason(RuntimeError("an index is out of range")) is None
