"""`aural ask` with files and questions that it cannot use: one sentence each, exit code 2, and the batch goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.audio.io import is_silent

Run = Callable[..., tuple[int, str, str]]
RATE = 16_000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with noise, digital silence, one sample, an empty file and a text file."""
    folder = tmp_path_factory.mktemp("sounds")
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE)
    for name, samples in (("noise", noise), ("silent", np.zeros(2 * RATE)), ("one", np.full(1, 0.1))):
        soundfile.write(folder / f"{name}.wav", samples, RATE)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("no sound")
    (folder / "folder").mkdir()
    return folder


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("   ", "the question is blank"),
        ("", "an argument is empty"),
        ("why does it rain?", 'answers no free question but "what is heard?"'),
        ("how often is heard?", "answers no free question"),
        ("is rain before Rain?", "names the same sound twice"),
        ("which is louder, rain or rain?", "names the same sound twice"),
    ],
)
def test_a_question_that_cannot_be_answered_ends_with_one_sentence(
    run_aural: Run, sounds: Path, question: str, message: str
) -> None:
    code, out, err = run_aural("ask", sounds / "noise.wav", sounds / "missing.wav", question)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in err


def test_yes_and_no_do_not_fit_every_question(run_aural: Run, sounds: Path) -> None:
    code, out, err = run_aural("ask", sounds / "noise.wav", "which is louder, rain or wind?", "--yes-no")
    assert (code, out) == (2, "")
    assert 'yes or no is answered only to "is there ...?", "is ... before ...?" and "is ... louder than ...?"' in err
    code, out, _ = run_aural("ask", sounds / "silent.wav", "is rain louder than wind?", "--yes-no")
    assert (code, out.strip()) == (0, f"{sounds / 'silent.wav'}  no (neither is heard)")


@pytest.mark.parametrize("question", ["is rain louder than wind?", "how often is rain heard?", "how loud is rain?"])
def test_a_batch_goes_on_after_files_that_cannot_be_read(run_aural: Run, sounds: Path, question: str) -> None:
    names = ["missing.wav", "one.wav", "empty.wav", "text.wav", "folder", "silent.wav", "noise.wav"]
    code, out, err = run_aural("ask", *(sounds / name for name in names), question, "--json")
    assert code == 0
    rows = {Path(row["file"]).name: row for row in map(json.loads, out.splitlines())}
    assert list(rows) == ["silent.wav", "noise.wav"]
    silent = {"is rain louder than wind?": "no", "how often is rain heard?": "never", "how loud is rain?": "not heard"}
    assert (rows["silent.wav"]["answer"], rows["silent.wav"]["kind"]) == (silent[question], "located")
    skipped = [line for line in err.splitlines() if line.startswith("skipped: ")]
    for name, reason in (
        ("missing.wav", "no such file"),
        ("one.wav", "a sound needs at least 5 ms"),
        ("empty.wav", "the file is empty"),
        ("text.wav", "is not a sound file"),
        ("folder", "holds no sound files"),
    ):
        assert any(name in line and reason in line for line in skipped), name
    assert len(skipped) == 5
    assert run_aural("ask", *(sounds / name for name in names[:5]), question)[0] == 2


def test_silence_is_called_so(run_aural: Run, sounds: Path) -> None:
    for command in (["ask", sounds / "silent.wav", "what is heard?"], ["caption", sounds / "silent.wav"]):
        code, out, _ = run_aural(*command)
        assert code == 0
        assert out.strip() == f"{sounds / 'silent.wav'}  digital silence"
    assert [is_silent(sounds / name) for name in ("silent.wav", "noise.wav")] == [True, False]
    late = np.zeros(40 * RATE, np.float32)
    late[-1] = 1e-6
    assert not is_silent((late, RATE))
