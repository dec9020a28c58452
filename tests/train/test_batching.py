"""Batches by length: little padding, every clip once, the same batches for any number of processes and after a stop."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sounds import RATE, MakeRecipe
from test_parallel import run
from test_step import in_float64, no_dropout
from torch import Tensor

from aural.core.errors import AuralError, ConfigError, DataError
from aural.data.manifest import read_manifest, write_manifest
from aural.encoders.builtin import AUDIO_ENCODERS
from aural.train.batching import Lengths, Numbers, Seconds
from aural.train.config import BatchingConfig, Recipe, SourceConfig
from aural.train.dryrun import describe
from aural.train.loader import Batches
from aural.train.loop import prepare, train
from aural.train.parallel import Place
from aural.train.render import render
from aural.train.selected import system_of
from aural.train.track import lines_of

VIT = (
    "model.clap.audio.encoder=vit",
    "model.clap.audio.encoder_options={n_mels: 32, dim: 32, depth: 2, heads: 2, max_frames: 256, drop_path: 0.0}",
    "model.clap.audio.window_s=4",
    "model.clap.audio.shorter=repeat",
    "loop.batch=8",
    "evaluators=[]",
)
BY_LENGTH = (*VIT, "data.batching={name: lengths, seconds: 16, pool: 16, multiple: 2, shortest_s: 1}")


def uniform(numbers: Numbers) -> Seconds:
    """Lengths of 1 to 30 s, evenly distributed, as a function of the sample."""
    return np.array([np.random.default_rng(int(i)).uniform(1, 30) for i in numbers])


def plan(config: BatchingConfig, *, seed: int = 0, world: int = 1, clips: int = 1 << 30) -> Lengths:
    return Lengths(config, 64 * 30.0, lambda i: (i % clips, uniform(i % clips)), seed=seed, world=world)


def test_padding_at_1_to_30_s_is_below_5_percent() -> None:
    batches = plan(BatchingConfig(name="lengths"))
    spoken = padded = 0.0
    for step in range(batches.steps(2 * 8192)):
        lengths = uniform(batches.group(step).numbers)
        width = np.ceil(lengths.max() / 0.1) * 0.1
        assert width * len(lengths) <= 64 * 30 + 1e-6
        spoken, padded = spoken + lengths.sum(), padded + width * len(lengths)
    assert 1 - spoken / padded < 0.05
    fixed = 1 - uniform(np.arange(1000)).mean() / 30
    assert fixed > 0.4  # what windows of 30 s would fill or pad


def test_every_sample_once_in_equal_parts() -> None:
    config = BatchingConfig(name="lengths", pool=512)
    batches = plan(config, world=4)
    steps = batches.steps(1024)
    groups = [batches.group(step) for step in range(steps)]
    assert sorted(np.concatenate([group.numbers for group in groups])) == list(range(1024))
    for group in groups:
        parts = [group.part(rank, 4) for rank in range(4)]
        assert len({len(part) for part in parts}) == 1
        assert np.array_equal(np.concatenate(parts), group.numbers)


def test_a_clip_is_hardly_ever_its_own_negative() -> None:
    """Data of 100 clips in a pool of 1,024: without care, all ten repetitions of a clip would be in one group."""
    batches = plan(BatchingConfig(name="lengths", pool=1024), clips=100)
    groups = [batches.group(step).numbers for step in range(batches.steps(4096))]
    assert sorted(np.concatenate(groups)) == list(range(4096))
    twice = sum(len(group) - len(set(group % 100)) for group in groups)
    assert twice <= 7 * 4096 // 100  # those left over at the end of a repetition
    assert max(len(group) for group in groups) > 32
    evenly = plan(BatchingConfig(name="lengths", pool=960), clips=96)
    assert all(len(set(g % 96)) == len(g) for g in (evenly.group(s).numbers for s in range(evenly.steps(1920))))


def test_groups_are_a_function_of_seed_and_step() -> None:
    config = BatchingConfig(name="lengths", pool=512)
    one, two, other = plan(config), plan(config, world=8), plan(config, seed=1)
    steps = one.steps(2000)
    for step in (steps - 1, 0, steps // 2):  # a fresh plan may begin anywhere
        assert np.array_equal(one.group(step).numbers, two.group(step).numbers)
        assert np.array_equal(plan(config).group(step).numbers, one.group(step).numbers)
    assert any(not np.array_equal(one.group(s).numbers, other.group(s).numbers) for s in range(5))
    lengths = [uniform(one.group(step).numbers).max() for step in range(one.firsts[1])]
    assert lengths != sorted(lengths)
    assert lengths != sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("config", "sentence"), [({"multiple": 6}, "processes cannot share"), ({"pool": 20, "multiple": 8}, "pool is 20")]
)
def test_what_cannot_be_shared_is_refused(config: dict[str, int], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        plan(BatchingConfig.parse({"name": "lengths"} | config, "test"), world=4)


def batches_of(recipe: Recipe, rank: int = 0, world: int = 1) -> Batches:
    _, config = system_of(recipe)
    return Batches(recipe, plan=config.plan(recipe), rank=rank, world=world)


def tensors(batch: dict[str, object]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("pcm16", ["false", "true"])
def test_a_padded_batch_equals_single_clips(make_recipe: MakeRecipe, tones: Path, pcm16: str) -> None:
    recipe = make_recipe("tiny_clap_2022", *BY_LENGTH, f"data.pcm16={pcm16}", "data.crop=first")
    kind, config = system_of(recipe)
    torch.manual_seed(0)
    system = kind(config, None).eval()
    batches = batches_of(recipe)
    checked = 0
    seconds = {row.path: round(row.duration_s * RATE) for row in read_manifest(tones)}
    for step in range(4):
        batch = batches[step]
        together = system(tensors(batch))["audio_emb"]
        mel = recipe.model.clap.audio.mel  # type: ignore[union-attr]
        for i, frames in enumerate(batch["frames"].tolist()):
            samples = seconds[batch["keys"][i]]
            single = {"wave": batch["wave"][i : i + 1, :samples], "ids": batch["ids"][:1], "mask": batch["mask"][:1]}
            assert mel.frames(samples) == frames
            torch.testing.assert_close(system(single)["audio_emb"][0], together[i], atol=1e-5, rtol=1e-5)
            checked += 1
        assert 0 <= batch["padding"][0] < 0.5
    assert checked >= 16


def test_stored_log_mels_are_padded_too(make_recipe: MakeRecipe, tones: Path, tmp_path: Path) -> None:
    render(make_recipe("tiny_clap_2022", *BY_LENGTH), tmp_path / "mels")
    recipe = make_recipe("tiny_clap_2022", *BY_LENGTH)
    stored = SourceConfig(shards=(str(tmp_path / "mels" / "clips"),))
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"sources": (stored,)})})
    kind, config = system_of(recipe)
    torch.manual_seed(0)
    system = kind(config, None).eval()
    batch = batches_of(recipe)[0]
    together = system(tensors(batch))["audio_emb"]
    texts = {"ids": batch["ids"][:1], "mask": batch["mask"][:1]}
    for i, frames in enumerate(batch["frames"].tolist()):
        single = system(texts | {"mel": batch["mel"][i : i + 1, :frames]})["audio_emb"][0]
        torch.testing.assert_close(single, together[i], atol=1e-5, rtol=1e-5)
    assert len(set(batch["frames"].tolist())) > 1


def test_two_processes_have_the_clips_of_one(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("tiny_clap_2022", *BY_LENGTH)
    one, *two = (batches_of(recipe, rank, world) for rank, world in ((0, 1), (0, 2), (1, 2)))
    sizes = set()
    for step in range(one.batching.steps(32)):
        keys = one[step]["keys"]
        assert keys == [key for batches in two for key in batches[step]["keys"]]
        sizes.add(len(keys))
    assert len(sizes) > 1
    assert all(size % 2 == 0 for size in sizes)


def test_a_continued_run_is_bit_equal(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(
        "tiny_clap_2022", *BY_LENGTH, "loop.steps=6", "loop.save_every=3", "loop.keep=9", "data.workers=1",
        "data.pack_text=32",
    )  # fmt: skip
    train(recipe, tmp_path / "a", device="cpu")
    lines = [line for line in lines_of(tmp_path / "a" / "metrics.jsonl") if "loss" in line]
    assert len(lines) == 6
    assert len({line["clips"] for line in lines}) > 1
    shutil.rmtree(tmp_path / "a" / "checkpoints" / "step-00000006")
    train(recipe, tmp_path / "a", device="cpu", resume=True)
    again = [line for line in lines_of(tmp_path / "a" / "metrics.jsonl") if "loss" in line]
    assert [(line["step"], line["loss"]) for line in again] == [(line["step"], line["loss"]) for line in lines]


def test_gradient_caching_gives_the_gradients_of_a_batch_by_length(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("tiny_clap_2022", *BY_LENGTH)
    with in_float64():
        (grads, scalars), (others, other_scalars) = no_dropout(recipe, 0), no_dropout(recipe, 2)
    assert float(other_scalars["loss"]) == pytest.approx(float(scalars["loss"]), rel=1e-10)
    assert grads.keys() == others.keys()
    for name, grad in grads.items():
        assert float((others[name] - grad).norm()) <= 1e-9 * float(grad.norm()) + 1e-15, name


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(
        "tiny_clap_2022", *BY_LENGTH, "loop.epochs=1", "loop.steps=0", "optimizer.eps=1e-3", "loop.save_every=1000"
    )
    one, two = (run({"lengths": recipe}, tmp_path / str(world), world)["lengths"] for world in (1, 2))
    assert len(one) > 3
    assert two == pytest.approx(one, abs=1e-5)


@pytest.mark.parametrize("name", sorted(AUDIO_ENCODERS))
def test_encoders_that_do_not_mask_are_refused(make_recipe: MakeRecipe, name: str) -> None:
    options = BY_LENGTH[1] if name == "vit" else "model.clap.audio.encoder_options={n_mels: 32}"
    recipe = make_recipe("tiny_clap_2022", *BY_LENGTH, f"model.clap.audio.encoder={name}", options)
    place = Place(0, 1, torch.device("cpu"))
    if AUDIO_ENCODERS[name].masks_padding:
        prepare(recipe, place)
        return
    with pytest.raises(ConfigError, match=f'"{name}" does not mask padding'):
        prepare(recipe, place)


@pytest.mark.parametrize(
    ("recipe", "changes", "sentence"),
    [
        ("tiny_clap_2022", ("loop.graphs=true",), "set loop.graphs to false"),
        ("tiny_clap_2022", ("distill={teacher: x}",), "a frozen teacher reads complete windows"),
        ("tiny_clap_2022", ("data.one_source=true",), "data.one_source"),
        ("tiny_clap_2023_stage1", (), 'only the system "pair"'),
    ],
)
def test_refusals(make_recipe: MakeRecipe, recipe: str, changes: tuple[str, ...], sentence: str) -> None:
    more = BY_LENGTH if recipe == "tiny_clap_2022" else ("data.batching=lengths",)
    with pytest.raises(AuralError, match=sentence):
        prepare(make_recipe(recipe, *more, *changes), Place(0, 1, torch.device("cpu")))


@pytest.mark.parametrize("changes", [(), ("data.pack_text=40",)])
def test_a_dry_run_describes_it(make_recipe: MakeRecipe, changes: tuple[str, ...]) -> None:
    page = describe(make_recipe("tiny_clap_2022", *BY_LENGTH, *changes), "cpu")
    assert "steps of clips of similar length" in page
    assert "frames (" in page


def test_a_clip_without_duration_is_refused(make_recipe: MakeRecipe, tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones.parent, tmp_path / "copy")
    rows = [
        replace(row, duration_s=0.0) if row.path == "tone-003.wav" else row for row in read_manifest(tmp_path / "copy")
    ]
    write_manifest(tmp_path / "copy" / "manifest.parquet", rows)
    recipe = make_recipe("tiny_clap_2022", *BY_LENGTH, f"data.sources.0.manifest={tmp_path / 'copy'}")
    with pytest.raises(DataError, match=r"tone-003.wav has no duration_s"):
        batches_of(recipe)[0]
