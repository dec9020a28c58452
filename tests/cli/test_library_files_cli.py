"""`aural library list`, `info`, `remove`, `move` and `watch`: what they print and leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("lancedb")
from aural.search.library import Library
from library_toys import build_library, write_sound
from sketch import SketchEmbedder

Run = Callable[..., tuple[int, str, str]]


class Model(SketchEmbedder):
    """What `ModelOptions.open` expects of a model."""

    computes = precision = "fp32"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    (tmp_path / "sounds").mkdir()
    monkeypatch.setenv("AURAL_LIBRARY", str(tmp_path / "library"))
    return build_library(tmp_path, [0.5, 1.0, 6.0], "silent.wav")


def test_list_info_remove_and_move(run_aural: Run, library: Library, tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    code, out, err = run_aural("library", "list")
    assert (code, err, len(out.splitlines())) == (0, "4 files, 0.00 hours\n", 4)
    assert out.splitlines()[0] == f"     0.50 s  {sounds}/Effects/00.wav"
    code, out, _ = run_aural("library", "list", "*0?.wav", "--where", "duration > 0.7", "--json")
    assert [Path(json.loads(line)["path"]).name for line in out.splitlines()] == ["02.wav", "01.wav"]

    values = json.loads(run_aural("library", "info", "--json")[1])
    assert (values["files"], values["windows"], values["roots"]) == (4, 5, {str(sounds): 4})
    assert values["formats"] == {"wav": 4}
    out = run_aural("library", "info")[1]
    assert f"       4  {sounds}" in out
    assert "model: sketch\n" in out
    assert json.loads(run_aural("library", "info", sounds / "Effects" / "02.wav", "--json")[1])["windows"] == 2

    code, out, err = run_aural("library", "remove", "--where", "silent", "--dry-run")
    assert (code, out, err) == (0, f"would be removed: {sounds}/silent.wav\n", "1 would be removed\n")
    assert len(library.files()) == 4
    assert run_aural("library", "remove", "--where", "silent")[:2] == (0, f"removed: {sounds}/silent.wav\n")
    assert len(library.files()) == 3
    code, out, err = run_aural("library", "remove")
    assert (code, err.count("\n")) == (2, 1)

    os.rename(sounds, tmp_path / "new")
    assert run_aural("library", "move", sounds, tmp_path / "new", "--dry-run")[1].startswith("3 would be moved")
    code, out, err = run_aural("library", "move", sounds, tmp_path / "new")
    assert (code, out, err) == (0, f"3 moved to {tmp_path}/new\n", "3 sounds\n")
    code, _, err = run_aural("library", "move", sounds, tmp_path / "new")
    assert (code, err.count("\n")) == (2, 1)
    assert run_aural("library", "check")[0] == 0


def test_watch_ends_cleanly(library: Library, tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    start = "import sys; from aural.models import load; from sketch import SketchEmbedder; "
    start += "load.load = lambda *a, **k: Model(); from aural.cli.main import main; "
    start += "Model = type('Model', (SketchEmbedder,), {'computes': 'fp32', 'precision': 'fp32'}); main()"
    command = [sys.executable, "-c", start, "library", "watch", "--quiet", "0.1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        (tmp_path / "sounds" / "broken.wav").write_bytes(b"x")
        line = process.stdout.readline()
        write_sound(tmp_path / "sounds" / "late.wav", 0.5, 9)
        while not line.startswith("added"):
            assert line, process.communicate()
            line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (line, out) == (f"added: {tmp_path}/sounds/late.wav\n", "")
    assert (process.returncode, err) == (0, "stopped; 1 skipped, 1 added\n")
    assert len(Library(library.folder).files()) == 5


def test_notebook(run_aural: Run, library: Library, tmp_path: Path) -> None:
    folder = tmp_path / "sounds" / "Effects"
    assert run_aural("library", "favorite", folder)[:2] == (0, "2 sounds are favorites\n")
    assert run_aural("library", "favorite", folder / "00.wav", "--off")[0] == 0
    assert run_aural("library", "rate", "*.wav", "--stars", "3", "--where", "duration > 0.7")[1].startswith("2 sounds")
    assert run_aural("library", "note", folder / "02.wav", "--text", "too loud")[0] == 0
    assert run_aural("library", "collect", "doors", folder)[:2] == (0, "2 sounds are in doors\n")
    assert run_aural("library", "collections")[1] == "      2  doors\n"
    code, out, _ = run_aural("library", "list", "--favorites", "--min-stars", "3", "--collection", "doors", "--json")
    assert [Path(json.loads(line)["path"]).name for line in out.splitlines()] == ["02.wav"]
    values = json.loads(run_aural("library", "info", folder / "02.wav", "--json")[1])
    marks = {"favorite": True, "stars": 3, "note": "too loud", "collections": ["doors"]}
    assert values.items() >= marks.items()
    out_file = tmp_path / "doors.m3u"
    assert run_aural("library", "export", "-o", out_file, "--collection", "doors")[1] == f"{out_file}: 2 rows\n"
    assert run_aural("library", "export", "-o", tmp_path / "all.csv", "--per-file")[1].endswith("4 rows\n")
    assert run_aural("library", "collections", "--delete", "doors")[:2] == (0, "")
    for arguments in (["collections", "--delete", "doors"], ["favorite"], ["list", "--collection", "doors"]):
        code, out, err = run_aural("library", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)


def test_history_of_searches(run_aural: Run, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aural.models.load.load", lambda *_, **__: Model())
    assert run_aural("search", "rain", "--not", "wind", "--where", "duration < 3")[0] == 0
    assert run_aural("search", "secret", "--no-remember")[0] == 0
    out = run_aural("library", "history", "--json")[1]
    past = json.loads(out)
    assert (past["query"], past["hits"]) == ({"words": ["rain"], "not": ["wind"], "where": "duration < 3"}, 3)
    assert run_aural("library", "history")[1].endswith("3 hits  " + json.dumps(past["query"]) + "\n")
    assert run_aural("library", "history", "--clear")[:2] == (0, "")


def test_reindex_switch_and_rollback(run_aural: Run, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aural.models.load.load", lambda name, **_: Model(int(name == "other")))
    monkeypatch.setattr(Model, "window_s", 2.5, raising=False)
    code, out, err = run_aural("library", "reindex", "--model", "other")
    assert (code, out, err) == (0, "other: 4 embedded, 0 copied, 0 kept\n", "4 sounds\n")
    spaces = "first: sketch, 4 files, active\nother: other, 4 files, 0 missing\n"
    assert run_aural("library", "spaces")[:2] == (0, spaces)
    assert run_aural("library", "reindex", "--model", "other", "--switch")[1] == (
        "other: 0 embedded, 0 copied, 4 kept\nother is active; `aural library rollback` takes it back\n"
    )
    assert run_aural("library", "switch", "other")[1] == "other is the active space already\n"
    assert json.loads(run_aural("library", "info", "--json")[1])["model"] == "other"
    assert run_aural("search", "rain")[0] == 0
    assert run_aural("library", "rollback")[:2] == (0, "first is active again\n")
    assert run_aural("library", "spaces", "--delete", "other")[1] == "first: sketch, 4 files, active\n"
    code, out, err = run_aural("library", "switch", "other")
    assert (code, out, err.count("\n")) == (2, "", 1)
