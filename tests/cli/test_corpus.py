"""`aural corpus` on a corpus of a few clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aural.audio.io import write
from aural.cli.corpus import app
from aural.core.errors import AuralError
from aural.core.types import Clip
from aural.data.manifest import Row, write_manifest

run = CliRunner().invoke


def corpus(folder: Path, second_group: str = "b") -> Path:
    wave = np.sin(np.arange(8000) / 5).astype(np.float32)[None]
    for name in ("a", "b"):
        write(folder / f"{name}.wav", Clip(wave, 8000))
    given = {"source": "x", "family": "animal", "class_name": "dog", "license": "CC0-1.0", "duration_s": 1.0}
    write_manifest(
        folder / "manifest.parquet",
        [
            Row(path="a.wav", split="train", group="a", **given),  # type: ignore[arg-type]
            Row(path="b.wav", split="test", group=second_group, **given),  # type: ignore[arg-type]
        ],
    )
    return folder


def test_show_prints_counts_and_writes_the_page(tmp_path: Path) -> None:
    result = run(app, ["show", str(corpus(tmp_path))])
    assert result.exit_code == 0
    assert "| animal | dog | 2 | 0.0 | 1 | 0 | 1 | 0 |" in result.output
    assert (tmp_path / "index.html").read_text().count("<audio") == 2


def test_leaks(tmp_path: Path) -> None:
    assert run(app, ["leaks", str(corpus(tmp_path))]).output.strip() == "no leaks"
    result = run(app, ["leaks", str(corpus(tmp_path, second_group="a"))])
    assert isinstance(result.exception, AuralError)
    assert "1 leaks" in str(result.exception)


def test_captions_at_three_levels(tmp_path: Path) -> None:
    folder = corpus(tmp_path)
    result = run(app, ["captions", str(folder), "--out", str(tmp_path / "captions.json"), "--no-model"])
    assert result.exit_code == 0, result.output
    clips = json.loads((tmp_path / "captions.json").read_text())["clips"]
    assert list(clips) == ["a.wav"]  # the other clip is a test clip
    assert "barking dog" in clips["a.wav"]["label"]
    assert all(len(set(texts)) >= 3 for texts in clips["a.wav"].values())


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    result = run(app, ["build", "free", "--out", str(tmp_path)])
    assert 'unknown corpus "free"' in str(result.exception)
    result = run(app, ["build", "libre", "--out", str(tmp_path), "--only", "scrach"])
    assert 'did you mean "scratch"' in str(result.exception)
    result = run(app, ["build", "libre", "--out", str(tmp_path), "--debs", str(tmp_path / "gone")])
    assert "no such folder" in str(result.exception)


@pytest.mark.parametrize("command", ["show", "leaks", "tasks"])
def test_a_missing_corpus_is_named(tmp_path: Path, command: str) -> None:
    assert "no such manifest" in str(run(app, [command, str(tmp_path / "gone")]).exception)
