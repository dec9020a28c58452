"""Task cards inside the training loop: the scores are those of `aural evaluate`, and training is not changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

from sounds import make_sounds
from typer.testing import CliRunner

from aural.cli.main import app
from aural.core.errors import ConfigError, DataError
from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.in_training import embedder_in_training, task_evaluators
from aural.evaluate.run import evaluate
from aural.models.load import load
from aural.models.pipeline import Model
from aural.train.loop import train
from aural.train.recipes import load_recipe

CARD = """
name = "tones"
title = "Pitch range of tones"
kind = "zero-shot-single-label"
dimension = "awareness"
aspect = "music"
dataset = "tones"
columns = { split = ["train"] }
classes = { "a low tone" = ["low"], "a middle tone" = ["middle"], "a high tone" = ["high"] }
metric = "accuracy"
citation = "made for this test"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_sounds(tmp_path / "data" / "tones", 12)
    (tmp_path / "tones.toml").write_text(CARD)
    return tmp_path


def lines_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("tiny_recipes")
def test_a_task_is_scored_in_the_loop_and_training_stays_the_same(folder: Path) -> None:
    task = str(folder / "tones.toml")
    changes = [
        f"data.sources.0.manifest={folder / 'data' / 'tones'}",
        "data.workers=0",
        "loop.batch=6",
        "loop.steps=4",
        "loop.evaluate_every=2",
    ]
    plain = train(load_recipe("tiny_clap_2022", [*changes, "evaluators=[]"]), folder / "plain", device="cpu")
    out = folder / "run"
    arguments = [value for change in [*changes, f'evaluators=["{task}"]'] for value in ("--set", change)]
    result = CliRunner().invoke(
        app,
        ["train", "tiny_clap_2022", "--out", str(out), "--device", "cpu", "--data", str(folder / "data"), *arguments],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    scores = {line["step"]: line[f"{task}.accuracy"] for line in lines_of(out) if f"{task}.accuracy" in line}
    assert sorted(scores) == [0, 2, 4]
    model = load(out / "model")
    card = cards.task(task)
    done = evaluate(model, [card], DataRoot(folder / "data"), folder / "scores", resamples=10)
    assert scores[4] == pytest.approx(done.scores["tones@zero-shot"]["score"], abs=1e-12)
    before, after = load(plain), model
    assert isinstance(before, Model)
    assert isinstance(after, Model)
    for name, tensor in before.checkpoint.tensors.items():
        assert torch.equal(tensor, after.checkpoint.tensors[name]), name


def test_the_embedder_uses_the_live_weights(tiny: Model) -> None:
    clap = tiny.clap().eval()
    live = embedder_in_training(clap)
    texts = ["a bell", "rain"]
    assert np.allclose(live.embed_text(texts), tiny.embed_text(texts), atol=1e-6)
    with torch.no_grad():
        clap.text.projection.linear2.weight.mul_(-1.0)
    assert not np.allclose(live.embed_text(texts), tiny.embed_text(texts), atol=1e-2)


def test_bad_names_and_missing_data_are_refused_before_the_run(folder: Path) -> None:
    root = DataRoot(folder / "data")
    with pytest.raises(ConfigError, match='unknown task "tone"'):
        task_evaluators(["tone"], root)
    with pytest.raises(ConfigError, match=r'has no method "magic"; it has .*zero-shot'):
        task_evaluators([f"{folder / 'tones.toml'}@magic"], root)
    with pytest.raises(DataError, match="no such folder"):
        task_evaluators(["libre-household"], root)
