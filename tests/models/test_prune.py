"""Pruned spaces: which dimensions are kept, what the curve says of them, and models with fewer dimensions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import aural
from aural.core.errors import ConfigError
from aural.core.vectors import unit_rows
from aural.models.pipeline import Model
from aural.models.prune import Classes, contributions, kept_curve, order_of, write_pruned
from tiny import save_tiny, tiny_config


def rows_of(weights: np.ndarray, count: int = 300) -> np.ndarray:
    return unit_rows(np.random.default_rng(0).standard_normal((count, len(weights))) * weights)


def test_the_curve_of_a_space_with_four_used_dimensions() -> None:
    weights = np.full(32, 0.01)
    weights[[3, 9, 20, 30]] = 1.0
    rows = rows_of(weights)
    assert contributions(rows).sum() == pytest.approx(1.0, abs=1e-5)
    assert set(order_of(rows)[:4].tolist()) == {3, 9, 20, 30}
    whole, four, two = kept_curve(rows, [32, 4, 2])
    assert (whole.cosine, whole.overlap, whole.random) == (pytest.approx(1.0, abs=1e-5), 1.0, 1.0)
    assert four.cosine > 0.999
    assert four.overlap > 0.9
    assert four.random < 0.3
    assert two.overlap < four.overlap


def test_accuracy_falls_when_the_dimensions_of_a_class_are_pruned() -> None:
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 4, 200)
    prompts = np.eye(4, 8, dtype=np.float32)
    rows = unit_rows(prompts[truth] * np.array([4, 3, 2, 1, 1, 1, 1, 1]) + 0.1 * draw.standard_normal((200, 8)))
    whole, two = kept_curve(rows, [8, 2], classes=Classes(prompts, truth))
    assert whole.accuracy == 1.0
    assert two.accuracy is not None
    assert two.accuracy < 0.8


@pytest.mark.parametrize("kind", ["linear", "none"])
def test_a_pruned_model_gives_the_kept_numbers_of_its_vectors(tmp_path: Path, kind: str) -> None:
    config = tiny_config()
    audio = config.audio.model_copy(update={"projection": "log-linear"})
    size = 16 if kind == "none" else 24
    folder = save_tiny(
        tmp_path / "model", config.model_copy(update={"audio": audio, "text_projection": kind, "embed_dim": size})
    )
    model = aural.load(str(folder), engine="torch", device="cpu")
    assert isinstance(model, Model)
    keep = np.array([7, 2, 11])
    pruned = aural.load(str(write_pruned(model, keep, tmp_path / "pruned")), engine="torch", device="cpu")
    assert pruned.embed_dim == 3
    sounds = [(np.random.default_rng(i).uniform(-0.3, 0.3, 16000).astype(np.float32), 16000) for i in range(3)]
    texts = ["a dog", "rain on leaves"]
    for name, inputs in (("embed_audio", sounds), ("embed_text", texts)):
        before, after = (getattr(one, name)(inputs) for one in (model, pruned))
        assert np.allclose(after, unit_rows(before[:, keep]), atol=1e-5)


def test_towers_that_end_in_no_linear_map_are_refused(tmp_path: Path) -> None:
    model = aural.load(str(save_tiny(tmp_path / "model")), engine="torch", device="cpu")
    assert isinstance(model, Model)
    with pytest.raises(ConfigError, match="does not end in a linear map"):
        write_pruned(model, np.arange(3), tmp_path / "pruned")
