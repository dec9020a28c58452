"""M2D-CLAP: `aural.load` gives the vectors of the publisher's code, from file to vector."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from layouts import tensors

import aural
from aural.core.errors import CheckpointError
from aural.models.families.m2d import M2dClap

GOLDEN = "parity_m2d.npz"
LARGEST_DIFFERENCE = 1e-5


def written(year: int, folder: Path) -> M2dClap:
    from m2d_weights import m2d_state, write_gte

    # Training scripts of its kind store their arguments next to the weights.
    state = m2d_state(year, tensors(f"m2d_{year}"))
    torch.save({"model": state, "args": argparse.Namespace(epochs=1)}, folder / "checkpoint.pth")
    gte = None if year == 2025 else write_gte(folder / "gte", m2d_state(0, tensors("m2d_gte")))
    model = aural.load(folder / "checkpoint.pth", device="cpu", tokenizer=gte)
    assert isinstance(model, M2dClap)
    return model


@pytest.mark.parametrize("year", [2024, 2025])
def test_m2d_equals_its_publisher(year: int, golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    from m2d_weights import RATE_HZ, SECONDS, wave

    model = written(year, tmp_path)
    paths = []
    for name in SECONDS:
        paths.append(tmp_path / f"{name}.wav")
        soundfile.write(paths[-1], wave(name), RATE_HZ, subtype="FLOAT")
    for kind, rows in (("sound", model.embed_audio(paths)), ("text", model.embed_text(golden["texts"].tolist()))):
        right = golden[f"{'audio' if kind == 'sound' else kind}_{year}"]
        largest = np.abs(rows - right).max()
        print(f"  M2D-CLAP {year} {kind}: max difference {largest:.2e}")
        assert rows.shape == right.shape
        assert largest <= LARGEST_DIFFERENCE, kind
    assert np.abs(golden[f"audio_{year}"][0] - golden[f"audio_{year}"][1]).max() > 1000 * LARGEST_DIFFERENCE


def test_an_encoder_alone_and_a_wrong_folder_are_refused(tmp_path: Path) -> None:
    state = {"cls_token": torch.zeros(1, 1, 8)}
    torch.save(state, tmp_path / "encoder.pth")
    with pytest.raises(CheckpointError, match="without a text side"):
        aural.load(tmp_path / "encoder.pth", device="cpu")
    torch.save(state | {"audio_proj.0.weight": torch.zeros(8, 8)}, tmp_path / "clap.pth")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not the folder of thenlper/gte-base"):
        aural.load(tmp_path / "clap.pth", device="cpu", tokenizer=tmp_path).embed_text(["rain"])
