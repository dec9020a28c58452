"""File names that harm a terminal, and places that are no files: one skipped entry each, the rest goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aural.audio.find import find_sounds
from aural.core.printable import printable
from aural.search.library import Library
from aural.search.locations import find, listing, source_of
from aural.serve.schemas import SoundHit
from library_toys import write_sound
from sketch import SketchEmbedder
from tiny import write_wav

Run = Callable[..., tuple[int, str, str]]
LABELS = ("--labels", "rain,wind", "--model")


def test_a_name_that_is_not_utf8_is_one_skipped_file(run_aural: Run, tiny_folder: Path, tmp_path: Path) -> None:
    good = write_wav(tmp_path / "ok.wav")
    bad = os.fsdecode(os.fsencode(tmp_path) + b"/k\xe4uz.wav")
    os.rename(write_wav(tmp_path / "a.wav"), bad)
    for arguments in (("classify", bad, good, *LABELS), ("embed", bad, good, "-o", tmp_path / "x.parquet", "--model")):
        code, _, err = run_aural(*arguments, tiny_folder)
        assert (code, "1 sound; 1 skipped" in err) == (0, True)
        assert r"k\xe4uz.wav: its name is not UTF-8; rename the file" in err


def test_a_pipe_is_refused_at_once(run_aural: Run, tiny_folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "pipe.yaml")
    code, _, err = run_aural("classify", tmp_path / "pipe.wav", *LABELS, tiny_folder)
    assert (code, "pipe.wav: is a pipe, not a file; write its content to a file first" in err) == (2, True)
    code, _, err = run_aural("classify", "/dev/zero", "--labels-file", tmp_path / "pipe.yaml", "--model", tiny_folder)
    assert (code, "pipe.yaml: is a pipe, not a file" in err) == (2, True)
    code, _, err = run_aural("train", tmp_path / "pipe.yaml", "--out", tmp_path / "run")
    assert (code, "pipe.yaml: is a pipe, not a file" in err) == (2, True)
    embedder = SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch")
    results = list(library.add([tmp_path / "pipe.wav"], embedder))
    assert [(one.status, str(one.error)) for one in results] == [
        ("skipped", f"{tmp_path / 'pipe.wav'}: is a pipe, not a file; write its content to a file first")
    ]


def test_an_empty_folder_does_not_cost_the_batch(run_aural: Run, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    good = write_wav(tmp_path / "ok.wav")
    code, out, err = run_aural("classify", good, tmp_path / "empty", *LABELS, tiny_folder)
    assert (code, len(out.splitlines())) == (0, 1)
    assert f"skipped: {tmp_path / 'empty'}: holds no sound files" in err
    assert run_aural("classify", good, tmp_path / "empty", *LABELS, tiny_folder, "--strict")[0] == 2


def test_dangling_links_are_named(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nothing.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    sentences = [
        "gone.wav: is a link to a file that does not exist",
        "pipe.wav: is a pipe, socket or device, not a file",
    ]
    assert [str(one) for one in find_sounds([tmp_path]).problems] == [f"{tmp_path}/{text}" for text in sentences]
    errors = [str(one) for one in listing(tmp_path).errors]
    assert errors[0] == f"{tmp_path}/{sentences[0]}"
    assert errors[1].startswith(f"{tmp_path}/pipe.wav: is a pipe")


def test_names_are_escaped_in_the_terminal_and_for_the_page(run_aural: Run, tiny_folder: Path, tmp_path: Path) -> None:
    name = "a\x1b[2J\u202egpj\n.wav"
    file = write_wav(tmp_path / name)
    (tmp_path / "b\x07.wav").write_bytes(b"no sound")
    code, out, err = run_aural("classify", tmp_path, *LABELS, tiny_folder)
    assert (code, len(out.splitlines())) == (0, 1)
    assert not {"\x1b", "\u202e", "\x07"} & set(out + err)
    assert printable(name) == r"a\x1b[2J\u202egpj\x0a.wav"
    assert r"b\x07.wav: is not a sound file" in err
    code, out, _ = run_aural("classify", file, *LABELS, tiny_folder, "--json")
    assert "\u202e" not in out
    assert json.loads(out)["file"] == str(file)
    embedder = SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch")
    list(library.add([file], embedder))
    hit = SoundHit.of(library.search(embedder.embed_text(["rain"])[0])[0])
    assert (hit.path, hit.shown) == (str(file), f"{tmp_path}/{printable(name)}")


def test_a_folder_with_the_separator_of_tars_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "x.tar!" / "inner.tar!"
    file = write_sound(folder / "a.wav", 1.0, 0)
    embedder = SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch")
    assert [one.status for one in library.add([tmp_path / "x.tar!"], embedder)] == ["added"]
    assert source_of(str(file)).path == str(file)
    assert find(str(file)).size == file.stat().st_size
    (tmp_path / "x.tar").write_bytes(bytes(10240))
    errors = [str(error) for error in listing(tmp_path / "x.tar").errors]
    assert errors == [f'{tmp_path}/x.tar: a folder has the name of this tar and "!"; rename one of them']


@pytest.mark.parametrize("text", ["plain", "犬 🐕 naïve", "👩‍🚀"])
def test_other_letters_stay(text: str) -> None:
    assert printable(text) == text
