"""GLAP, M2D-CLAP and BEATs at their published size: `aural.load` gives the vectors of the publisher's code."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from layouts import tensors

import aural
from aural.core.types import Embedder

LARGEST_DIFFERENCE = 1e-5

pytestmark = pytest.mark.slow


def check(rows: np.ndarray, right: np.ndarray, what: str) -> None:
    largest = np.abs(rows - right).max()
    print(f"  {what}, published size: max difference {largest:.2e}")
    assert rows.shape == right.shape
    assert largest <= LARGEST_DIFFERENCE, what


def sounds(weights: ModuleType, folder: Path) -> list[Path]:
    """Write the sounds of a golden file and return their paths."""
    paths = [folder / f"{name}.wav" for name in weights.SECONDS]
    for path in paths:
        soundfile.write(path, weights.wave(path.stem), weights.RATE_HZ, subtype="FLOAT")
    return paths


def written(path: Path, content: dict[str, object], tokenizer: Path | None = None) -> Embedder:
    torch.save(content, path)
    content.clear()  # two copies of a network of the published size are enough
    return aural.load(path, device="cpu", tokenizer=tokenizer)


@pytest.mark.parametrize("full_golden", ["beats"], indirect=True)
def test_beats(full_golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    import beats_weights

    content = {"cfg": beats_weights.FULL, "model": beats_weights.beats_state(tensors("beats_full"))}
    model = written(tmp_path / "beats.pt", content)
    check(model.embed_audio(sounds(beats_weights, tmp_path)), full_golden["audio"], "BEATs")


@pytest.mark.parametrize("full_golden", ["m2d"], indirect=True)
@pytest.mark.parametrize("year", [2024, 2025])
def test_m2d(year: int, full_golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    import m2d_weights

    gte = None
    if year == 2024:
        state = m2d_weights.m2d_state(0, tensors("m2d_gte_full"))
        gte = m2d_weights.write_gte(tmp_path / "gte", state, m2d_weights.FULL_BERT)
    content = {"model": m2d_weights.m2d_state(year, tensors(f"m2d_{year}_full")), "args": argparse.Namespace(epochs=1)}
    model = written(tmp_path / "checkpoint.pth", content, gte)
    check(model.embed_audio(sounds(m2d_weights, tmp_path)), full_golden[f"audio_{year}"], f"M2D-CLAP {year} sound")
    texts = full_golden["texts"].tolist()
    check(model.embed_text(texts), full_golden[f"text_{year}"], f"M2D-CLAP {year} text")


@pytest.mark.parametrize("full_golden", ["glap"], indirect=True)
def test_glap(full_golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    import glap_weights

    tokenizer = glap_weights.write_sentencepiece(tmp_path / "tokenizer.model")
    content: dict[str, object] = {"model": glap_weights.glap_state(tensors("glap_full"))}
    model = written(tmp_path / "glap.pt", content, tokenizer)
    rows = np.concatenate([model.embed_audio([path]) for path in sounds(glap_weights, tmp_path)])
    check(rows, full_golden["audio"], "GLAP sound")
    check(model.embed_text(full_golden["texts"].tolist()), full_golden["text"], "GLAP text")
