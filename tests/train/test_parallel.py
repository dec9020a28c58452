"""Two processes give the losses of one at the same global batch: DDP, DDP with gradient caching, and FSDP2."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sounds import MakeRecipe

from aural.train.config import Recipe
from aural.train.loop import train
from aural.train.track import lines_of

HERE = Path(__file__).parent
STEPS = 20


def run(recipes: dict[str, Recipe], folder: Path, world: int) -> dict[str, list[float]]:
    """The losses of each recipe."""
    folder.mkdir()
    for name, recipe in recipes.items():
        (folder / f"{name}.json").write_text(json.dumps(recipe.model_dump(mode="json")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, str(HERE / "run_ranks.py"), str(folder), str(world)]
    environment = os.environ | {"TEST_PORT": port, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    lines = {name: lines_of(folder / name / "metrics.jsonl") for name in recipes}
    return {name: [line["loss"] for line in own if "loss" in line] for name, own in lines.items()}


@pytest.fixture
def changes() -> list[str]:
    # SGD-like: Adam's first steps are signs of gradients, which turn rounding into whole steps
    dropout = [
        "optimizer.lr=1e-3",
        "optimizer.eps=1e-3",
        "schedule={name: constant, warmup: 2}",
        "evaluators=[]",
        "loop.save_every=1000",
    ]
    return [f"loop.steps={STEPS}", "loop.batch=8", "model.batch_norm=calibrated", *dropout]


@pytest.mark.slow
def test_two_processes_equal_one_over_20_steps(make_recipe: MakeRecipe, tmp_path: Path, changes: list[str]) -> None:
    one = run({"one": make_recipe("tiny_clap_2023", *changes)}, tmp_path / "alone", 1)["one"]
    assert len(one) == STEPS
    assert one[-1] < one[0]
    ways = {
        "ddp": [],
        "cached": ["loop.micro_batch=2", "loop.steps=6"],
        "own_exchange": ["objective={name: tiled_info_nce, options: {exchange: ring}}", "loop.steps=6"],
        "fsdp": ["loop.parallel=fsdp", "loop.steps=6"],
    }
    recipes = {name: make_recipe("tiny_clap_2023", *changes, *more) for name, more in ways.items()}
    for name, two in run(recipes, tmp_path / "two", 2).items():
        assert len(two) == (STEPS if name == "ddp" else 6)
        assert two == pytest.approx(one[: len(two)], abs=1e-5), name


@pytest.mark.slow
def test_two_processes_with_a_teacher_equal_one(make_recipe: MakeRecipe, tmp_path: Path, changes: list[str]) -> None:
    teacher = train(
        make_recipe("tiny_clap_2023", "loop.steps=1", "loop.batch=8", "seed=5", "evaluators=[]"),
        tmp_path / "t",
        device="cpu",
    )
    recipe = make_recipe("tiny_clap_2023", *changes, "loop.steps=4", f"distill.teacher={teacher}", "distill.weight=3")
    one, two = (run({"taught": recipe}, tmp_path / str(world), world)["taught"] for world in (1, 2))
    assert len(two) == 4
    assert two == pytest.approx(one, abs=1e-5)
