"""The loop: every tiny recipe runs and leaves a model; NaN, a full disk and a dead worker stop it in a sentence."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from sounds import MakeRecipe

import aural
from aural.core.errors import CheckpointError, DataError
from aural.train import checkpoint, loop
from aural.train.loop import TrainingRun, train
from aural.train.recipes import load_recipe, recipe_names
from aural.train.track import lines_of


def test_recipes_are_whole_and_each_has_a_tiny_twin() -> None:
    names = recipe_names()
    assert {"clap_2022", "clap_2023", "clap_2023_stage1", "laion_htsat_roberta", "sigmoid"} <= set(names)
    for name in names:
        recipe = load_recipe(name)
        assert all((recipe.paper, recipe.shows, recipe.cost, recipe.expected))
        command = recipe.command.split(" && ")[-1]  # a tool may have to make the start weights first
        assert command.split()[:3] == ["aural", "train", "--csv" if name == "fine_tune" else name]
        small_itself = name.startswith(
            ("tiny_", "libre_small", "small_", "text_", "sound_", "frame_", "fine_", "sentences", "self_supervised")
        )
        assert small_itself or f"tiny_{name}" in names


@pytest.mark.parametrize("name", ["tiny_clap_2022", "tiny_laion_htsat_roberta", "tiny_sigmoid"])
def test_a_tiny_recipe_runs_and_its_model_loads(make_recipe: MakeRecipe, tmp_path: Path, name: str) -> None:
    recipe = make_recipe(name, "loop.steps=3", "loop.batch=8", "loop.save_every=2", "schedule.warmup=1")
    folder = train(recipe, tmp_path, device="cpu")
    lines = lines_of(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [0, 1, 2]
    assert {"step", "loss", "lr", "clips_per_s", "logit_scale"} <= lines[0].keys()
    assert lines[-1].keys() >= {"retrieval.text_to_audio_r1", "retrieval.audio_to_text_r5"}
    assert checkpoint.steps_in(tmp_path) == [2, 3]
    model = aural.load(folder, device="cpu")
    assert model.embed_text(["tone number 3"]).shape == (1, 64)
    assert (tmp_path / "curves.png").is_file()


def test_stage_1_learns_every_task_and_hands_its_encoder_on(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("tiny_clap_2023_stage1", "loop.steps=24", "loop.batch=10", "optimizer.lr=3e-3")
    folder = train(recipe, tmp_path / "one", device="cpu")
    lines = lines_of(tmp_path / "one" / "metrics.jsonl")
    for task in ("names", "pitch", "words"):
        losses = [line[f"loss.{task}"] for line in lines if f"loss.{task}" in line]
        assert sum(losses[-4:]) / len(losses[-4:]) < sum(losses[:4]) / len(losses[:4]), task
    assert "| words | caption |" in (tmp_path / "one" / "report.md").read_text()
    two = make_recipe("tiny_clap_2023", f"model.audio_init={folder}", "loop.steps=1", "loop.batch=8", "evaluators=[]")
    train(two, tmp_path / "two", device="cpu")


def test_the_schedule_warms_up_falls_and_waits_on_a_plateau() -> None:
    from aural.train.config import ScheduleConfig
    from aural.train.optimizer import Schedule

    cosine = Schedule(ScheduleConfig(warmup=4, floor=0.1), 1.0, 14, 5)
    assert [cosine.rate(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert cosine.rate(9) == pytest.approx(0.55)  # half way from 1 to 0.1
    assert cosine.rate(14) == pytest.approx(0.1)
    plateau = Schedule(ScheduleConfig(name="plateau", patience=2), 1.0, 99, 2)
    for loss in (3, 3, 2, 2, 2, 2, 2, 2):  # epochs of two steps: 3, 2, 2, 2
        plateau.observe(loss)
    assert plateau.rate(8) == pytest.approx(0.1)


def test_layers_and_towers_learn_at_their_own_rates(make_recipe: MakeRecipe) -> None:
    from aural.train.loader import Batches
    from aural.train.optimizer import prefixes_of, rate_scales

    recipe = make_recipe("tiny_clap_2023", "optimizer.layer_decay=0.5", "optimizer.text_lr=0.1", "loop.batch=8")
    model = loop.build(recipe, Batches(recipe))
    scales = rate_scales([name for name, _ in model.named_parameters()], prefixes_of(model), recipe.optimizer)
    assert scales["audio.encoder.layers.1.blocks.1.norm1.weight"] == 1.0
    assert scales["audio.encoder.layers.1.blocks.0.norm1.weight"] == 0.5
    assert scales["audio.encoder.layers.0.blocks.0.norm1.weight"] == 0.25
    assert scales["text.encoder.model.h.0.ln_1.weight"] == pytest.approx(0.05)
    assert scales["text.projection.linear1.weight"] == scales["logit_scale"] == 1.0


def test_a_locked_tower_stays(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("tiny_clap_2022", "model.locked=[text]", "loop.steps=2", "loop.batch=8", "evaluators=[]")
    train(recipe, tmp_path, device="cpu")
    torch.manual_seed(recipe.seed)
    first = loop.build(recipe, loop.Batches(recipe)).state_dict()
    last, _, _ = checkpoint.read(tmp_path / "checkpoints" / "step-00000002")
    for name, tensor in first.items():
        if name.startswith("text.encoder"):
            assert torch.equal(tensor, last[name])
    assert not torch.equal(first["text.projection.linear1.weight"], last["text.projection.linear1.weight"])


def test_a_loss_that_is_not_finite_stops_with_its_batch_saved(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("tiny_clap_2022", "loop.steps=6", "loop.batch=8", "loop.save_every=2", "evaluators=[]")
    gradients = loop.Stepper.gradients

    def poisoned(self: Any, batch: Any, step: int) -> Any:
        if step == 3:
            batch["wave"][2] = float("nan")
        return gradients(self, batch, step)

    monkeypatch.setattr(loop.Stepper, "gradients", poisoned)
    with pytest.raises(DataError, match=r"the loss of step 3 is nan; its batch is saved in .*rank-0\.pt"):
        train(recipe, tmp_path, device="cpu")
    kept = torch.load(tmp_path / "bad-batch-step-00000003-rank-0.pt")
    assert kept["wave"][2].isnan().all()
    assert len(kept["captions"]) == 8
    assert checkpoint.steps_in(tmp_path) == [2]  # nothing poisoned was saved
    monkeypatch.undo()
    train(recipe, tmp_path, device="cpu", resume=True)


def test_a_full_disk_loses_at_most_the_last_interval(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("tiny_clap_2022", "loop.steps=6", "loop.batch=8", "loop.save_every=2", "evaluators=[]")
    save = torch.save

    def full(value: Any, path: Any) -> None:
        if value.get("step") == 4:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(value, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*the checkpoint of step 2 is whole"):
        train(recipe, tmp_path, device="cpu")
    assert [folder.name for folder in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    monkeypatch.undo()
    train(recipe, tmp_path, device="cpu", resume=True)
    assert [line["step"] for line in lines_of(tmp_path / "metrics.jsonl")] == list(range(6))


def test_a_dead_worker_stops_the_run_in_a_sentence(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("tiny_clap_2022", "loop.steps=6", "loop.batch=8", "loop.save_every=1", "evaluators=[]")
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"workers": 1, "prefetch": 1})})
    joined, main, calls = loop.Batches._joined, os.getpid(), list[int]()

    def dying(self: Any, samples: Any) -> Any:
        calls.append(1)
        if os.getpid() != main and len(calls) > 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return joined(self, samples)

    monkeypatch.setattr(loop.Batches, "_joined", dying)
    with pytest.raises(DataError, match="a loader worker died"):
        train(recipe, tmp_path, device="cpu")
    assert checkpoint.steps_in(tmp_path)
    monkeypatch.undo()
    train(recipe, tmp_path, device="cpu", resume=True)
    assert isinstance(TrainingRun, type)
