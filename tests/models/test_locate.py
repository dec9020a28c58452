"""Frames cover a sound exactly; spans follow from scores by hand; the command gives what the function gives."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aural
from aural.core.errors import AudioError, ConfigError
from aural.core.types import Clip
from aural.core.vectors import unit_rows
from aural.models import frames as frames_module
from aural.models.embedding import EmbeddingModel
from aural.models.frame_calibration import FrameCalibration, read_calibration
from aural.models.frames import short_frames
from aural.models.locate import LocateConfig, Locator, Track

RATE = 1000


class Levels(EmbeddingModel):
    """A model whose vector of a frame is (level, 1 - level): "loud" is heard where the level is 1."""

    name, device, precision = "levels", "cpu", "fp32"
    embed_dim = 2
    audio_input = SimpleNamespace(sample_rate_hz=RATE, window_s=2.0, shorter="repeat")  # type: ignore[assignment]
    logit_scale, logit_bias = 20.0, -10.0  # type: ignore[assignment]

    def __init__(self, batch: int = 3) -> None:
        self.windows_a_batch = batch
        self.waves: list[Any] = []

    def embed_waves(self, waves: Any) -> Any:
        self.waves += list(waves)
        level = np.abs(waves).mean(axis=1)
        return unit_rows(np.stack([level, 1 - level], axis=1))

    def embed_texts(self, texts: list[str]) -> Any:
        return unit_rows([[1.0, 0.0] if "loud" in text else [0.0, 1.0] for text in texts])


def frames_of(samples: Any, model: Any, **options: float) -> tuple[Any, Any]:
    parts = list(short_frames(model, Clip(np.asarray(samples, np.float32)[None], RATE), **options))
    return np.concatenate([part.vectors for part in parts]), np.concatenate([part.times_s for part in parts])


@settings(deadline=None, max_examples=60)
@given(st.integers(5, 9000), st.sampled_from([(1.0, 0.5), (1.0, 1.0), (0.5, 0.2), (2.0, 0.1)]), st.integers(1, 7))
def test_frames_cover_every_sample_and_do_not_depend_on_batches(
    count: int, size: tuple[float, float], batch: int
) -> None:
    frame_s, hop_s = size
    ramp = (np.arange(count) + 1) / 10000
    model = Levels(batch)
    vectors, times = frames_of(ramp, model, frame_s=frame_s, hop_s=hop_s)
    assert times[0, 0] == 0
    assert times[-1, 1] == pytest.approx(count / RATE)
    assert (times[1:, 0] == times[:-1, 1]).all()
    assert (times[:, 1] > times[:, 0]).all()
    heard = {round(float(x), 4) for wave in model.waves for x in wave[: round(frame_s * RATE)]}
    assert heard == {round(float(x), 4) for x in ramp.astype(np.float32)}
    np.testing.assert_array_equal(vectors, frames_of(ramp, Levels(50), frame_s=frame_s, hop_s=hop_s)[0])


def test_frames_do_not_depend_on_decoded_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).random(7770)
    expected = frames_of(noise, Levels(), frame_s=1.0, hop_s=0.3)
    monkeypatch.setattr(frames_module, "BLOCK_S", 0.077)
    for one, other in zip(expected, frames_of(noise, Levels(), frame_s=1.0, hop_s=0.3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_times_of_frames_by_hand() -> None:
    _, times = frames_of(np.ones(2300), Levels(), frame_s=1.0, hop_s=0.5)  # starts 0, 0.5, 1.0, and 1.3 to the end
    np.testing.assert_allclose(times, [[0, 0.75], [0.75, 1.25], [1.25, 1.75], [1.75, 2.3]])
    _, times = frames_of(np.ones(400), Levels(), frame_s=1.0, hop_s=0.5)
    np.testing.assert_allclose(times, [[0, 0.4]])


def spans_of(scores: list[float], **options: float) -> list[tuple[float, float, float]]:
    track = Track("rain", 0.6, LocateConfig(**options))
    for n, score in enumerate(scores):
        track.add(float(n), n + 1.0, score)
    track.close()
    return [(span.onset_s, span.offset_s, span.confidence) for span in track.spans()]


def test_a_span_opens_at_the_threshold_and_reaches_to_half_of_it() -> None:
    assert spans_of([0.1, 0.3, 0.9, 0.4, 0.29, 0.5, 0.2]) == [(1.0, 4.0, 0.9)]
    assert spans_of([0.1, 0.3, 0.9, 0.4, 0.29, 0.5, 0.2], low=1.0) == [(2.0, 3.0, 0.9)]


def test_near_spans_are_joined_and_short_ones_left_out() -> None:
    scores = [0.7, 0.1, 0.8, 0.1, 0.1, 0.9]
    assert spans_of(scores, max_gap_s=0.0) == [(0.0, 1.0, 0.7), (2.0, 3.0, 0.8), (5.0, 6.0, 0.9)]
    assert spans_of(scores, max_gap_s=1.0) == [(0.0, 3.0, 0.8), (5.0, 6.0, 0.9)]
    assert spans_of(scores, max_gap_s=1.0, min_duration_s=2.0) == [(0.0, 3.0, 0.8)]


def test_a_loud_part_is_located_and_the_rest_is_not() -> None:
    samples = np.full(10_000, 0.01)
    samples[3000:6000] = 1.0
    result = Locator(Levels(), ["loud", "faint"], LocateConfig(hop_s=0.1, frame_s=0.2)).locate(
        Clip(samples.astype(np.float32)[None], RATE)
    )
    loud = [span for span in result.spans if span.text == "loud"]
    assert len(loud) == 1
    assert loud[0].onset_s == pytest.approx(3.0, abs=0.15)
    assert loud[0].offset_s == pytest.approx(6.0, abs=0.15)
    assert loud[0].confidence == pytest.approx(1 / (1 + np.exp(-10)), abs=1e-4)
    assert [round(span.onset_s) for span in result.spans if span.text == "faint"] == [0, 6]
    assert result.duration_s == 10.0


def test_nothing_is_heard_in_digital_silence() -> None:
    result = Locator(Levels(), ["faint"]).locate(Clip(np.zeros((1, 5000), np.float32), RATE))
    assert result.spans == []
    assert result.best["faint"][0] == 0


@pytest.mark.parametrize("options", [{"frame_s": 3.0}, {"hop_s": 1.5}, {"hop_s": 0.0}])
def test_frames_that_do_not_fit_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="the hop must be at least"):
        frames_of(np.ones(5000), Levels(), **options)


def test_bad_thresholds_and_short_sounds_are_refused() -> None:
    for option, sentence in (
        ({"threshold": 1.0}, "threshold is 1; it must be above 0 and below 1"),
        ({"low": 0.0}, "low is 0; it must be above 0"),
        ({"min_duration_s": -1.0}, "min_duration_s is -1; it must not be negative"),
        ({"max_gap_s": float("inf")}, "max_gap_s is inf"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            LocateConfig(**option)
    with pytest.raises(AudioError, match="a sound needs at least 5 ms"):
        Locator(Levels(), ["loud"]).locate((np.ones(1, np.float32), 10_000))


def test_a_calibration_changes_the_scores_and_the_default_threshold() -> None:
    """loud has cosine 1 with a loud frame, whose cosine with the neutral prompt is 0: sigmoid(20 * 0.1 - 1)."""
    model = Levels()
    model.__class__ = type("Calibrated", (Levels,), {"frame_calibration": CALIBRATION})
    result = Locator(model, ["loud"]).locate(Clip(np.ones((1, 3000), np.float32), RATE))
    assert (result.threshold, result.origin) == (0.7, "calibrated")
    (span,) = result.spans
    assert span.confidence == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-6)
    short = Locator(model, ["loud"], LocateConfig(frame_s=1.0))
    assert (short.threshold, short.origin) == (0.5, "score")


CALIBRATION = FrameCalibration(
    weights_sha256="", text=0.1, neutral=-0.1, offset=-1.0, threshold=0.7, prior=0.1, ece_validation=0.0, ece_test=0.0
)


def test_the_growing_result_ends_with_the_complete_one() -> None:
    samples = np.full(10_000, 0.01, np.float32)
    samples[3000:6000] = 1.0
    results = list(Locator(Levels(), ["loud"]).stream(Clip(samples[None], RATE)))
    assert len(results) > 2
    assert results[-1].spans == Locator(Levels(), ["loud"]).locate(Clip(samples[None], RATE)).spans


@pytest.mark.parametrize("name", ["libre-small", "libre-base", "libre-fast"])
def test_the_bundled_calibration_belongs_to_the_weights(name: str) -> None:
    """Other weights need: python tools/calibrate_frames.py CORPUS libre-small libre-base libre-fast"""
    calibration = aural.load(name, engine="onnx", device="cpu").frame_calibration
    assert calibration is not None
    assert calibration.ece_test < 0.05
    assert 0 < calibration.threshold < 1


def test_the_bundled_model_finds_a_rooster_between_crickets() -> None:
    from aural.audio.io import read

    folder = Path(aural.__file__).parent / "sounds"
    model = aural.load("libre-small")
    parts = [read(folder / f"{name}.ogg", sample_rate_hz=model.sample_rate_hz, mono=True).samples[0] for name in NAMES]
    sound = np.concatenate(parts)
    onset_s, offset_s = len(parts[0]) / model.sample_rate_hz, len(np.concatenate(parts[:2])) / model.sample_rate_hz
    (result,) = model.locate((sound, model.sample_rate_hz), ["a rooster crowing"])
    assert result.origin == "calibrated"
    inside = [span for span in result.spans if span.onset_s < offset_s and span.offset_s > onset_s]
    assert len(inside) == 1
    assert inside[0].onset_s == pytest.approx(onset_s, abs=0.33)  # two frames


def test_a_calibration_is_not_used_with_other_weights(tmp_path: Path) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    source = Path(aural.__file__).parent / "weights" / "libre-small"
    folder = Path(shutil.copytree(source, tmp_path / "other"))
    assert read_calibration(folder) is not None
    tensors = load_file(folder / "model.safetensors")
    tensors["logit_scale"] = np.array(tensors["logit_scale"] + 1)
    save_file(tensors, folder / "model.safetensors")
    assert read_calibration(folder) is None
    (folder / "frames.json").unlink()
    assert read_calibration(folder) is None


NAMES = ("crickets-chirping", "rooster-crowing", "crickets-chirping")
