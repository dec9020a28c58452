"""Test the effect of each change of sounds and words by measurement, and the curves of a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import RandomEmbedder, made_up

from aural.core.types import Clip, FloatArray
from aural.evaluate import cards
from aural.evaluate.robust.changes import SOUND_CHANGES, WORD_CHANGES
from aural.evaluate.robust.curves import robustness

RATE = 16_000


def sine(hz: float = 440.0, seconds: float = 0.5) -> Clip:
    return Clip((0.4 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)[None], RATE)


def changed(name: str, level: float | str, clip: Clip) -> Clip:
    return SOUND_CHANGES[name].apply(clip, level, np.random.default_rng(0))


def power_db(samples: FloatArray) -> float:
    return 10 * float(np.log10(np.mean(samples.astype(np.float64) ** 2)))


def test_levels_are_what_they_say() -> None:
    clip = sine()
    noisy = changed("noise", 10.0, clip)
    assert power_db(clip.samples) - power_db(noisy.samples - clip.samples) == pytest.approx(10, abs=0.3)
    assert power_db(changed("gain", -20.0, clip).samples) == pytest.approx(power_db(clip.samples) - 20, abs=0.01)
    assert changed("speed", 1.25, clip).frames == pytest.approx(clip.frames / 1.25, abs=2)
    cut = changed("clipping", 0.2, clip).samples
    assert np.mean(np.abs(clip.samples) > np.abs(cut).max() + 1e-6) == pytest.approx(0.2, abs=0.01)
    assert power_db(changed("low-pass", 1000.0, sine(3000)).samples[:, 2000:6000]) < power_db(clip.samples) - 60
    assert power_db(changed("low-pass", 1000.0, clip).samples) == pytest.approx(power_db(clip.samples), abs=0.2)
    assert power_db(changed("high-pass", 1000.0, sine(100)).samples[:, 2000:6000]) < power_db(clip.samples) - 30
    assert power_db(changed("reverberation", 0.5, clip).samples) == pytest.approx(power_db(clip.samples), abs=0.1)


@pytest.mark.parametrize("how", SOUND_CHANGES["codec"].levels)
def test_codecs_keep_the_tone(how: str) -> None:
    found = changed("codec", how, sine())
    spectrum = np.abs(np.fft.rfft(found.samples[0]))
    assert np.argmax(spectrum) * found.sample_rate_hz / found.frames == pytest.approx(440, abs=5)


def test_words() -> None:
    assert WORD_CHANGES["negation"]("A dog barking.") == "there is no dog barking"
    assert WORD_CHANGES["word order"]("a dog barks") == "barks dog a"
    assert WORD_CHANGES["paraphrase"]("a loud car") == "what one hears here is a noisy automobile"


def test_curves_of_a_task(tmp_path: Path) -> None:
    class Hearing(RandomEmbedder):
        def embed_audio(self, clips: list[object]) -> FloatArray:
            keys = [str(c.samples.sum()) if isinstance(c, Clip) else Path(str(c)).name for c in clips]
            return np.stack([self._vector(key) for key in keys])

    card = cards.task("sesa")
    root = made_up(card, tmp_path / "data", 12)
    for path in (tmp_path / "data").rglob("*.wav"):
        soundfile.write(path, sine(300 + len(path.name)).samples[0], RATE)
    # the manifest says 10 s, the files hold half a second: they are read as they are
    found = robustness(Hearing(), [card], root, tmp_path / "out", changes=["noise", "codec", "negation"])
    curve = found["sesa"]["noise"]
    assert len(curve["scores"]) == len(curve["levels"]) == 5
    assert found["sesa"]["codec"]["levels"][0] == "unchanged"
    assert found["sesa"]["words"]["levels"] == ["unchanged", "negation"]
    assert (tmp_path / "out" / "robustness.json").is_file()
