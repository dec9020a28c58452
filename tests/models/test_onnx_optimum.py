"""ONNX in optimum's layout: the outputs of transformers' two towers, from onnxruntime alone; and through aural."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_tokenizers import write_tokenizer
from typer.testing import CliRunner

from aural.cli.demo import bundled_sounds
from aural.cli.models import app
from aural.core.errors import ConfigError
from aural.models.load import load
from aural.models.onnx_model import OnnxModel
from aural.models.onnx_optimum import export_optimum
from aural.models.pipeline import Model
from tiny import save_tiny, tiny_config, tiny_htsat_config, tone

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
TEXTS = ["rain", "a dog barks, far away", ""]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = save_tiny(tmp_path_factory.mktemp("model"), tiny_config())
    return load(folder, device="cpu", engine="torch")


@pytest.fixture(scope="module")
def exported(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_optimum(model, tmp_path_factory.mktemp("optimum"))


@pytest.mark.slow
def test_the_towers_equal_those_of_transformers(tmp_path: Path) -> None:
    """`input_features` come from transformers' extractor, and onnxruntime computes what its classes compute."""
    import onnxruntime
    from transformers import (
        AutoTokenizer,
        ClapAudioModelWithProjection,
        ClapFeatureExtractor,
        ClapTextModelWithProjection,
    )

    from aural.models.export import export_transformers

    source, tokenizer = save_tiny(tmp_path / "source", tiny_htsat_config()), write_tokenizer("roberta", tmp_path)
    model = load(source, device="cpu", engine="torch", tokenizer=tokenizer)
    exported = export_optimum(model, tmp_path / "exported")
    peer = export_transformers(str(source), tmp_path / "peer", tokenizer=tokenizer)
    extractor = ClapFeatureExtractor.from_pretrained(exported)
    wave = tone(model.window_s, model.sample_rate_hz, 330)
    features = extractor(wave, sampling_rate=model.sample_rate_hz, return_tensors="pt").input_features
    tokens = AutoTokenizer.from_pretrained(peer)(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        audio = ClapAudioModelWithProjection.from_pretrained(peer)(input_features=features).audio_embeds.numpy()
        text = ClapTextModelWithProjection.from_pretrained(peer)(**tokens).text_embeds.numpy()
    sessions = {
        name: onnxruntime.InferenceSession(exported / "onnx" / f"{name}_model.onnx") for name in ("audio", "text")
    }
    given = [[(one.name, one.type) for one in session.get_inputs()] for session in sessions.values()]
    assert given == [
        [("input_features", "tensor(float)")],
        [("input_ids", "tensor(int64)"), ("attention_mask", "tensor(int64)")],
    ]
    found = sessions["audio"].run(["audio_embeds"], {"input_features": features.numpy()})[0]
    np.testing.assert_allclose(found, audio, atol=1e-5)
    feed = {name: tokens[name].numpy() for name in ("input_ids", "attention_mask")}
    np.testing.assert_allclose(sessions["text"].run(["text_embeds"], feed)[0], text, atol=1e-5)
    front = onnxruntime.InferenceSession(exported / "onnx" / "features.onnx").run(None, {"wave": wave[None]})[0]
    assert front.shape == features.shape
    np.testing.assert_allclose(front, features.numpy(), atol=2e-2)  # dB


def test_aural_opens_the_folder(model: Model, exported: Path, tmp_path: Path) -> None:
    files = [*bundled_sounds()[0]][:3]
    onnx = load(exported, device="cpu")
    assert isinstance(onnx, OnnxModel)
    assert np.abs(onnx.embed_audio(files) - model.embed_audio(files)).max() < 1e-5
    assert np.abs(onnx.embed_text(TEXTS) - model.embed_text(TEXTS)).max() < 1e-5
    small = export_optimum(model, tmp_path / "small", int8=True)
    assert {file.name for file in (small / "onnx").iterdir()} == {
        "audio_model_quantized.onnx", "features.onnx", "text_model_quantized.onnx",
    }  # fmt: skip
    assert (OnnxModel(small).embed_text(TEXTS) * model.embed_text(TEXTS)).sum(1).min() > 0.999
    assert (OnnxModel(small).embed_audio(files) * model.embed_audio(files)).sum(1).min() > 0.999


def test_texts_open_no_other_graph(exported: Path) -> None:
    onnx = OnnxModel(exported)
    onnx.embed_text(["rain"])
    assert not {"_audio", "_features"} & set(vars(onnx))


def test_options_of_the_command_line(tmp_path: Path) -> None:
    def run(*words: str) -> BaseException | None:
        return CliRunner().invoke(app, ["export", "libre-small", str(tmp_path / "out"), *words]).exception

    assert "--layout optimum is for ONNX" in str(run("--layout", "optimum"))
    assert "is not known; use aural, optimum" in str(run("--format", "onnx", "--layout", "optimums"))


def test_two_front_ends_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has two front ends"):
        export_optimum("libre-base", tmp_path)
