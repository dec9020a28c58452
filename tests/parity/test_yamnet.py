"""YAMNet's tensors and arithmetic against TensorFlow Lite (tests/golden/make_yamnet.py), in integers and floats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import aural
from aural.audio.mel import PRESETS, LogMel
from aural.audio.resample import resample
from aural.core.errors import CheckpointError
from aural.core.weights import weight_card
from aural.encoders.convert.yamnet import read_yamnet
from aural.encoders.mobilenet import Mobilenet, MobilenetConfig
from aural.models.load import load
from aural.models.tagger import Tagger
from aural.nn.steps import Grid, on_grid, rescale

GOLDEN = Path(__file__).parents[1] / "golden"
SOUNDS = Path(aural.__file__).parent / "sounds"
# Step and zero point of the tensors that ReLU6 does not fix, as the file has them.
GRIDS = {
    "input": (0.048020608723163605, 16),
    "pointwise10": (0.020902719348669052, -128),
    "pooled": (0.022328350692987442, -128),
    "logits": (0.3471774756908417, 100),
    "scores": (0.00390625, -128),
}


def real(integers: np.ndarray, name: str) -> np.ndarray:
    step, zero = GRIDS[name]
    return (integers.astype(np.float32) - zero) * np.float32(step)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "parity" / "yamnet.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    model = load("yamnet", engine="torch", device="cpu")
    assert isinstance(model, Tagger)
    return model


@pytest.fixture(scope="module")
def integers(tagger: Tagger) -> Mobilenet:
    grids = {name: GRIDS[name] for name in ("input", "pointwise10", "pooled")}
    encoder = Mobilenet(MobilenetConfig(arithmetic="int8", grids=grids)).eval()
    encoder.load_state_dict(tagger.network.network.encoder.state_dict(), strict=True)
    return encoder


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def class_scores(tagger: Tagger, features: torch.Tensor) -> np.ndarray:
    """The class layer in the file's integers; its logits have steps of 0.35, its scores of 1/256."""
    layer = tagger.network.classes
    weight, pooled, logits = layer.weight.double(), Grid(*GRIDS["pooled"]), Grid(*GRIDS["logits"])
    step = (weight.abs().amax() / 127).float().double()
    sums = (features.double() / pooled.step).round() @ (weight / step).round().T
    sums += (layer.bias.double() / (pooled.step * step)).round()
    n = rescale(sums, pooled.step * step / logits.step).clamp(-128 - logits.zero, 127 - logits.zero)
    return on_grid((n * logits.step).sigmoid(), Grid(*GRIDS["scores"])).numpy()


def test_integer_arithmetic_equals_the_reference_kernels(golden: Any, tagger: Tagger, integers: Mobilenet) -> None:
    """27 layers from the file's quantized log-mel: the same features and scores."""
    mel = torch.from_numpy(real(golden["input"], "input").reshape(-1, 96, 64))
    with torch.inference_mode():
        features = integers(mel).pooled
        scores = class_scores(tagger, features)
    want = real(golden["features"], "pooled")
    assert cosines(features.numpy(), want).min() > 0.9999
    assert (np.abs(features.numpy() - want) < 1e-5).mean() > 0.998
    assert np.abs(scores - real(golden["scores"], "scores")).max() < 1e-2


def window(name: str, rate_hz: int, seconds: float) -> np.ndarray:
    file = SOUNDS / name if name.endswith(".ogg") else GOLDEN / "audio" / name
    samples, stored_hz = soundfile.read(file, dtype="float32", always_2d=True)
    wave = resample(samples.mean(1)[None], stored_hz, rate_hz)[0]
    length = round(seconds * rate_hz)
    start = max(0, (len(wave) - length) // 2)
    wave = wave[start : start + length]
    return np.pad(wave, (0, length - len(wave)))


def test_waves_give_the_files_quantized_input(golden: Any) -> None:
    """The front end in float32 against the file's float32 graph: the quantized log-mel differs by at most one step."""
    waves = np.stack([window(name, 16000, 0.975) for name in golden["files"]])
    mel = LogMel(PRESETS["yamnet"])(torch.from_numpy(waves)).flatten(1).numpy()
    steps = np.round(mel / np.float32(GRIDS["input"][0])) + GRIDS["input"][1]
    off = np.abs(steps.clip(-128, 127) - golden["input"])
    assert off.max() <= 1
    assert off.mean() < 0.01


def test_float_arithmetic_is_as_near_as_other_kernels(golden: Any, tagger: Tagger) -> None:
    """From sound to class: TensorFlow Lite's two sets of kernels differ by as much as aural differs from one."""
    waves = np.stack([window(name, 16000, 0.975) for name in golden["files"]])
    with torch.inference_mode():
        features, logits = tagger.network(torch.from_numpy(waves))
    assert cosines(features.numpy(), real(golden["features"], "pooled")).min() > 0.996
    scores, want = logits.sigmoid().numpy(), real(golden["scores"], "scores")
    kernels = np.abs(real(golden["optimized_scores"], "scores") - want)
    assert np.abs(scores - want).max() < kernels.max()
    assert np.abs(scores - want).mean() < 1e-3


def test_24_khz_front_end_gives_the_same_log_mel(golden: Any) -> None:
    for name in golden["files"]:
        slow, fast = window(name, 16000, 0.975), window(name, 24000, 0.975)
        mels = [LogMel(PRESETS[p])(torch.from_numpy(w)[None]) for p, w in (("yamnet", slow), ("yamnet-24k", fast))]
        assert mels[0].shape == mels[1].shape
        assert (mels[0] - mels[1]).abs().mean() < 0.01, name


def test_gradients_reach_the_sound(tagger: Tagger, integers: Mobilenet) -> None:
    """The integer form has the gradient of the float form where both compute the same; neither is zero or infinite."""
    wave = torch.from_numpy(window("trumpet.ogg", 16000, 0.975))[None]
    mel = tagger.network.network.front_end(wave)
    found = []
    for encoder in (tagger.network.network.encoder, integers):
        x = mel.detach().clone().requires_grad_()
        encoder(x).pooled.sum().backward()
        found.append(x.grad.flatten())
    assert torch.isfinite(found[0]).all()
    assert torch.cosine_similarity(found[0], found[1], dim=0) > 0.8
    wave = torch.zeros_like(wave).requires_grad_()  # a square root has an infinite slope at silence
    tagger.network(wave)[1].sum().backward()
    assert torch.isfinite(wave.grad).all()


def test_bundled_weights_are_the_checked_ones(tmp_path: Path) -> None:
    card = weight_card("yamnet")
    assert card.sha256 is not None
    other = tmp_path / "yamnet.tflite"
    other.write_bytes(b"TFL3")
    with pytest.raises(CheckpointError, match="sha256"):
        read_yamnet(other)
