"""Selection and ranks of `tools/score_named.py`, on noise whose likeness is planted."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from aural.audio.io import write
from aural.core.types import Clip
from aural.data.manifest import Row, from_rows


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "tools")
    return importlib.import_module("score_named")


def noise(seed: int, seconds: float = 0.5) -> Clip:
    """Return noise whose level rises and falls in a random way."""
    generator = np.random.default_rng(seed)
    levels = np.repeat(generator.uniform(0.05, 1, 20), round(800 * seconds))
    return Clip((0.2 * levels * generator.normal(size=len(levels))).astype(np.float32)[None], 16_000)


def row(folder: Path, path: str, clip: Clip, **columns: Any) -> Row:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, clip)
    return Row(path=path, **{"source": "enigma", "split": "train", "class_name": "rain", **columns})


def test_rows_like_a_fresh_sound_are_left_out(tool: ModuleType, tmp_path: Path) -> None:
    corpus, fresh = tmp_path / "corpus", tmp_path / "fresh"
    rows = [
        row(corpus, "new.wav", noise(1)),
        row(corpus, "copy.wav", Clip(0.5 * noise(2).samples, 16_000)),  # a fresh sound, quieter
        row(corpus, "a/Bell.wav", noise(3)),  # the file name of a fresh sound
        row(corpus, "nameless.wav", noise(4), class_name=""),
        row(corpus, "trained.wav", noise(5), source="scratch"),
    ]
    chosen = [row(fresh, "two.wav", noise(2)), row(fresh, "b/bell.wav", noise(6))]
    kept = tool.named_rows(from_rows(rows, corpus), from_rows(chosen, fresh))
    assert [one.path for one in kept] == ["new.wav"]


class Planted:
    """Embeds the three sounds and two classes of the test below."""

    def embed_audio(self, sounds: Any) -> np.ndarray:
        assert [round(sound.samples.shape[1] / sound.sample_rate_hz, 3) for sound in sounds] == [0.5, 20.0, 0.5]
        return np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])

    def embed_text(self, texts: list[str]) -> np.ndarray:
        assert texts == ["the sound of bell", "the sound of rain"]
        return np.eye(2)


def test_ranks_shares_and_report(tool: ModuleType, tmp_path: Path) -> None:
    rows = [
        row(tmp_path, "0.wav", noise(1), class_name="bell"),
        row(tmp_path, "1.wav", noise(2, 21.0), class_name="rain"),
        row(tmp_path, "2.wav", noise(3), class_name="rain", source="flare"),
    ]
    places = tool.ranks(Planted(), from_rows(rows, tmp_path), rows)
    assert places.tolist() == [1, 1, 2]
    lines = tool.report("planted", rows, places).splitlines()
    assert lines[0].startswith("planted top-1 0.667 [")
    assert lines[1].startswith("planted MRR 0.833 [")
    assert lines[2:] == [
        "planted top-1, mean over 2 classes 0.750",
        "planted top-1 by source: enigma 1.000 of 2, flare 0.000 of 1",
    ]
