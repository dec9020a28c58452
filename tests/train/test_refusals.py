"""Bad input: one sentence each, before step 0 where that is possible."""

# ruff: noqa: E501
from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sounds import MakeRecipe, make_sounds

from aural.core.errors import AuralError
from aural.data.shards import ShardConfig, write_shards
from aural.train.dryrun import describe
from aural.train.loader import Batches
from aural.train.loop import train
from aural.train.recipes import load_recipe

Case = Callable[[MakeRecipe, Path, Path], object]


def missing_files(make: MakeRecipe, tones: Path, tmp: Path) -> object:
    shutil.copytree(tones.parent, tmp / "copy")
    (tmp / "copy" / "tone-003.wav").unlink()
    return train(make("tiny_clap_2022", f"data.sources.0.manifest={tmp}/copy"), tmp / "out", device="cpu")


def empty_captions(make: MakeRecipe, tones: Path, tmp: Path) -> object:
    manifest = make_sounds(tmp / "bare", 20, captions=False)
    return train(
        make("tiny_clap_2022", f"data.sources.0.manifest={manifest}", "data.template=''"), tmp / "o", device="cpu"
    )


def another_recipe(make: MakeRecipe, tones: Path, tmp: Path) -> object:
    short = ["loop.steps=1", "loop.batch=8", "evaluators=[]"]
    train(make("tiny_clap_2022", *short), tmp / "out", device="cpu")
    return train(make("tiny_clap_2022", *short, "optimizer.lr=0.5"), tmp / "out", device="cpu", resume=True)


def twice(make: MakeRecipe, tones: Path, tmp: Path) -> object:
    recipe = make("tiny_clap_2022", "loop.steps=1", "loop.batch=8", "evaluators=[]")
    train(recipe, tmp / "out", device="cpu")
    return train(recipe, tmp / "out", device="cpu")


CASES: dict[str, tuple[Case, str]] = {
    "unknown key": (lambda m, t, p: m("tiny_clap_2022", "loop.bacth=3"), r'unknown key "loop.bacth"; did you mean "batch"'),
    "unknown recipe": (lambda m, t, p: load_recipe("clap_2032"), r'unknown recipe "clap_2032"; did you mean "clap_2023"'),
    "no place in a list": (lambda m, t, p: m("tiny_clap_2022", "data.sources.7.weight=1"), r'"7" is not an index of a list of 1'),
    "not key=value": (lambda m, t, p: m("tiny_clap_2022", "loop.batch"), r"write KEY=VALUE"),
    "unknown objective": (lambda m, t, p: train(m("tiny_clap_2022", "objective.name=infonce"), p / "o"), r'did you mean "info_nce"'),
    "wrong column": (lambda m, t, p: Batches(m("tiny_clap_2022", "data.captions=[captoins]")), r'no column "captoins"; did you mean "captions"'),
    "empty captions": (empty_captions, r"20 of 20 rows have no caption in .*data\.template"),
    "missing files": (missing_files, r"1 of 40 sound files are missing, the first is tone-003\.wav"),
    "no manifest": (lambda m, t, p: Batches(m("tiny_clap_2022", f"data.sources.0.manifest={p}")), r"no such manifest"),
    "no rows of the split": (lambda m, t, p: Batches(m("tiny_clap_2022", "data.sources.0.split=test")), r'no rows of split "test"'),
    "batch larger than the data": (lambda m, t, p: Batches(m("tiny_clap_2022", "loop.batch=64")), r"loop\.batch is 64, but the data hold 40 clips"),
    "no GPU": (lambda m, t, p: train(m("tiny_clap_2022"), p / "o", device="cuda"), r'device "cuda": torch sees 0 CUDA devices'),
    "another recipe's checkpoint": (another_recipe, r"was trained with another recipe \(optimizer\.lr differs\)"),
    "a run is there": (twice, r"holds a run already; add --resume"),
    "nothing to resume": (lambda m, t, p: train(m("tiny_clap_2022"), p / "o", resume=True, device="cpu"), r"holds no run to continue"),
    "micro-batch does not divide": (lambda m, t, p: train(m("tiny_clap_2022", "loop.micro_batch=5"), p / "o", device="cpu"), r"does not divide the 16 clips"),
    "unknown evaluator": (lambda m, t, p: train(m("tiny_clap_2022", "evaluators=[zero]"), p / "o", device="cpu"), r'unknown evaluator "zero"'),
    "task without a source": (lambda m, t, p: Batches(m("tiny_clap_2023_stage1", "data.sources.0.task=nmaes")), r'task "nmaes" is not one of tasks; did you mean "names"'),
    "fsdp alone": (lambda m, t, p: train(m("tiny_clap_2022", "loop.parallel=fsdp"), p / "o", device="cpu"), r"needs several processes"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_sentence(make_recipe: MakeRecipe, tones: Path, tmp_path: Path, name: str) -> None:
    case, sentence = CASES[name]
    if name == "no GPU" and torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(AuralError, match=sentence) as caught:
        case(make_recipe, tones, tmp_path)
    assert "\n" not in str(caught.value)


def test_corrupt_members_of_a_shard_are_told_and_replaced(make_recipe: MakeRecipe, tones: Path, tmp_path: Path) -> None:
    write_shards(tones, str(tmp_path / "shards"), ShardConfig(size=40))
    (shard,) = (tmp_path / "shards").glob("*.tar")
    data = bytearray(shard.read_bytes())
    at = data.index(b"fLaC", len(data) // 2) + 2000  # inside one sound
    data[at : at + 64] = bytes(64)
    shard.write_bytes(bytes(data))
    changes = [f"data.sources=[{{shards: [{tmp_path}/shards]}}]", "loop.batch=40", "loop.steps=1", "evaluators=[]"]
    recipe = load_recipe("tiny_clap_2022", [*changes, "data.workers=0", "data.shard_mix=2"])
    batch = Batches(recipe)[0]
    assert len(batch["bad"]) == 1
    assert "checksum" in batch["bad"][0] or "damaged" in batch["bad"][0]
    assert len(batch["keys"]) == 40
    assert np.isfinite(batch["wave"].numpy()).all()
    train(recipe, tmp_path / "out", device="cpu")
    assert "damaged" in (tmp_path / "out" / "skipped.txt").read_text()
    with pytest.raises(AuralError, match=r"more than loop\.max_bad_share allows"):
        train(
            load_recipe("tiny_clap_2022", [*changes, "data.workers=0", "loop.max_bad_share=0.0", "loop.steps=3"]),
            tmp_path / "b",
        )


def test_dry_run_says_what_would_be_done(make_recipe: MakeRecipe) -> None:
    page = describe(make_recipe("tiny_clap_2022"), "cpu")
    for part in (
        "parameters",
        "40 clips",
        "20 steps of 16 clips",
        "GiB for weights",
        "wave (16, 16000) float32",
        "tone-",
    ):
        assert part in page
