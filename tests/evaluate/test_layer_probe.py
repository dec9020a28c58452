"""Probes of layers: a planted layer is read, random ones are at chance, and real models give their layers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import Oracle, RandomEmbedder, made_up

import aural
from aural.core.errors import ConfigError
from aural.core.types import Clip, FloatArray
from aural.evaluate import cards
from aural.evaluate.adapters.embedders import open_embedder
from aural.evaluate.probing.layers import layers_of, pooled
from aural.evaluate.report.compare import read_runs
from aural.evaluate.report.page import write_page
from aural.evaluate.run import evaluate


class Planted(RandomEmbedder):
    """A model whose first layer is random and whose second one holds the classes."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self.oracle = oracle

    def embed_layers(self, clips: Iterable[Any]) -> dict[str, FloatArray]:
        clips = list(clips)
        return {"noise": self.embed_audio(clips), "classes": self.oracle.embed_audio(clips)}


def test_a_planted_layer_is_read_and_the_control_is_not(tmp_path: Path) -> None:
    card = cards.task("gtzan-genres")
    root = made_up(card, tmp_path / "data", 100)
    model = Planted(Oracle(card, root))
    run = evaluate(model, [card], root, tmp_path / "out", methods=("layer-probe",), resamples=10)
    record = run.scores["gtzan-genres@layer-probe"]
    noise, classes = (record["details"]["layers"][name] for name in ("noise", "classes"))
    assert record["score"] == classes["linear"] == classes["knn"] == 1.0
    assert classes["1-shot"] == classes["5-shot"] == 1.0
    assert max(noise[probe] for probe in ("linear", "1-shot", "5-shot")) < 0.35
    assert classes["cca"] == pytest.approx(1.0, abs=1e-6)
    assert classes["information"] > 2 * classes["information of random order"]
    assert abs(noise["cca"] - noise["cca of random order"]) < 0.1
    page = write_page(read_runs([tmp_path / "out"]), tmp_path / "page.html").read_text()
    assert "canonical correlation" in page
    assert "<td class=num>noise</td>" in page
    assert json.loads((tmp_path / "out/scores/gtzan-genres@layer-probe.json").read_text())["details"]["layers"]


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match="gives no layers"):
        layers_of(RandomEmbedder(), [])


@pytest.mark.parametrize(
    ("shape", "channels"), [((1, 4, 3), -1), ((1, 3, 4, 5), 1), ((1, 4, 5, 3), -1), ((1, 2, 3, 4, 5), 2)]
)
def test_layers_are_averaged_over_all_but_their_channels(shape: tuple[int, ...], channels: int) -> None:
    layer = torch.zeros(shape).movedim(channels, -1) + torch.tensor([1.0, 2.0, 3.0])
    assert pooled(layer.movedim(-1, channels), channels).tolist() == [1.0, 2.0, 3.0]


def test_an_audio_tower_gives_the_layers_of_its_encoder(tiny_folder: Path) -> None:
    tiny_model = aural.load(tiny_folder)
    rng = np.random.default_rng(0)
    clips = [Clip(rng.standard_normal((1, 8000)).astype(np.float32) * 0.1, tiny_model.sample_rate_hz) for _ in range(2)]
    layers = layers_of(tiny_model, clips)
    assert len(layers) > 1
    assert all(rows.shape[0] == 2 and rows.ndim == 2 for rows in layers.values())
    assert np.allclose(layers["embedding"], tiny_model.embed_audio(clips), atol=1e-5)


def test_the_branch_of_a_tower_gives_its_layers_too() -> None:
    model = aural.load("libre-base", engine="torch")
    layers = layers_of(model, [Clip(np.ones((1, 24_000), np.float32) * 0.1, 24_000)])
    kinds = [name.rsplit(" ", 1)[0] for name in layers]
    assert list(dict.fromkeys(kinds)) == ["layer", "branch layer", "embedding"]
    assert kinds.count("branch layer") == 14
    assert layers["branch layer 14"].shape == (1, 1024)


def test_a_self_supervised_encoder_is_opened_by_its_folder(tmp_path: Path) -> None:
    from aural.data.store import pack_sounds
    from aural.data.worlds import open_world
    from aural.train.loop import train
    from aural.train.recipes import load_recipe

    world = open_world("notes", {})
    items = [world.item(i) for i in range(4)]
    np.savez_compressed(tmp_path / "n.npz", **pack_sounds((i.wave, i.sample_rate_hz, i.facts) for i in items))  # type: ignore[arg-type, misc]
    source = f"data.sources=[{{world: stored, world_options: {{files: ['{tmp_path / 'n.npz'}']}}}}]"
    changes = (source, "loop.steps=1", "loop.batch=2", "schedule.warmup=0")
    folder = train(load_recipe("self_supervised", changes), tmp_path / "run", device="cpu")

    def load(name: str) -> Any:
        raise AssertionError("the folder is opened by the adapter")

    model = open_embedder(str(folder), load)
    clips = [Clip(item.wave[None], 16_000) for item in items]  # type: ignore[index]
    layers = model.embed_layers(clips)
    assert list(layers) == ["frames", "latents", "context 1", "context 2", "context 3"]
    assert layers["frames"].shape == (4, 64)
    assert np.allclose(np.linalg.norm(model.embed_audio(clips), axis=1), 1, atol=1e-5)
    with pytest.raises(ConfigError, match="without texts"):
        model.embed_text(["a dog"])
