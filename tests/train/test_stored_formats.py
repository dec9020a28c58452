"""Model folders, shards, log-mel shards and runs that earlier versions wrote open and give what they gave then.

tests/golden/formats/README.md says what wrote each file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sounds import make_sounds

import aural
from aural.data.inspect import inspect
from aural.data.stream import ShardStream, StreamConfig
from aural.train import checkpoint
from aural.train.loop import train
from aural.train.recipes import load_recipe
from aural.train.track import lines_of
from tiny import tone

FORMATS = Path(__file__).parents[1] / "golden" / "formats"
VERSIONS = ("0.1.0", "0.2.0")


@pytest.fixture(scope="module", params=VERSIONS)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked artifacts of a version."""
    folder = tmp_path_factory.mktemp(f"stored-{request.param}")
    with tarfile.open(FORMATS / f"artifacts-{request.param}.tar.xz") as tar:
        tar.extractall(folder)
    return folder


@pytest.fixture
def expected(stored: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((stored / "expected.json").read_text())
    return values


def test_a_model_folder_gives_the_same_vectors(stored: Path, expected: dict[str, Any]) -> None:
    model = aural.load(stored / "model", device="cpu")
    np.testing.assert_allclose(model.embed_audio([(tone(0.5), 16000)]), expected["audio"], atol=1e-6)
    np.testing.assert_allclose(model.embed_text(["rain", "a dog"]), expected["text"], atol=1e-6)


def test_shards_give_the_same_sounds(stored: Path, expected: dict[str, Any]) -> None:
    assert inspect([str(stored / "shards")], decode=True).damages == []
    hashes = {}
    for sample in ShardStream(StreamConfig(shards=(str(stored / "shards"),), shuffle=False)):
        assert sample.clip is not None
        pcm = np.rint(sample.clip.samples[0] * 32768).astype(np.int16)
        hashes[sample.meta["name"]] = hashlib.sha256(pcm.tobytes()).hexdigest()
    assert hashes == expected["hashes"]


def test_log_mel_shards_are_trained_from(stored: Path, tmp_path: Path) -> None:
    values = json.loads((stored / "run" / "recipe.json").read_text())
    values["data"]["sources"][0] |= {"manifest": "", "shards": [str(stored / "mels" / "clips")]}
    values["model"]["init"] = str(stored / "model")
    (tmp_path / "recipe.yaml").write_text(json.dumps(values))
    train(load_recipe(str(tmp_path / "recipe.yaml")), tmp_path / "run", device="cpu")
    assert checkpoint.steps_in(tmp_path / "run") == [2]


def test_a_run_opens_and_is_resumed(
    stored: Path, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(stored, tmp_path / "out")
    make_sounds(tmp_path / "tones", 2)
    monkeypatch.chdir(tmp_path / "out")
    trained = aural.load("run/model", device="cpu")
    np.testing.assert_allclose(trained.embed_audio([(tone(0.5), 16000)]), expected["trained"], atol=1e-6)
    assert checkpoint.steps_in(Path("run")) == [2]
    recipe = load_recipe("run/recipe.json", ["loop.steps=3"])
    train(recipe, Path("run"), device="cpu", resume=True)
    losses = [line["loss"] for line in lines_of(Path("run/metrics.jsonl")) if "loss" in line]
    assert losses[:2] == pytest.approx(expected["losses"])
    assert len(losses) == 3
