"""Test HEAR's convention by its validator where installed, and by the numbers of `embed_audio` otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aural.core.types import Clip
from aural.evaluate.adapters import hear
from aural.models.pipeline import Model
from tiny import tone


def test_scenes_and_timestamps(tiny: Model, tiny_folder: Path) -> None:
    model = hear.load_model(str(tiny_folder))
    waves = np.stack([tone(2.4, model.sample_rate, 300), tone(2.4, model.sample_rate, 900)])
    audio = torch.from_numpy(waves)
    scenes = hear.get_scene_embeddings(audio, model)
    assert scenes.numpy() == pytest.approx(
        tiny.embed_audio([Clip(w[None], model.sample_rate) for w in waves]), abs=1e-6
    )
    frames, times = hear.get_timestamp_embeddings(audio, model)
    assert frames.shape == (2, 3, model.timestamp_embedding_size)
    assert times.tolist() == [[0, 1000, 2000]] * 2
    middle = Clip(waves[1][None, model.sample_rate // 2 : 3 * model.sample_rate // 2], model.sample_rate)
    assert frames[1, 1].numpy() == pytest.approx(tiny.embed_audio([middle])[0], abs=1e-6)


def test_rates_that_hear_does_not_give(tiny: Model) -> None:
    class At32k:
        """A tiny model with another sample rate that records its inputs."""

        sample_rate_hz, embed_dim = 32_000, tiny.embed_dim

        def embed_audio(self, clips: list[Clip]) -> np.ndarray:
            self.rates = {clip.sample_rate_hz for clip in clips}
            return tiny.embed_audio(clips)

    embedder = At32k()
    model = hear.HearModel(embedder, 1.0)
    assert model.sample_rate == 44_100
    wave = tone(1.0, 44_100)
    found = hear.get_scene_embeddings(torch.from_numpy(wave[None]), model)
    assert embedder.rates == {44_100}
    assert found[0].numpy() == pytest.approx(tiny.embed_audio([Clip(wave[None], 44_100)])[0], abs=1e-6)


def test_the_validator_of_hear(tiny_folder: Path) -> None:
    validate = pytest.importorskip("hearvalidator.validate")
    validate.ValidateModel("aural.evaluate.adapters.hear", str(tiny_folder), "cpu")()
