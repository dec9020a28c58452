"""`aural locate`: equal to the Python call; a file that cannot be read is skipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import aural
from aural.models.locate import Locator

SOUNDS = Path(aural.__file__).parent / "sounds"


def test_the_command_gives_what_the_function_gives(
    run_aural: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    file, broken = SOUNDS / "rooster-crowing.ogg", tmp_path / "broken.wav"
    broken.write_text("no sound")
    code, out, err = run_aural("locate", file, broken, "--text", "a rooster crowing", "--text", "rain", "--json")
    assert code == 0
    assert "broken.wav" in err
    assert "1 skipped" in err
    record = json.loads(out)
    direct = Locator(aural.load(), ["a rooster crowing", "rain"]).locate(file)
    assert [(s["text"], s["onset_s"], s["confidence"]) for s in record["spans"]] == [
        (s.text, round(s.onset_s, 3), round(s.confidence, 6)) for s in direct.spans
    ]
    assert record["best"]["rain"]["confidence"] == round(direct.best["rain"][0], 6)
    assert (record["origin"], record["threshold"]) == ("calibrated", direct.threshold)
    code, out, err = run_aural("locate", file, "--text", "a rooster crowing", "--text", "rain", "--threshold", "0.99")
    assert code == 0
    assert "not heard: rain" in out
    assert "note:" not in err
    code, _, err = run_aural("locate", file, "--text", "rain", "--frame", "1")
    assert code == 0
    assert "confidences are scores, not probabilities" in err


def test_bad_options_are_one_sentence(run_aural: Callable[..., tuple[int, str, str]]) -> None:
    for arguments, sentence in (
        (("--text", ""), "is empty"),
        (("--text", "rain", "--threshold", "2"), "threshold is 2"),
        (("--text", "rain", "--max-gap", "-1"), "max_gap_s is -1"),
        (("--text", "rain", "--frame", "60"), "error: frames of 60 s"),
        (("--text", "rain", "--template", "none"), "has no place for the label"),
    ):
        code, out, err = run_aural("locate", SOUNDS / "sneeze.ogg", *arguments)
        assert (code, out) == (2, ""), arguments
        assert sentence in err
        assert "Traceback" not in err
