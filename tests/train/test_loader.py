"""The loader: batches by number, shards of sounds and log-mels, mixtures, scenes."""

from __future__ import annotations

import contextlib
import gc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sounds import MakeRecipe

from aural.core.errors import AuralError, ConfigError
from aural.data.manifest import read_manifest
from aural.data.shards import ShardConfig, write_shards
from aural.train import loader
from aural.train.config import Recipe
from aural.train.input_fields import choose
from aural.train.inputs import log_mel
from aural.train.loader import Batches, uncollected
from aural.train.mels import unpack
from aural.train.recipes import load_recipe
from aural.train.render import render


def test_an_epoch_holds_every_clip_once_and_a_batch_is_the_same_again(make_recipe: MakeRecipe) -> None:
    batches = Batches(make_recipe("tiny_clap_2022", "loop.batch=8"))
    epoch = [key for step in range(5) for key in batches[step]["keys"]]
    assert len(set(epoch)) == 40
    assert [key for step in range(5, 10) for key in batches[step]["keys"]] != epoch
    again = Batches(make_recipe("tiny_clap_2022", "loop.batch=8"))[3]
    assert torch.equal(again["wave"], batches[3]["wave"])
    assert again["captions"] == batches[3]["captions"]


def test_processes_share_the_batch_that_one_would_see(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("tiny_clap_2022", "loop.batch=8")
    whole, parts = Batches(recipe)[2], [Batches(recipe, rank=rank, world=2)[2] for rank in range(2)]
    assert whole["keys"] == parts[0]["keys"] + parts[1]["keys"]
    assert torch.equal(whole["wave"], torch.cat([part["wave"] for part in parts]))


def test_shards_give_the_manifests_sounds_and_16_bit_loses_nothing(tones: Path, tmp_path: Path) -> None:
    write_shards(tones, str(tmp_path / "s"), ShardConfig(size=7))
    changes = ["data.workers=0", "loop.batch=40", "data.crop=first"]
    shards = [f"data.sources=[{{shards: [{tmp_path}/s]}}]", *changes]
    from_shards = Batches(load_recipe("tiny_clap_2022", [*shards, "data.pcm16=true"]))[0]
    plain = Batches(load_recipe("tiny_clap_2022", [f"data.sources.0.manifest={tones}", *changes]))[0]
    by_name = dict(zip(plain["keys"], plain["wave"], strict=True))
    names = [f"tone-{int(key[-8:]):03d}.wav" for key in from_shards["keys"]]
    assert sorted(names) == sorted(by_name)
    for name, wave in zip(names, from_shards["wave"], strict=True):
        assert torch.equal(wave.float() / 32768, by_name[name])


def test_stored_log_mels_equal_those_of_the_sounds(make_recipe: MakeRecipe, tones: Path, tmp_path: Path) -> None:
    recipe = make_recipe("tiny_clap_2023", "loop.batch=8")
    mel = recipe.model.clap.audio.mel
    assert render(recipe, tmp_path / "m").clips == 40
    batch = Batches(
        load_recipe("tiny_clap_2023", [f"data.sources=[{{shards: [{tmp_path}/m/clips]}}]", "loop.batch=8"])
    )[0]
    assert batch["mel"].dtype == torch.int16
    assert batch["mel"].shape == (8, 201, 16)
    from aural.audio.io import read
    from aural.audio.mel import LogMel

    for key, stored in zip(batch["keys"], batch["mel"], strict=True):
        row = read_manifest(tones)[int(key[-12:-4])]
        whole = LogMel(mel)(torch.from_numpy(read(tones.parent / row.path).samples))[0]
        if len(whole) >= 201:
            gaps = [(unpack(stored, mel) - whole[at : at + 201]).abs().max() for at in range(len(whole) - 200)]
            assert min(float(gap) for gap in gaps) <= 1 / 512 + 1e-4
    assert torch.equal(log_mel(LogMel(mel), {"mel": batch["mel"]}), unpack(batch["mel"], mel))


def test_a_clip_without_a_choice_makes_no_generator(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(make_recipe("tiny_clap_2023", "loop.batch=8"), tmp_path / "m")
    source = f"data.sources=[{{shards: [{tmp_path}/m/clips]}}]"
    made: list[int] = []

    def generator(seed: int, *key: int) -> np.random.Generator:
        made.append(key[1])
        return np.random.default_rng(seed)

    monkeypatch.setattr(loader, "generator", generator)
    monkeypatch.setattr("aural.train.shards.captions_of", lambda row, _: row["captions"][:1])
    plain = ("data.crop=first", "loop.batch=8", "data.captions_per_clip=1", source)
    Batches(load_recipe("tiny_clap_2023", plain))[0]
    assert not made
    Batches(load_recipe("tiny_clap_2023", [*plain, "data.augment.time_masks=1"]))[0]
    assert len(made) == len(set(made)) == 8


def test_the_choice_of_one_text_uses_up_no_numbers() -> None:
    drawn, untouched = np.random.default_rng(3), np.random.default_rng(3)
    assert choose(["rain"], 2, lambda: drawn) == ["rain", "rain"]
    drawn.permutation(1)  # what the choice would draw
    assert drawn.random() == untouched.random()
    assert sorted(choose(["a", "b", "c"], 3, lambda: drawn)) == ["a", "b", "c"]


def test_garbage_is_collected_after_a_batch_and_not_within_it() -> None:
    assert gc.isenabled()
    with contextlib.suppress(KeyError), uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()  # an inner block restores what was there before it
        raise KeyError
    assert gc.isenabled()


def test_workers_never_share_the_place_in_a_shard(make_recipe: MakeRecipe, tones: Path, tmp_path: Path) -> None:
    write_shards(tones, str(tmp_path / "s"), ShardConfig(size=40))
    more = [f"data.sources=[{{shards: [{tmp_path}/s]}}]", "loop.batch=8", "data.workers=3", "data.pcm16=true"]
    batches = Batches(load_recipe("tiny_clap_2022", more))
    alone = [batches[step]["wave"] for step in range(30)]  # the shard is open before the workers are forked
    assert all(torch.equal(batch["wave"], one) for batch, one in zip(batches.stream(0, 30), alone, strict=True))


def test_scenes_mix_with_clips_and_bring_wrong_captions(make_recipe: MakeRecipe, tones: Path) -> None:
    options = "{events: [1, 2], duration_s: [2, 2], event_s: [0.1, 1.0], room_chance: 0, background_chance: 0}"
    sources = f"[{{manifest: {tones}, weight: 3}}, {{scenes: {tones}, weight: 1, scene_options: {options}}}]"
    recipe = load_recipe("tiny_clap_2023", [f"data.sources={sources}", "loop.batch=8", "data.negatives=2"])
    batch = Batches(recipe)[0]
    assert sum(key.startswith("scene") for key in batch["keys"]) == 2
    assert batch["hard_ids"].shape[0] == 16
    assert batch["hard_text_mask"].shape == (8, 2)
    scene = [key.startswith("scene") for key in batch["keys"]]
    assert batch["hard_text_mask"].any(1).tolist() == scene
    with pytest.raises(IndexError):
        batch["keys"][8]


SCENES = "{events: [2, 3], duration_s: [4, 4], event_s: [0.1, 1.0], room_chance: 0, background_chance: 0}"


def scene_recipe(tones: Path, *changes: str) -> Recipe:
    return load_recipe(
        "tiny_clap_2023",
        [f"data.sources=[{{scenes: {tones}, scene_options: {SCENES}}}]", "loop.batch=8", "data.negatives=2", *changes],
    )


def test_an_item_of_scenes_keeps_its_truth_record(tones: Path) -> None:
    from aural.data.simulate import SceneTruth

    source = Batches(scene_recipe(tones)).sources[0]
    item = source.item(3, partial(np.random.default_rng, 0))
    truth = source.simulator.scene(3).truth  # type: ignore[attr-defined]
    assert SceneTruth.from_facts(item.facts) == truth
    assert item.facts["classes"] == [event.label for event in truth.events]
    assert item.facts["event_count"] == len(truth.events)
    onsets = [event["onset_s"] for event in item.facts["events"]]
    assert onsets == sorted(onsets)
    assert len(item.negative_kinds) == len(item.negatives)


def test_a_recipe_chooses_the_kinds_of_false_captions(tones: Path) -> None:
    every = Batches(scene_recipe(tones))[0]
    assert len(every["hard_kinds"]) == 16
    assert len(set(every["hard_kinds"])) > 1
    order = Batches(scene_recipe(tones, "data.negative_kinds=[order]"))[0]
    assert set(order["hard_kinds"]) <= {"order", ""}
    assert [bool(kind) for kind in order["hard_kinds"]] == order["hard_text_mask"].flatten().tolist()
    assert "order" in order["hard_kinds"]
    assert torch.equal(order["wave"], every["wave"])
    with pytest.raises(ConfigError, match=r'no source makes "ordre"; did you mean "order"'):
        Batches(scene_recipe(tones, "data.negative_kinds=[ordre]"))


def task_recipe(tones: Path, task: str) -> Recipe:
    source = f"data.sources=[{{scenes: {tones}, scene_options: {SCENES}, task: t}}]"
    return load_recipe("tiny_clap_2023", [source, "loop.batch=8", f"tasks={{t: {task}}}"])


def test_tasks_read_the_truth_of_scenes(tones: Path) -> None:
    batches = Batches(task_recipe(tones, "{kind: tag, column: classes}"))
    assert batches.classes["t"] == ("high", "low", "middle")
    batch = batches[0]
    source = batches.sources[0]
    draw = partial(np.random.default_rng, 0)
    wanted = [set(source.item(int(key.split()[1]), draw).facts["classes"]) for key in batch["keys"]]
    names = batches.classes["t"]
    assert [{names[i] for i in row.nonzero().flatten()} for row in batch["label.t"]] == wanted
    counts = Batches(task_recipe(tones, "{kind: count, column: event_count}"))[0]["label.t"]
    assert counts.tolist() == [len(classes) for classes in wanted]


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("{kind: tag, classes: [low, high]}", 'tasks.t: column "class_name" is not among the facts'),
        ("{kind: tag, column: classes, classes: [low, hig]}", 'tasks.t: "hig" is no class of .*; did you mean "high"'),
        ("{kind: classify}", 'tasks.t: .*scenes have no list of values for "class_name"; use the column "classes"'),
    ],
)
def test_a_task_that_scenes_cannot_answer_is_refused(tones: Path, task: str, sentence: str) -> None:
    with pytest.raises(AuralError, match=sentence):
        next(Batches(task_recipe(tones, task).model_copy()).stream(0, 1))


def test_a_recipe_names_a_world(tones: Path) -> None:
    options = f"{{manifest: {tones}, scenes: {SCENES[:-1]}, sample_rate_hz: RATE}}}}"
    recipe = scene_recipe(tones)
    rate = recipe.model.clap.audio.sample_rate_hz
    source = f"data.sources=[{{world: scenes, world_options: {options.replace('RATE', str(rate))}}}]"
    batch = Batches(load_recipe("tiny_clap_2023", [source, "loop.batch=8", "data.negatives=2"]))[0]
    same = Batches(recipe)[0]
    assert torch.equal(batch["wave"], same["wave"])
    assert batch["captions"] == same["captions"]
    wrong = f"data.sources=[{{world: scenes, world_options: {options.replace('RATE', '8000')}}}]"
    with pytest.raises(ConfigError, match="its sounds have 8000 Hz but the model needs"):
        next(Batches(load_recipe("tiny_clap_2023", [wrong, "loop.batch=8"])).stream(0, 1))
