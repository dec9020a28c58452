"""Taggers: scores over time, embeddings, stored integers, and what they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import aural
from aural.core.errors import CheckpointError, ConfigError
from aural.core.weights import weight_card
from aural.encoders.mobilenet import Mobilenet, MobilenetConfig
from aural.models.load import load
from aural.models.onnx_tagger import OnnxTagger
from aural.models.rounding import in_8_bits, in_steps, with_steps
from aural.models.tagger import Tagger
from commands import run_without

SOUNDS = Path(aural.__file__).parent / "sounds"


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    model = load("yamnet", engine="torch", device="cpu")
    assert isinstance(model, Tagger)
    return model


def test_scores_of_a_sound_are_the_mean_over_its_seconds(tagger: Tagger) -> None:
    """Windows of 0.975 s of a 4.1 s sound: the last one overlaps, so it counts for 0.2 s only."""
    (result,) = tagger.tag([SOUNDS / "church-bell.ogg"])
    assert result.windows is not None
    assert result.scores is not None
    ends = [end for _, end in result.times_s]
    assert ends[:4] == pytest.approx([0.975, 1.95, 2.925, 3.9])
    weights = np.diff([0.0, *ends])
    assert result.scores == pytest.approx((result.windows * weights[:, None]).sum(0) / ends[-1], abs=1e-6)
    assert tagger.classes[int(result.windows[0].argmax())] == "Bell"


def test_the_bundled_graph_scores_as_torch(tagger: Tagger) -> None:
    graph = load("yamnet", engine="onnx")
    assert isinstance(graph, OnnxTagger)
    files = [SOUNDS / "church-bell.ogg", SOUNDS / "trumpet.ogg"]
    for ours, theirs in zip(graph.tag(files), tagger.tag(files), strict=True):
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-4)
        assert ours.times_s == theirs.times_s
    np.testing.assert_allclose(graph.embed_audio(files), tagger.embed_audio(files), atol=1e-4)


def test_tags_come_without_torch() -> None:
    assert "Trumpet" in run_without(["tag", str(SOUNDS / "trumpet.ogg")], {"torch", "transformers", "scipy"})


def test_a_broken_file_does_not_stop_the_others(tagger: Tagger, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    first, second = tagger.tag([broken, SOUNDS / "trumpet.ogg"])
    assert first.error is not None
    assert first.scores is None
    assert second.scores is not None


def test_it_embeds_sounds_and_refuses_texts(tagger: Tagger) -> None:
    rows = tagger.embed_audio([SOUNDS / "trumpet.ogg", SOUNDS / "sneeze.ogg"])
    assert rows.shape == (2, 1024)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ConfigError, match="no text tower"):
        tagger.embed_text(["rain"])


def test_silent_patches_do_not_count_in_the_mean(tagger: Tagger) -> None:
    """With a floor, the second half of the first clip is left out; a clip that is silent keeps its mean."""
    encoder = Mobilenet(MobilenetConfig(hop_frames=96, floor=-6.9078)).eval()
    encoder.load_state_dict(tagger.network.network.encoder.state_dict(), strict=True)
    mel = torch.full((2, 192, 64), -6.9078)
    mel[0, :96] = torch.randn((96, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        pooled, tokens, *_ = encoder(mel)
    torch.testing.assert_close(pooled[0], tokens[0, 0])
    torch.testing.assert_close(pooled[1], tokens[1].mean(0))
    assert (tokens[0, 0] - tokens[0, 1]).abs().max() > 0.1


def test_stored_integers_become_steps_times_integers() -> None:
    stored = {"w": torch.tensor([[1, -2], [3, 4]], dtype=torch.int8), "w.steps": torch.tensor([0.5, 0.25])}
    real = with_steps(stored | {"b": torch.tensor([1.0])})
    assert real["w"].tolist() == [[0.5, -1.0], [0.75, 1.0]]
    assert sorted(real) == ["b", "w"]


def test_integers_and_steps_are_the_rounded_matrix() -> None:
    values = {"w": np.array([[1.0, -0.301], [0.0, 0.0]], np.float32), "b": np.array([0.3], np.float32)}
    stored = in_steps(values)
    assert stored["w"].tolist() == [[127, -38], [0, 0]]
    assert np.array_equal(with_steps(stored)["w"], in_8_bits(values["w"]))
    assert np.array_equal(stored["b"], values["b"])


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(weight_card("yamnet").bundled(), tmp_path / "yamnet"))


def test_a_missing_tensor_is_refused(copied: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    del tensors["encoder.layers.stem.bias"]
    save_file(tensors, copied / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"stem\.bias"):
        load(copied, device="cpu")


def test_the_bundled_file_must_have_its_checksum(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = load_file(copied / "model.safetensors")
    tensors["classes.bias"] += 1
    save_file(tensors, copied / "model.safetensors")
    monkeypatch.setattr("aural.core.weights.WeightCard.bundled", lambda card: copied)
    with pytest.raises(CheckpointError, match="sha256"):
        load("yamnet", engine="torch", device="cpu")
