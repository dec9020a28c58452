"""A run killed by SIGKILL at random moments goes on to the same losses, bit for bit, as an unbroken one."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sounds import MakeRecipe

from aural.core.errors import CheckpointError
from aural.train.checkpoint import newest, read, save, steps_in
from aural.train.track import lines_of

HERE = Path(__file__).parent
STEPS = 14


def losses(out: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in lines_of(out / "metrics.jsonl") if "loss" in line]


def run(recipe: Path, out: Path, *options: str) -> int:
    command = [sys.executable, str(HERE / "run_killed.py"), str(recipe), str(out), *options]
    return subprocess.run(command, capture_output=True, check=False, timeout=300).returncode


def test_kill_9_at_random_moments(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    """Workers, dropout, EMA, clip-grad, augmentation and two epochs' borders are all on the way."""
    recipe = make_recipe(
        "tiny_clap_2022", f"loop.steps={STEPS}", "loop.save_every=3", "loop.batch=8", "data.workers=1",
        "optimizer.ema=0.9", "optimizer.clip_grad=1.0", "data.augment.noise_chance=0.5", "evaluators=[]",
        "data.augment.gain_db=[-6,6]",
    )  # fmt: skip
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(recipe.model_dump(mode="json")))
    assert run(file, tmp_path / "whole") == 0
    wanted = losses(tmp_path / "whole")
    assert [step for step, _ in wanted] == list(range(STEPS))

    draw = random.Random()
    moments = [(draw.randrange(0, 6), "after"), (draw.choice((8, 11)), "inside")]
    out = tmp_path / "broken"
    for i, (step, place) in enumerate(moments):
        resume = ["--resume"] if i else []
        assert run(file, out, *resume, "--kill-at", f"{step}:{place}") == -9, moments
        assert all(step % 3 == 0 for step in steps_in(out))
    assert run(file, out, "--resume") == 0, moments
    assert losses(out) == wanted, moments  # floats compared exactly
    for name in ("model.safetensors", "ema.safetensors"):
        a, b = (newest(folder) / name for folder in (tmp_path / "whole", out))  # type: ignore[operator]
        assert a.read_bytes() == b.read_bytes()


def test_a_checkpoint_that_cannot_be_deleted_completely_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting removes the weights first; the folder must not look like a checkpoint afterwards."""

    def part_of(folder: Path, ignore_errors: bool = False) -> None:
        for file in sorted(Path(folder).glob("*"))[:1]:
            file.unlink()

    options: dict[str, Any] = {"model": {"a": torch.ones(2)}, "ema": None, "rest": {}, "keep": 1}
    save(tmp_path, 1, **options)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", part_of)
        save(tmp_path, 2, **options)
    assert steps_in(tmp_path) == [2]
    assert read(newest(tmp_path))[0]["a"].tolist() == [1, 1]  # type: ignore[arg-type]
    save(tmp_path, 3, **options)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]


def test_a_flipped_bit_of_a_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    rest = {"optimizer": {"state": {0: {"step": 3, "average": torch.ones(4)}}, "groups": [{"lr": 0.1}]}, "name": "a"}
    save(tmp_path, 1, model={"a": torch.ones(2)}, ema=None, rest=rest, keep=1)
    file = tmp_path / "checkpoints" / "step-00000001" / "training.pt"
    content = file.read_bytes()
    refused = 0
    for place in range(0, 900, 3):  # the pickle is at the start of the archive
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        file.write_bytes(changed)
        try:
            read(file.parent)
        except CheckpointError as error:
            refused += "delete it to continue" in str(error) and "\n" not in str(error)
    assert refused > 50


def test_optimizer_state_returns_exactly(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    from aural.train.loop import train

    recipe = make_recipe(
        "tiny_sigmoid", "loop.steps=4", "loop.save_every=2", "loop.batch=8", "evaluators=[]", "loop.keep=9"
    )
    train(recipe, tmp_path / "a", device="cpu")
    states = [torch.load(tmp_path / "a" / "checkpoints" / f"step-{n:08d}" / "training.pt") for n in (2, 4)]
    assert states[0]["step"] == 2
    for folder in (tmp_path / "a" / "checkpoints" / "step-00000004").iterdir():
        folder.unlink()
    before = losses(tmp_path / "a")
    train(recipe, tmp_path / "a", device="cpu", resume=True)
    again = torch.load(tmp_path / "a" / "checkpoints" / "step-00000004" / "training.pt")
    for key, state in states[1]["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, again["optimizer"]["state"][key][name])
    assert losses(tmp_path / "a") == before
