"""`aural library` and `aural search` on the tiny model: what they print, write and return."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aural.cli.files import whole_windows
from aural.cli.search import clock
from aural.models.pipeline import Model
from aural.search.library import Library
from aural.search.query import combine
from tiny import write_wav

pytest.importorskip("lancedb")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(run_aural: Run) -> Run:
    return run_aural


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for i, seconds in enumerate((0.5, 1.0, 25.0)):
        (tmp_path / "sounds").mkdir(exist_ok=True)
        write_wav(tmp_path / "sounds" / f"{i}.wav", seconds, seed=i, hz=300 + 200 * i)
    (tmp_path / "sounds" / "broken.wav").write_bytes(b"x")
    return tmp_path / "sounds"


def test_add_search_update_and_the_rest(
    run: Run, sounds: Path, tmp_path: Path, tiny_folder: Path, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    code, out, err = run("library", "add", sounds, "-L", library, "--model", tiny_folder)
    assert (code, out.split(";")[0], out.split(";")[1]) == (
        0,
        "3 added, 0 changed, 0 copied, 0 touched, 0 removed, 0 unchanged",
        " 5 windows in the library",
    )
    assert err.splitlines()[0].startswith("skipped: ")
    assert err.splitlines()[1] == "3 sounds; 1 skipped"

    monkeypatch.setenv("AURAL_LIBRARY", str(library))
    arguments = ("rain", "--like", sounds / "0.wav", "--not", "thunder", "--where", "duration < 30", "--json")
    code, out, err = run("search", *arguments)
    query = combine(["rain"], list(tiny.embed_audio([sounds / "0.wav"])), ["thunder"], tiny.embed_text)
    want = Library(library).search(query, 20)
    found = [json.loads(line) for line in out.splitlines()]
    assert (code, err, len(found)) == (0, "", 3)
    assert [(f["path"], f["window"]) for f in found] == [(hit.path, hit.window) for hit in want]
    assert [f["score"] for f in found] == pytest.approx([hit.score for hit in want], abs=1e-4)

    code, out, _ = run("search", "rain", "--where", "duration > 20")
    place = {"0:00 to 0:10", "0:10 to 0:20", "0:15 to 0:25"}
    assert (code, out.split("2.wav ")[1].strip() in place) == (0, True)

    write_wav(sounds / "new.wav", 0.7, seed=9)
    (sounds / "1.wav").unlink()
    code, out, _ = run("library", "update", "--json")
    assert {json.loads(line)["status"] for line in out.splitlines()} == {"added", "removed", "skipped"}
    note = f"note: {sounds}/broken.wav: not in the library yet (or cannot be decoded)\n"
    stored = "1 fragments, 0 indexes (approximate: none), 2 checksums compared\n"
    assert run("library", "check")[:2] == (0, note + stored + "3 files, 5 windows, 0.01 hours; 0 problems\n")
    (tmp_path / "labels.txt").write_text("rain\nwind\n")
    assert run("library", "tag", "--labels-file", tmp_path / "labels.txt")[0] == 0
    assert run("library", "duplicates", "--json")[::2] == (0, "0 groups\n")
    assert run("library", "map", "-o", tmp_path / "map.csv")[0] == 0
    assert (tmp_path / "map.csv").is_file()
    assert run("library", "export", "-o", tmp_path / "all.csv", "--where", "window = 0")[1].endswith("3 rows\n")
    assert run("library", "optimize")[1].endswith("no index; every row is compared\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["search", "rain", "-L", "NONE"], "is not a sound library"),
        (["search", "rain", "-L", "NONE", "--where", "duraton < 3"], 'did you mean "duration"'),
        (["search", "rain", "-L", "NONE", "--not-weight", "-1"], "weight of not"),
        (["library", "update", "-L", "NONE"], "is not a sound library"),
        (["library", "add", "NONE", "-L", "NONE", "--runner", "spark"], "use local or ray"),
        (["library", "check", "-L", "NONE"], "is not a sound library"),
    ],
)
def test_bad_input_is_one_sentence(run: Run, tmp_path: Path, arguments: list[str], told: str) -> None:
    code, out, err = run(*[str(tmp_path / "none") if word == "NONE" else word for word in arguments])
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert told in err


def test_windows_are_whole_windows_of_the_model() -> None:
    assert [whole_windows(s) for s in (10.0, 7.0, 5.0, 2.5, 30.0)] == [10, 7, 10, 10, 30]


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.6, 760, 3723)] == ["0:00", "1:00", "12:40", "1:02:03"]


def test_copies_are_one_hit_on_the_command_line_and_over_http(
    tmp_path: Path, run: Run, tiny_folder: Path, tiny: Model
) -> None:
    """`aural search`, the API and the library give the same files and copies, folded and not."""
    from fastapi.testclient import TestClient

    from aural.serve.app import create_app
    from aural.serve.settings import Settings

    (tmp_path / "sounds").mkdir()
    write_wav(tmp_path / "sounds" / "rain.wav", 1.0, seed=1, hz=300)
    write_wav(tmp_path / "sounds" / "wind.wav", 4.0, seed=2, hz=3000)
    for name in ("b.wav", "c.wav"):
        shutil.copy(tmp_path / "sounds" / "rain.wav", tmp_path / "sounds" / name)
    folder = tmp_path / "library"
    assert run("library", "add", tmp_path / "sounds", "-L", folder, "--model", tiny_folder)[0] == 0
    library = Library(folder)
    query = tiny.embed_text(["rain"])[0]
    with TestClient(create_app(library, tiny, Settings()), "http://localhost") as client:
        for fold in (True, False):
            hits = library.search(query, 10, words=["rain"], fold=fold)
            want = [(hit.path, [copy.path for copy in hit.copies]) for hit in hits]
            flag = "--fold" if fold else "--no-fold"
            lines = run("search", "rain", "-L", folder, flag, "--json")[1].splitlines()
            assert [(one["path"], one["copies"]) for one in map(json.loads, lines)] == want
            answer = client.post("/v1/search", json={"words": ["rain"], "fold": fold}).json()["hits"]
            assert [(one["path"], [copy["path"] for copy in one["copies"]]) for one in answer] == want
            assert sorted(len(copies) for _, copies in want) == ([0, 2] if fold else [0, 0, 0, 0])
    assert "  + 2 copies" in run("search", "rain", "-L", folder)[1]
