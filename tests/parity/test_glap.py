"""GLAP: `aural.load` gives the vectors of the publisher's package, from file to vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from layouts import tensors

import aural
from aural.core.errors import CheckpointError, MissingDependencyError
from aural.models.families.glap import Glap

GOLDEN = "parity_glap.npz"
LARGEST_DIFFERENCE = 1e-5


@pytest.fixture(scope="module")
def glap(tmp_path_factory: pytest.TempPathFactory) -> Glap:
    from glap_weights import glap_state, write_sentencepiece

    folder = tmp_path_factory.mktemp("glap")
    # The published file holds its training configuration, with paths.
    torch.save({"model": glap_state(tensors("glap")), "config": {"outputpath": folder}}, folder / "glap.pt")
    tokenizer = write_sentencepiece(folder / "tokenizer.model")
    model = aural.load(folder / "glap.pt", device="cpu", tokenizer=tokenizer)
    assert isinstance(model, Glap)
    return model


def test_texts(glap: Glap, golden: dict[str, np.ndarray]) -> None:
    texts = golden["texts"].tolist()
    for text, row, length in zip(texts, golden["ids"], golden["lengths"], strict=True):
        assert glap.tokenizer.ids(text) == row[:length].tolist(), text
    largest = np.abs(glap.embed_text(texts) - golden["text"]).max()
    print(f"  GLAP text: max difference {largest:.2e}")
    assert largest <= LARGEST_DIFFERENCE
    assert glap.logit_scale == 100.0


def test_sounds(glap: Glap, golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    from glap_weights import RATE_HZ, SECONDS, wave

    assert golden["audio_names"].tolist() == list(SECONDS)
    paths = []
    for i, name in enumerate(SECONDS):
        paths.append(tmp_path / f"{name}.wav")
        soundfile.write(paths[-1], wave(name), RATE_HZ, subtype="FLOAT")
        largest = np.abs(glap.embed_audio(paths[-1:])[0] - golden["audio"][i]).max()
        print(f"  GLAP sound {name}: max difference {largest:.2e}")
        assert largest <= LARGEST_DIFFERENCE, name
    together = glap.embed_audio(paths)  # the range of 120 dB is that of each sound, not of the batch
    np.testing.assert_allclose(together, golden["audio"], rtol=0, atol=LARGEST_DIFFERENCE)


def test_the_range_of_a_loud_sound_counts(glap: Glap) -> None:
    """The golden file would also hold without the limit of 120 dB if no sound reached it."""
    from glap_weights import wave

    power = glap.audio_encoder.front_end(torch.from_numpy(wave("loud"))[None])
    decibels = 10 * power.clamp_min(1e-10).log10()
    assert decibels.max() - decibels.min() > 125


def test_short_sounds_and_long_texts(glap: Glap) -> None:
    rows = glap.embed_audio([(np.full(100, 0.1, np.float32), 16000)])
    assert np.isfinite(rows).all()
    ids = glap.tokenizer.ids("rain falls " * 900)
    assert len(ids) == 514


def test_a_missing_tensor_and_tokenizer(tmp_path: Path) -> None:
    from glap_weights import glap_state

    state = glap_state(tensors("glap"))
    del state["audio_encoder.model.norm.bias"]
    torch.save({"model": state}, tmp_path / "glap.pt")
    model = aural.load(tmp_path / "glap.pt", device="cpu", tokenizer=tmp_path)
    with pytest.raises(CheckpointError, match=r'"norm.bias" is missing'):
        model.embed_audio([(np.zeros(16000, np.float32), 16000)])
    with pytest.raises(MissingDependencyError, match=r"holds 0 files \*.model"):
        model.embed_text(["rain"])
    with pytest.raises(MissingDependencyError, match="zenodo"):
        aural.load("glap", device="cpu")
