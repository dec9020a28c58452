"""PE-AV and EmbeddingGemma 2: `aural.load` gives what transformers' own model and processor give, file to vector.

Each sound is embedded alone by the peer, because its padded batches change the vectors of the shorter sounds
(`test_a_padded_batch_changes_the_peers_vectors`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from inputs import TEXTS
from transformers_folders import write_embedding_gemma2, write_pe_audio

import aural
from aural.core.errors import CheckpointError, ConfigError
from aural.core.types import Embedder, FrameEmbedder

transformers = pytest.importorskip("transformers", minversion="5.20")
LARGEST_DIFFERENCE = 1e-5
SAMPLES = {"short": 20000, "whole_frames": 96000, "odd": 100_777}


def unit(vectors: Any) -> np.ndarray:
    wide = np.asarray(vectors, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=-1, keepdims=True)


def sounds(folder: Path, rate_hz: int) -> list[Path]:
    generator = np.random.default_rng(5)
    paths = []
    for name, samples in SAMPLES.items():
        paths.append(folder / f"{name}.wav")
        wave = generator.standard_normal(samples) * 0.1 * np.sin(np.arange(samples) / 3000)
        soundfile.write(paths[-1], wave.astype(np.float32), rate_hz, subtype="FLOAT")
    return paths


def close(ours: np.ndarray, peer: Any, what: str) -> None:
    largest = np.abs(unit(ours) - unit(peer)).max()
    print(f"  {what}: max difference {largest:.2e}")
    assert largest <= LARGEST_DIFFERENCE, what


@pytest.fixture(scope="module")
def pe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pe")
    write_pe_audio(folder)
    return folder


def test_pe_audio_equals_transformers(pe: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, PeAudioFeatureExtractor, PeAudioFrameLevelModel, PeAudioModel

    ours, files, texts = aural.load(pe, device="cpu"), sounds(tmp_path, 48000), list(TEXTS.values())
    assert isinstance(ours, Embedder)
    assert isinstance(ours, FrameEmbedder)
    peer, frames = (model.from_pretrained(pe).eval() for model in (PeAudioModel, PeAudioFrameLevelModel))
    extractor, tokenizer = PeAudioFeatureExtractor.from_pretrained(pe), AutoTokenizer.from_pretrained(pe)
    words = tokenizer(texts, padding=True, return_tensors="pt")
    vectors = ours.embed_audio(files)
    for file, vector in zip(files, vectors, strict=True):
        wave = soundfile.read(file, dtype="float32")[0]
        heard = extractor([wave], sampling_rate=48000, return_tensors="pt")
        with torch.inference_mode():
            out, spans = peer(**words, **heard), frames(**words, **heard)
        close(vector, out.audio_embeds[0], f"PE-AV {file.stem}")
        probabilities, times = ours.frame_probabilities(file, texts)
        assert np.abs(probabilities - torch.sigmoid(spans.logits_audio_text[0]).numpy()).max() < LARGEST_DIFFERENCE
        assert len(times) == probabilities.shape[1] == -(-len(wave) // 1920)
        assert times[1] == (0.04, 0.08)
        assert times[-1][1] == pytest.approx(len(wave) / 48000)
        close(ours.embed_frames(file)[0], spans.audio_embeds[0], f"PE-A-Frame {file.stem}")
    close(ours.embed_text(texts), out.text_audio_embeds, "PE-AV text")
    assert (ours.logit_scale, ours.logit_bias) == (
        pytest.approx(peer.text_audio_logit_scale.item()),
        pytest.approx(peer.text_audio_logit_bias.item()),
    )


def test_a_padded_batch_changes_the_peers_vectors(pe: Path) -> None:
    """The codec runs over the padding, so the last frames differ; ours depend on the sound alone."""
    from transformers import PeAudioFeatureExtractor, PeAudioModel

    peer, extractor = PeAudioModel.from_pretrained(pe).eval(), PeAudioFeatureExtractor.from_pretrained(pe)
    waves = [np.random.default_rng(i).standard_normal(n).astype(np.float32) / 10 for i, n in enumerate((20000, 96000))]
    with torch.inference_mode():
        alone, batch = (
            peer.get_audio_embeds(**extractor(sent, sampling_rate=48000, return_tensors="pt"))[0]
            for sent in (waves[:1], waves)
        )
    assert np.abs(unit(alone) - unit(batch)).max() > 1e-3
    ours = aural.load(pe, device="cpu")
    pairs = [(wave, 48000) for wave in waves]
    assert np.abs(ours.embed_audio(pairs)[0] - ours.embed_audio(pairs[:1])[0]).max() < 1e-6


def test_long_sounds_give_every_frame_once(pe: Path) -> None:
    ours = aural.load(pe, device="cpu")
    ours.traits = type(ours.traits)(**{**vars(ours.traits), "window_s": 1.0})
    wave = np.random.default_rng(0).standard_normal(round(48000 * 2.5)).astype(np.float32)
    rows, times = ours.embed_frames((wave, 48000))
    assert len(rows) == len(times)
    starts = np.array([start for start, _ in times])
    assert np.all(np.diff(starts) > 0.02)
    assert starts[-1] > 2.4
    assert times[-1][1] == pytest.approx(2.5)


def test_a_long_sound_is_scored_window_by_window(pe: Path) -> None:
    """A frame depends on its window alone: a pass over a longer window gives other values."""
    ours, texts = aural.load(pe, device="cpu"), ["rain", "a dog"]
    wave = np.random.default_rng(0).standard_normal(round(48000 * 2.5)).astype(np.float32)
    in_one_pass, _ = ours.frame_probabilities((wave, 48000), texts)
    ours.traits = type(ours.traits)(**{**vars(ours.traits), "window_s": 1.0})
    blocks = list(ours.stream_probabilities((wave, 48000), texts))
    assert len(blocks) == 3
    assert max(len(rows) for rows, _ in blocks) == 25
    complete, times = ours.frame_probabilities((wave, 48000), texts)
    assert np.array_equal(complete.T, np.concatenate([rows for rows, _ in blocks]))
    assert np.allclose(times, np.concatenate([times for _, times in blocks]))
    first, _ = ours.frame_probabilities((wave[:48000], 48000), texts)
    assert np.abs(blocks[0][0] - first.T).max() < 1e-6
    assert np.abs(in_one_pass[:, :25] - first).max() > 1e-6


def test_the_audio_part_of_an_audio_video_folder_is_the_same_model(pe: Path, tmp_path: Path) -> None:
    """transformers ties the text model of the parts and saves it once, at the top."""
    from safetensors.torch import load_file, save_file

    state, values = load_file(pe / "model.safetensors"), json.loads((pe / "config.json").read_text())
    moved = {name if name.startswith("text_model.") else f"audio_model.{name}": t for name, t in state.items()}
    save_file(moved | {"video_model.x": torch.zeros(1)}, tmp_path / "model.safetensors")
    parts = {"text_config": values["text_config"], "audio_video_config": {"audio_config": values["audio_config"]}}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "pe_audio_video"} | parts))
    (tmp_path / "tokenizer.json").write_bytes((pe / "tokenizer.json").read_bytes())
    ours, part = aural.load(pe, device="cpu"), aural.load(tmp_path, device="cpu")
    wave = (np.random.default_rng(0).standard_normal(30000).astype(np.float32), 48000)
    assert np.array_equal(ours.embed_audio([wave]), part.embed_audio([wave]))
    assert np.array_equal(ours.embed_text(["rain"]), part.embed_text(["rain"]))


def test_locate_uses_the_models_frames(pe: Path) -> None:
    from aural.models.locate import LocateConfig, Locator

    ours = aural.load(pe, device="cpu")
    wave = np.random.default_rng(0).standard_normal(48000).astype(np.float32) * np.linspace(0, 1, 48000, dtype="f4")
    probabilities, times = ours.frame_probabilities((wave, 48000), ["rain"])
    threshold = float(np.quantile(probabilities, 0.9))
    located = Locator(ours, ["rain"], LocateConfig(template="{}", threshold=threshold)).locate((wave, 48000))
    assert located.best["rain"][0] == pytest.approx(probabilities.max())
    assert located.best["rain"][1] == pytest.approx(np.mean(times[int(probabilities.argmax())]))
    assert located.spans
    assert located.duration_s == pytest.approx(1.0)


def test_embedding_gemma2_equals_transformers(tmp_path: Path) -> None:
    from transformers import EmbeddingGemma2Model, Gemma4AudioFeatureExtractor
    from transformers.models.embedding_gemma2.processing_embedding_gemma2 import EmbeddingGemma2Processor

    folder = tmp_path / "model"
    tokenizer = write_embedding_gemma2(folder)
    ours, files, texts = aural.load(folder, device="cpu"), sounds(tmp_path, 16000), list(TEXTS.values())
    peer = EmbeddingGemma2Model.from_pretrained(folder).eval()
    extractor = Gemma4AudioFeatureExtractor.from_pretrained(folder)
    processor = EmbeddingGemma2Processor.__new__(EmbeddingGemma2Processor)  # its constructor needs torchvision
    processor.boa_token, processor.audio_token, processor.eoa_token = "<boa>", "<audio>", "<eoa>"

    def pooled(words: Any, **heard: torch.Tensor) -> torch.Tensor:
        """Mean pooling of sentence-transformers."""
        mask = words["attention_mask"][..., None]
        with torch.inference_mode():
            states = peer(input_ids=words["input_ids"], attention_mask=words["attention_mask"], **heard)
        return (states.last_hidden_state * mask).sum(1) / mask.sum(1)

    for file, vector in zip(files, ours.embed_audio(files), strict=True):
        heard = extractor([soundfile.read(file, dtype="float32")[0]], sampling_rate=16000, return_tensors="pt")
        text = processor.replace_audio_token({"input_features_mask": heard["input_features_mask"].numpy()}, 0)
        close(vector, pooled(tokenizer([text], return_tensors="pt"), **heard)[0], f"EmbeddingGemma 2 {file.stem}")
    close(ours.embed_text(texts), pooled(tokenizer(texts, padding=True, return_tensors="pt")), "EmbeddingGemma 2 text")


def test_only_the_needed_tower_is_built(pe: Path) -> None:
    ours = aural.load(pe, device="cpu")
    ours.embed_text(["rain"])
    assert "audio_encoder" not in vars(ours)
    assert "text_model" in vars(ours)


def test_errors_are_sentences(pe: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(ConfigError, match='compat="peer" is for msclap'):
        aural.load(pe, compat="peer")
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((pe / name).read_bytes())
    state = load_file(pe / "model.safetensors")
    del state["audio_encoder.norm.weight"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r'"norm\.weight" is missing'):
        aural.load(tmp_path, device="cpu").embed_audio([(np.zeros(48000, np.float32), 48000)])
