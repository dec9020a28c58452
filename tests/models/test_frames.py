"""Frames of encoders: equal to pooling by hand, to the complete sound in one pass, and between engines and batches."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aural
from aural.audio.mel import MelConfig
from aural.core.errors import AudioError, ConfigError
from aural.encoders.base import build_audio_encoder
from aural.models import frames as frames_module
from aural.models.clap import AudioConfig, AudioTower, TaggedBranchConfig
from aural.models.frames import frames_text, joined, short_frames
from aural.models.pipeline import Model
from tiny import RATE_HZ, save_tiny, tiny_htsat_config

STEP = 8 * 160  # samples of a frame of the tiny model: 8 log-mel frames of 10 ms


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.from_pretrained(save_tiny(tmp_path_factory.mktemp("tiny") / "model"), device="cpu")


def noise(seconds: float, rate_hz: int = RATE_HZ) -> Any:
    return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate_hz))).astype(np.float32)


def test_frames_are_the_pooled_tokens_by_hand(tiny: Model) -> None:
    wave = noise(20 * STEP / RATE_HZ)
    rows, times = tiny.embed_frames((wave, RATE_HZ))
    tower = tiny.audio_tower
    with torch.inference_mode():
        tokens = tower.encoder(tower.front_end(torch.from_numpy(wave)[None])).tokens[0]  # (20, D)
        for n in (0, 1, 7, 19):
            near = tokens[max(0, n - 2) : n + 3].amax(0)
            expected = tower.projection(near[None])[0]
            np.testing.assert_allclose(rows[n], expected / expected.norm(), atol=1e-5)
    assert len(rows) == 20
    np.testing.assert_allclose(times, [(0.08 * n, 0.08 * (n + 1)) for n in range(20)])


@pytest.mark.parametrize("seconds", [1.0, 2.5, 7.993, 8.0, 9.37])
def test_streamed_frames_equal_one_pass(tiny: Model, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    wave = noise(seconds)
    rows, times = tiny.embed_frames((wave, RATE_HZ))
    monkeypatch.setattr(frames_module, "BLOCK_S", 0.5)
    streamed, other = tiny.embed_frames((wave, RATE_HZ))
    assert times == other
    assert times[0][0] == 0
    assert times[-1][1] == pytest.approx(len(wave) / RATE_HZ)
    assert all(one[1] == two[0] for one, two in pairwise(times))
    np.testing.assert_allclose(streamed, rows, atol=1e-5)
    assert len(rows) == -(-len(wave) // STEP)


def test_the_margin_is_needed(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = noise(8.0)
    rows, _ = tiny.embed_frames((wave, RATE_HZ))
    monkeypatch.setattr(frames_module, "BLOCK_S", 0.5)
    layout = tiny.frame_layout
    assert layout is not None
    monkeypatch.setattr(tiny, "frame_layout", layout.model_copy(update={"margin": STEP}), raising=False)
    assert np.abs(tiny.embed_frames((wave, RATE_HZ))[0] - rows).max() > 1e-3


def test_a_batch_of_waves_equals_single_ones(tiny: Model) -> None:
    waves = np.stack([noise(2.0), noise(2.0)[::-1]])
    both = tiny.frames_of_waves(waves)
    for wave, rows in zip(waves, both, strict=True):
        np.testing.assert_allclose(tiny.frames_of_waves(np.ascontiguousarray(wave)[None])[0], rows, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(both, axis=2), 1, atol=1e-5)


def test_short_sounds_are_filled_and_only_their_frames_are_kept(tiny: Model) -> None:
    beep = noise(0.05)
    rows, times = tiny.embed_frames((beep, RATE_HZ))
    assert (rows.shape, times) == ((1, 24), [(0.0, 0.05)])
    filled = np.resize(beep, RATE_HZ)  # repeated to the window of 1 s
    np.testing.assert_allclose(rows[0], tiny.embed_frames((filled, RATE_HZ))[0][0], atol=1e-5)
    with pytest.raises(AudioError, match="a sound needs at least 5 ms"):
        tiny.embed_frames((np.ones(10, np.float32), RATE_HZ))


def test_digital_silence_is_marked(tiny: Model) -> None:
    wave = noise(3.0)
    wave[10 * STEP : 20 * STEP] = 0
    parts = list(frames_module.stream_frames(tiny, (wave, RATE_HZ)))
    silent = np.concatenate([part.silent for part in parts])
    assert np.flatnonzero(silent).tolist() == list(range(10, 20))


def test_an_encoder_of_windows_divides_them_evenly(tmp_path: Path) -> None:
    model = Model.from_pretrained(save_tiny(tmp_path / "htsat", tiny_htsat_config()), device="cpu")
    rows, times = model.embed_frames((noise(12.0, 48000), 48000))
    count = model.frames_of_waves(noise(10.0, 48000)[None]).shape[1]
    step = 10.0 / count
    assert (times[0], times[count - 1][1]) == ((0.0, pytest.approx(step)), pytest.approx(10.0))
    assert times[-1][1] == pytest.approx(12.0)
    assert len(rows) == len(times) >= count + int(1.5 / step)
    assert frames_text(model.frame_layout, model) == "the encoder's, in windows of 10 s"


def test_a_model_without_frames_has_short_windows(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert frames_text(tiny.frame_layout, tiny) == "the encoder's, one per 0.08 s"
    monkeypatch.setattr(tiny, "frame_layout", None, raising=False)
    rows, times = tiny.embed_frames((noise(3.0), RATE_HZ))
    expected, others = joined(short_frames(tiny, (noise(3.0), RATE_HZ), frame_s=1.0, hop_s=0.5))
    np.testing.assert_array_equal(rows, expected)
    assert times == others
    assert frames_text(None, tiny) == "short windows of 1 s every 0.5 s"


@pytest.mark.parametrize("name", ["cnn9", "cnn14"])
def test_the_reach_of_an_encoder_covers_what_its_frames_depend_on(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_audio_encoder(name, {"n_mels": 32} | ({"width": 4} if name == "cnn9" else {"out_dim": 16})).eval()
    assert encoder.token_frames is not None
    count, token, middle = 40, encoder.token_frames, 20
    mel = torch.randn(1, count * token, 32)
    changed = mel.clone()
    changed[:, : middle * token - encoder.reach_frames] += 3.0
    changed[:, (middle + 1) * token + encoder.reach_frames :] += 3.0
    with torch.inference_mode():
        same, other = encoder.frames(mel)[0], encoder.frames(changed)[0]
    assert len(same) == count
    torch.testing.assert_close(same[middle], other[middle], atol=1e-5, rtol=1e-4)
    assert (same[0] - other[0]).abs().max() > 1e-4


def test_a_branch_adds_the_patch_around_each_frame() -> None:
    """Patches of 40 log-mel frames at 16 kHz are five frames of the encoder."""
    mel = MelConfig(sample_rate_hz=RATE_HZ, n_fft=512, hop=160, n_mels=64, fmin_hz=50, fmax_hz=8000)
    patches = mel.model_copy(update={"pad": "none", "window_length": 400})
    branch = TaggedBranchConfig(mel=patches, encoder="mobilenet", encoder_options={"patch_frames": 40}, classes=3)
    config = AudioConfig(
        sample_rate_hz=RATE_HZ, window_s=1.0, mel=mel, encoder="cnn9", encoder_options={"width": 4, "n_mels": 64},
        branch=branch,
    )  # fmt: skip
    torch.manual_seed(0)
    tower = AudioTower(config, 8).eval()
    layout = tower.frame_layout()
    assert layout is not None
    assert (layout.step, layout.align, layout.margin % layout.align) == (STEP, 5 * STEP, 0)
    wave = torch.from_numpy(noise(15 * STEP / RATE_HZ))[None]
    with torch.inference_mode():
        rows = tower.frames(wave)[0]
        plain = tower.projection(tower.encoder.frames(tower.front_end(wave)))[0]
        assert tower.branch is not None
        second = tower.branch.front_end(wave[:, 5 * STEP : 10 * STEP + 240])  # the samples of 40 frames
        features = tower.branch.encoder(second).pooled.expand(5, -1)
        torch.testing.assert_close(rows[5:10], tower.branch.add_to(plain[5:10], features))
    other = TaggedBranchConfig(mel=patches, encoder="mobilenet", encoder_options={"patch_frames": 44}, classes=3)
    assert AudioTower(config.model_copy(update={"branch": other}), 8).frame_layout() is None


@pytest.mark.parametrize("name", ["libre-small", "libre-base"])
def test_the_bundled_graph_of_frames_equals_torch(name: str) -> None:
    pytest.importorskip("onnxruntime")
    file = Path(aural.__file__).parent / "sounds" / "footsteps.ogg"
    onnx, ours = (aural.load(name, engine=engine, device="cpu") for engine in ("onnx", "torch"))  # type: ignore[call-overload]
    assert onnx.frame_layout == ours.frame_layout
    rows, times = onnx.embed_frames(file)
    expected, others = ours.embed_frames(file)
    assert times == others
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_a_model_without_an_encoder_of_frames_says_so(tiny: Model) -> None:
    from aural.models.embedding import EmbeddingModel

    with pytest.raises(ConfigError, match="its encoder gives no frames; use embed_frames"):
        EmbeddingModel.frames_of_waves(tiny, noise(1.0)[None])
