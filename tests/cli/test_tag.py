"""`aural tag`: the classes of a tagger over time, as text and as JSON; `aural models` names taggers as such."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

import aural

SOUNDS = Path(aural.__file__).parent / "sounds"


def test_the_command_prints_tags_over_time(run_aural: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run_aural("tag", "--json", "--top", 2, SOUNDS / "rooster-crowing.ogg")
    line = json.loads(out)
    assert code == 0
    assert len(line["windows"]) == 2
    labels = {tag["label"] for window in line["windows"] for tag in window["tags"]}
    assert "Animal" in labels
    assert all(len(window["tags"]) <= 2 for window in line["windows"])
    code, out, _ = run_aural("tag", SOUNDS / "rooster-crowing.ogg")
    assert code == 0
    assert "Animal" in out


def test_the_command_marks_silence_and_refuses_other_models(
    run_aural: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000, np.float32), 16000)
    code, out, _ = run_aural("tag", tmp_path / "silent.wav")
    assert code == 0
    assert "digital silence" in out
    code, _, err = run_aural("tag", "--model", "libre-small", tmp_path / "silent.wav")
    assert code == 2
    assert "is no tagger" in err


def test_models_list_names_it_as_a_tagger(run_aural: Callable[..., tuple[int, str, str]]) -> None:
    _, out, _ = run_aural("models", "list")
    (line,) = [line for line in out.splitlines() if line.startswith("yamnet")]
    assert "sounds only" in line
    code, out, _ = run_aural("models", "show", "yamnet")
    assert code == 0
    assert "Apache-2.0" in out
