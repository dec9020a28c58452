"""Encoders of sounds alone: BEATs against Microsoft's code, AST and Whisper against transformers; and a text head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from layouts import tensors
from transformers_folders import disturbed

import aural
from aural.core.errors import CheckpointError, ConfigError
from aural.models.families.audio_only import Ast, Whisper
from aural.models.families.beats import DEVIATION, MEAN, Beats
from aural.models.families.text_head import TextHead, fit_head, write_text_head

GOLDEN = "parity_beats.npz"
LARGEST_DIFFERENCE = 1e-5
RATE_HZ = 16000


@pytest.fixture(scope="module")
def beats_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from beats_weights import CONFIG, beats_state

    path = tmp_path_factory.mktemp("beats") / "beats.pt"
    torch.save({"cfg": CONFIG, "model": beats_state(tensors("beats"))}, path)
    return path


def written(folder: Path, name: str, samples: np.ndarray) -> Path:
    soundfile.write(folder / f"{name}.wav", samples, RATE_HZ, subtype="FLOAT")
    return folder / f"{name}.wav"


def check(rows: np.ndarray, right: np.ndarray, what: str) -> None:
    largest = np.abs(rows - right).max()
    print(f"  {what}: max difference {largest:.2e}")
    assert rows.shape == right.shape
    assert largest <= LARGEST_DIFFERENCE, what


def test_beats_equals_its_publisher(beats_file: Path, golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    from beats_weights import SECONDS, wave

    model = aural.load(beats_file, device="cpu")
    assert isinstance(model, Beats)
    paths = [written(tmp_path, name, wave(name)) for name in SECONDS]
    mel = (model.front_end(torch.from_numpy(wave("short"))[None])[0] - MEAN) / (2 * DEVIATION)
    np.testing.assert_allclose(mel.numpy()[:24], golden["mel"], atol=2e-4)
    check(model.embed_audio(paths), golden["audio"], "BEATs")
    assert np.abs(golden["audio"][0] - golden["audio"][1]).max() > 100 * LARGEST_DIFFERENCE
    with pytest.raises(ConfigError, match="no text tower"):
        model.embed_text(["rain"])
    assert np.isfinite(model.embed_audio([(np.full(100, 0.1, np.float32), RATE_HZ)])).all()


def sound(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.Generator(np.random.Philox(key=7)).uniform(-0.1, 0.1, t.size)
    return (0.3 * np.sin(2 * np.pi * (200 * t + 150 * t**2)) + noise).astype(np.float32)


def write_ast(folder: Path) -> torch.nn.Module:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    config = ASTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, max_length=256, num_labels=3
    )
    model = disturbed(ASTForAudioClassification(config), seed=1)
    model.save_pretrained(folder)
    ASTFeatureExtractor(max_length=256).save_pretrained(folder)
    return model.audio_spectrogram_transformer


@pytest.mark.parametrize("seconds", [1.5, 2.56])
def test_ast_equals_transformers(seconds: float, tmp_path: Path) -> None:
    from transformers import ASTFeatureExtractor

    peer = write_ast(tmp_path)
    samples = sound(seconds)
    given = ASTFeatureExtractor(max_length=256)(samples, sampling_rate=RATE_HZ, return_tensors="pt")
    with torch.inference_mode():
        right = peer(**given).pooler_output.numpy()
    model = aural.load(tmp_path, device="cpu")
    assert isinstance(model, Ast)
    rows = model.embed_audio([written(tmp_path, "sound", samples)])
    check(rows, right / np.linalg.norm(right), f"AST, {seconds} s")


@pytest.mark.parametrize("seconds", [1.5, 30.0])
def test_whisper_equals_transformers(seconds: float, tmp_path: Path) -> None:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    sizes = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    config = WhisperConfig(
        d_model=48, encoder_ffn_dim=64, decoder_ffn_dim=64, vocab_size=100, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, begin_suppress_tokens=None, **sizes,
    )  # fmt: skip
    peer = disturbed(WhisperModel(config), seed=2)
    peer.save_pretrained(tmp_path)
    extractor = WhisperFeatureExtractor()
    extractor.save_pretrained(tmp_path)
    samples = sound(seconds)
    given = extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt").input_features
    with torch.inference_mode():
        states = peer.encoder(given).last_hidden_state[0].numpy()
    right = states[: int(np.ceil(seconds * 50))].mean(0)
    model = aural.load(tmp_path, device="cpu")
    assert isinstance(model, Whisper)
    rows = model.embed_audio([written(tmp_path, "sound", samples)])
    check(rows[0], right / np.linalg.norm(right), f"Whisper, {seconds} s")


CAPTIONS = {"a low hum": 110.0, "a middle tone": 440.0, "a high whistle": 3000.0, "a very high beep": 6000.0}


def tones() -> list[np.ndarray]:
    t = np.arange(RATE_HZ * 2) / RATE_HZ
    return [(0.3 * np.sin(2 * np.pi * hz * t)).astype(np.float32) for hz in CAPTIONS.values()]


def test_an_encoder_with_a_text_head_names_its_sounds(beats_file: Path, tmp_path: Path) -> None:
    from m2d_weights import m2d_state, write_gte

    text = write_gte(tmp_path / "text", m2d_state(0, tensors("m2d_gte")))
    pairs = [((samples, RATE_HZ), caption) for samples, caption in zip(tones(), CAPTIONS, strict=True)]
    folder = write_text_head(tmp_path / "joined", str(beats_file), "../text", pairs)
    model = aural.load(folder, device="cpu")
    assert isinstance(model, TextHead)
    assert model.embed_dim == aural.load(text, device="cpu").embed_dim
    named = model.classify([sound for sound, _ in pairs], list(CAPTIONS), template="{}")
    assert [best[0].label for best in named] == list(CAPTIONS)
    np.testing.assert_array_equal(model.embed_text(["rain"]), aural.load(text, device="cpu").embed_text(["rain"]))


def test_a_wrong_head_is_refused(beats_file: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text(
        f'{{"model_type": "aural_text_head", "audio": "{beats_file}", "text": "{beats_file}"}}'
    )
    save_file({"weight": torch.zeros(2, 2)}, tmp_path / "head.safetensors")
    with pytest.raises(CheckpointError, match="missing"):
        aural.load(tmp_path, device="cpu")
    with pytest.raises(ConfigError, match="one text per sound"):
        fit_head(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32), generator=torch.Generator())
