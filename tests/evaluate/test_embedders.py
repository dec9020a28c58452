"""Test embedders: names, wrappers against the outputs of the wrapped packages, hashes, frames."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes import RandomEmbedder

from aural.core.errors import ConfigError, DataError, MissingDependencyError
from aural.core.types import Clip, Embedder
from aural.evaluate.adapters.embedders import frames_of, from_msclap, from_transformers, model_hash, open_embedder
from aural.models.pipeline import Model
from tiny import tone


def clip(seconds: float, rate: int) -> Clip:
    return Clip(tone(seconds, rate)[None], rate)


def test_objects_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert isinstance(open_embedder("fakes:RandomEmbedder", lambda name: pytest.fail(name)), Embedder)
    opened: list[str] = []
    open_embedder("owner/name", lambda name: opened.append(name) or RandomEmbedder())
    assert opened == ["owner/name"]
    with pytest.raises(ConfigError, match='has no "Nothing"'):
        open_embedder("fakes:Nothing", lambda name: RandomEmbedder())
    with pytest.raises(ConfigError, match="none of the methods"):
        open_embedder("math:pi", lambda name: RandomEmbedder())
    with pytest.raises(MissingDependencyError, match="no_such_module"):
        open_embedder("no_such_module:x", lambda name: RandomEmbedder())


def test_the_hash_tells_models_apart(tiny: Model) -> None:
    assert model_hash(tiny) == model_hash(tiny)
    assert model_hash(RandomEmbedder(1)) != model_hash(RandomEmbedder(2))

    class Half(Model):
        def embed_text(self, texts, **options):  # type: ignore[no-untyped-def]
            return -super().embed_text(texts, **options)

    other = Half(tiny.checkpoint, name="other")
    assert model_hash(other) != model_hash(tiny)
    tensors = dict(tiny.checkpoint.tensors)
    name = next(n for n, t in tensors.items() if t.ndim > 1)
    tensors[name] = tensors[name] + 1e-7  # too little to be seen in any vector
    touched = Model(replace(tiny.checkpoint, tensors=tensors))
    assert model_hash(touched) != model_hash(tiny)


def test_threads_make_no_other_model(tiny: Model) -> None:
    before, threads = model_hash(tiny), torch.get_num_threads()
    try:
        torch.set_num_threads(3 if threads != 3 else 2)
        assert model_hash(tiny) == before
    finally:
        torch.set_num_threads(threads)


def test_frames_of_a_model_cover_the_sound(tiny: Model) -> None:
    vectors, times = frames_of(tiny, clip(2.5, tiny.sample_rate_hz))
    assert vectors.shape == (len(times), tiny.embed_dim)
    assert times[0][0] == 0.0
    assert all(before[1] == pytest.approx(after[0]) for before, after in pairwise(times))
    assert times[-1][1] == pytest.approx(2.5)
    with pytest.raises(DataError, match="needs embed_frames"):
        frames_of(SimpleNamespace(), clip(1, 16_000))


class FakeTowers(torch.nn.Module):
    """A module with the parts of msclap's inner model that are used: `audio_encoder` returns (projected, classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def audio_encoder(self, waves: torch.Tensor) -> tuple[torch.Tensor, None]:
        assert waves.shape[1] == 7 * 44_100
        return torch.stack([waves.mean(1), waves.std(1), waves.abs().amax(1)], dim=1), None


def test_msclap_objects() -> None:
    fake = SimpleNamespace(
        args=SimpleNamespace(sampling_rate=44_100, duration=7, d_proj=3),
        clap=FakeTowers(),
        get_text_embeddings=lambda texts: torch.tensor([[len(text), 1.0, 0.0] for text in texts]),
    )
    embedder = from_msclap(fake)
    sounds = [clip(1.0, 48_000), clip(16.0, 44_100)]
    rows = embedder.embed_audio(sounds)
    assert rows.shape == (2, 3)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1])
    assert (embedder.embed_audio(sounds) == rows).all()
    assert embedder.embed_text(["abc"])[0] == pytest.approx(np.array([3, 1, 0]) / np.sqrt(10))
    assert len(embedder.embed_frames(sounds[1])[1]) == 3


def test_transformers_clap_model() -> None:
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    torch_state = torch.random.get_rng_state()
    torch.manual_seed(0)
    text = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 50,
    }
    audio = {
        "patch_embeds_hidden_size": 24,
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 2, 4, 8],
        "hidden_size": 192,
    }
    config = ClapConfig(
        text_config=text, audio_config=audio | {"num_mel_bins": 64, "spec_size": 256}, projection_dim=12
    )
    model = ClapModel(config).eval()
    torch.random.set_rng_state(torch_state)
    extractor = ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad")

    class Batch(dict):  # type: ignore[type-arg]
        def to(self, device: object) -> Batch:
            return self

    def tokens(sentences: list[str], **options: object) -> Batch:
        ids = torch.tensor([[2, 3 + len(s) % 40, 4] for s in sentences])
        return Batch(input_ids=ids, attention_mask=torch.ones_like(ids))

    embedder = from_transformers(model, SimpleNamespace(feature_extractor=extractor, tokenizer=tokens))
    assert (embedder.sample_rate_hz, embedder.window_s, embedder.embed_dim) == (48_000, 10.0, 12)
    wave = tone(10.0, 48_000)
    ours = embedder.embed_audio([Clip(wave[None], 48_000)])[0]
    inputs = extractor([wave], sampling_rate=48_000, return_tensors="pt")
    with torch.no_grad():
        theirs = model.get_audio_features(**inputs)
    theirs = theirs if torch.is_tensor(theirs) else theirs.pooler_output
    theirs = torch.nn.functional.normalize(theirs, dim=-1)[0].numpy()
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert embedder.embed_text(["a dog", "rain"]).shape == (2, 12)
