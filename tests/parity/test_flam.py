"""OpenFLAM: `aural.load` gives the vectors and frame scores of the publisher's code, from file to vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from golden_tokenizers import write_tokenizer
from layouts import tensors

import aural
from aural.core.errors import CheckpointError
from aural.core.types import FrameScorer
from aural.models.families.flam import Flam
from aural.models.locate import LocateConfig, Locator

GOLDEN = "parity_flam.npz"
LARGEST_DIFFERENCE = 1e-5
LARGEST_OF_SCORES = 1e-4
"""Scores multiply cosines by about 10 before the sigmoid."""

FRAME_S = 0.3125
"""10 s in 32 frames of HTSAT."""


@pytest.fixture(scope="module")
def flam(tmp_path_factory: pytest.TempPathFactory) -> Flam:
    from make_flam_weights import flam_state

    folder = tmp_path_factory.mktemp("flam")
    torch.save(flam_state(tensors("flam")), folder / "open_flam.pth")
    model = aural.load(folder / "open_flam.pth", device="cpu", tokenizer=write_tokenizer("roberta", folder))
    assert isinstance(model, Flam)
    assert isinstance(model, FrameScorer)
    return model


def close(ours: np.ndarray, peer: np.ndarray, what: str, limit: float = LARGEST_DIFFERENCE) -> None:
    assert ours.shape == peer.shape
    largest = np.abs(ours - peer).max()
    print(f"  FLAM {what}: max difference {largest:.2e}")
    assert largest <= limit, what


def test_flam_equals_its_publisher(flam: Flam, golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    from make_flam_weights import SECONDS, wave

    texts = golden["texts"].tolist()
    close(flam.embed_text(texts), golden["text"], "text")
    assert golden["audio_names"].tolist() == list(SECONDS)
    for i, (name, seconds) in enumerate(SECONDS.items()):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, wave(name), 48000, subtype="FLOAT")
        count = int(np.ceil(seconds / FRAME_S))  # frames of the padding are left out
        close(flam.embed_audio([path])[0], golden["audio"][i], f"sound {name}")
        close(flam.embed_frames(path)[0], golden["frames"][i, :count], f"frames {name}")
        scores, times = flam.frame_probabilities(path, texts)
        close(scores, golden["scores"][i][:, :count], f"frame scores {name}", LARGEST_OF_SCORES)
        assert times[-1][1] == pytest.approx(seconds)
    assert np.median(golden["scores"].std(axis=2)) > 50 * LARGEST_OF_SCORES  # the frames differ
    located = Locator(flam, texts[:1], LocateConfig(template="{}")).locate(path)
    assert located.best[texts[0]][0] == pytest.approx(golden["scores"][-1, 0].max(), abs=LARGEST_OF_SCORES)


def test_a_long_sound_is_scored_window_by_window(flam: Flam) -> None:
    """HTSAT attends within its window of 10 s, so each block equals that window as a sound of its length."""
    wave = np.random.default_rng(0).standard_normal(48000 * 25).astype(np.float32) / 10
    blocks = list(flam.stream_probabilities((wave, 48000), ["rain", "a dog"]))
    assert [len(rows) for rows, _ in blocks] == [32, 32, 16]
    for rows, at in zip((blocks[0][0], blocks[1][0], blocks[2][0]), (0, 10, 15), strict=True):
        alone, _ = flam.frame_probabilities((wave[48000 * at : 48000 * (at + 10)], 48000), ["rain", "a dog"])
        assert np.abs(rows - alone.T[-len(rows) :]).max() < 1e-6
    complete, times = flam.frame_probabilities((wave, 48000), ["rain", "a dog"])
    assert np.array_equal(complete.T, np.concatenate([rows for rows, _ in blocks]))
    assert np.allclose(times, np.concatenate([times for _, times in blocks]))


def test_another_file_with_such_a_head_is_refused(tmp_path: Path) -> None:
    torch.save({"fc_per_text_logit_bias.0.weight": torch.zeros(4, 4)}, tmp_path / "open_flam.pth")
    with pytest.raises(CheckpointError, match="missing; the file is not the checkpoint"):
        aural.load(tmp_path / "open_flam.pth", device="cpu")
