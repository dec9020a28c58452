"""Commands on a damaged library: one sentence that names it and proposes the repair, exit code 2, no traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("lancedb")

from aural.search.folder import DamagedLibraryError
from aural.search.library import Library
from library_toys import write_sound
from sketch import SketchEmbedder

Runner = Callable[..., tuple[int, str, str]]
COMMANDS = [
    ("search", "rain"),
    ("library", "duplicates"),
    ("library", "map"),
    ("library", "export", "-o", "OUT"),
    ("library", "optimize"),
    ("library", "update"),
    ("library", "add", "SOUND"),
    ("library", "tag", "--labels-file", "LABELS"),
    ("serve",),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    embedder = SketchEmbedder()
    library = Library.create(folder / "library", embedder, model="sketch")
    list(library.add([write_sound(folder / "sounds" / "a.wav", 1.0, 1)], embedder, roots=[folder / "sounds"]))
    (folder / "labels.txt").write_text("rain\n")
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_every_command_proposes_the_repair(
    small: Path, tmp_path: Path, run_aural: Runner, command: tuple[str, ...]
) -> None:
    library = tmp_path / "library"
    shutil.copytree(small / "library", library)
    text = (library / "library.json").read_text()
    (library / "library.json").write_text(text.replace('"window_s": 10', '"window_s": 18'))
    words = {"OUT": tmp_path / "out.csv", "SOUND": small / "sounds" / "a.wav", "LABELS": small / "labels.txt"}
    code, out, err = run_aural(*(words.get(word, word) for word in command), "--library", library)
    sentence = DamagedLibraryError(library, "library.json: a value changed since it was written")
    assert (code, out, err.splitlines()) == (2, "", [f"error: {sentence}"])
    assert not (tmp_path / "out.csv").exists()


def test_check_and_repair(small: Path, tmp_path: Path, run_aural: Runner) -> None:
    library = tmp_path / "library"
    shutil.copytree(small / "library", library)
    (library / "library.json").unlink()
    code, out, err = run_aural("library", "check", "--library", library)
    assert code == 1
    assert "problem: library.json: is missing or damaged" in out
    assert "1 fragments, 0 indexes (approximate: none), 2 checksums compared" in out
    assert err == f"run `aural library repair --library {library}`\n"
    code, out, err = run_aural("library", "repair", "--library", library)
    assert (code, err) == (0, "")
    assert "repaired: library.json: restored from safety/library.json" in out
    assert run_aural("library", "check", "--library", library)[0] == 0
    assert run_aural("library", "repair", "--library", library)[1] == "the library is in order; nothing was changed\n"
