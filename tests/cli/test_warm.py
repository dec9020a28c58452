"""The background process of `aural search --warm` answers as a new process does, and ends by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("lancedb")

import aural
from aural.cli import warm
from aural.search.library import Library
from library_toys import build_library, write_sound
from sketch import SketchEmbedder

PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from sketch import SketchEmbedder
from aural.models import load
class Model(SketchEmbedder):
    precision = computes = "fp32"
load.load = lambda *a, **k: Model()
from aural.cli.warm_server import serve
from pathlib import Path
serve(Path({path!r}), {minutes}, ["search", "warm up", "--library", {library!r}])
"""


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return build_library(tmp_path, [0.5, 1.0, 1.5], "silent.wav")


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder for sockets with a short path, as their paths are limited to 107 characters."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def process(library: Library, minutes: float) -> subprocess.Popen[bytes]:
    """Start a background process whose model is the sketch, and wait for its socket."""
    path = warm.socket_path(warm.environment())
    assert path is not None
    values = {"tests": str(Path(__file__).parents[1]), "path": str(path), "minutes": minutes}
    program = PROGRAM.format(library=str(library.root), **values)
    running = subprocess.Popen([sys.executable, "-c", program])
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        assert running.poll() is None
        time.sleep(0.05)
    return running


def test_answers_are_those_of_the_newest_library(
    library: Library, runtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = process(library, 0.5)
    try:
        arguments = ["search", "rain", "--library", str(library.root), "--warm"]
        monkeypatch.chdir(library.root)
        assert warm.answered(arguments) == 0
        first = capsys.readouterr()
        want = library.search(SketchEmbedder().embed_text(["rain"])[0], words=["rain"])
        assert [line.split("  ")[1] for line in first.out.splitlines()] == [hit.path for hit in want]
        added = write_sound(library.root.parent / "sounds" / "rain.wav", 1.0, 9)
        list(library.add([added], SketchEmbedder()))
        assert warm.answered(["search", "rain", "--library", ".", "--warm"]) == 0
        assert f"{added}  [name]" in capsys.readouterr().out
        assert warm.answered([*arguments, "--where", "wrong"]) == 2
        assert capsys.readouterr().err.startswith("error: filter: ")
        assert warm.answered(["search", "rain", "--library", str(runtime), "--warm"]) == 2
        assert "is not a sound library" in capsys.readouterr().err
        monkeypatch.setattr(aural, "__version__", "0.0.1")  # of another version
        assert warm.answered(arguments) is None
    finally:
        running.kill()
        running.wait()
    monkeypatch.undo()


def test_it_ends_when_nothing_asks(library: Library, runtime: Path) -> None:
    running = process(library, 0.02)
    assert running.wait(timeout=60) == 0
    assert not list((runtime / "aural").glob("*.sock"))
    assert warm.answered(["search", "rain", "--library", str(library.root)]) is None


def test_a_folder_that_others_can_open_is_not_used(runtime: Path) -> None:
    path = warm.socket_path({})
    assert path is not None
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.parent.chmod(0o755)
    assert warm.socket_path({}) is None


def test_when_a_process_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(warm.IDLE_VARIABLE, raising=False)
    assert warm.idle_minutes(["search", "rain"]) == 0
    assert warm.idle_minutes(["search", "rain", "--warm"]) == warm.IDLE_MINUTES
    assert warm.idle_minutes(["search", "-i", "--warm"]) == 0
    monkeypatch.setenv(warm.IDLE_VARIABLE, "2")
    assert warm.idle_minutes(["search", "rain"]) == 2
    assert warm.idle_minutes(["search", "rain", "--no-warm"]) == 0
    assert warm.idle_minutes(["tag", "rain"]) == 0
    monkeypatch.setenv(warm.IDLE_VARIABLE, "no number")
    assert warm.idle_minutes(["search", "rain"]) == 0


def test_other_variables_have_another_process(runtime: Path) -> None:
    first = warm.socket_path({"AURAL_ENGINE": "onnx"})
    assert first != warm.socket_path({"AURAL_ENGINE": "torch"})
    assert first == warm.socket_path({"AURAL_ENGINE": "onnx", "AURAL_LIBRARY": "elsewhere"})


def test_interactive_answers_each_line(
    library: Library, run_aural: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aural.models import load

    class Model(SketchEmbedder):
        precision = computes = "fp32"

    opened = []
    monkeypatch.setattr(load, "load", lambda *names, **options: opened.append(names) or Model())
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as lines:
        lines.write("rain\n\n  dog  \n")
    with os.fdopen(read_end) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        code, out, err = run_aural("search", "-i", "--library", library.root, "--top", 1)
    assert (code, err, len(opened)) == (0, "", 1)
    embedder = SketchEmbedder()
    want = [library.search(embedder.embed_text([text])[0], 1, words=[text])[0].path for text in ("rain", "dog")]
    assert [line.split("  ")[1] for line in out.splitlines() if line] == want
    assert [past.query for past in library.notebook.history()] == [{"words": ["dog"]}, {"words": ["rain"]}]
