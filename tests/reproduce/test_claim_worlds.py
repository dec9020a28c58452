"""Worlds: what the shards and test scenes hold, and that a build that was stopped goes on."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from aural.core.errors import DataError
from aural.data.manifest import read_manifest
from aural.data.simulate.truth import SceneTruth
from aural.reproduce import worlds
from aural.train.loader import Batches
from aural.train.recipes import load_recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = worlds.prepare("mini", Path("toys"), tmp_path_factory.mktemp("world"), smoke=True)
    assert folder is not None
    return folder


def batches(world: Path, parts: list[str], *changes: str) -> Batches:
    sources = ", ".join(f"{{shards: ['{world}/{part}']}}" for part in parts)
    return Batches(load_recipe("small_pair", [f"data.sources=[{sources}]", "loop.batch=16", *changes]))


def test_captions_of_a_scene_say_all_and_its_label_only_lists(world: Path) -> None:
    (source,) = batches(world, ["scenes"], "data.captions=[captions]").sources
    items = [source.item(number, partial(np.random.default_rng, 0)) for number in range(32)]
    assert all(len(item.captions) >= 1 for item in items)
    assert any(word in item.captions[0] for item in items for word in ("then", "before", "after", "louder", "twice"))
    for item in items:
        truth = SceneTruth.from_facts(item.facts)
        listed = item.facts["caption_label"]
        assert {event.label for event in truth.events} == set(item.facts["classes"])
        assert all(event.phrases[0] in listed for event in truth.events)
        assert not any(word in listed.split() for word in ("then", "before", "after", "louder", "twice", "while"))
        assert len(item.negatives) == len(item.negative_kinds)
    assert {"order", "count"} <= {kind for item in items for kind in item.negative_kinds}


def test_mixtures_join_captions_and_keep_their_level(world: Path) -> None:
    (source,) = batches(world, ["mixed"], "data.captions=[caption_label]").sources
    captions = [source.item(number, partial(np.random.default_rng, 0)).captions[0] for number in range(32)]
    assert all(caption.count("a ") >= 2 and " and " in caption for caption in captions)
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal(size).astype(np.float32) for size in (8000, 3000))
    mixture = worlds.mix(first, 7 * second, 0.0)
    assert len(mixture) == 8000
    assert float(np.std(mixture)) == pytest.approx(1.0, rel=0.05)


def test_batches_of_one_source_take_turns(world: Path) -> None:
    def sources_of(step: int, *changes: str) -> set[str]:
        keys = batches(world, ["clips", "scenes"], *changes)[step]["keys"]
        return {Path(key).parent.parent.name for key in keys}

    turns = [sources_of(step, "data.one_source=true") for step in range(6)]
    assert all(len(turn) == 1 for turn in turns)
    assert set.union(*turns) == {"clips", "scenes"}
    assert sources_of(0) == {"clips", "scenes"}


def test_loudness_is_scored_where_only_loudness_is_false(world: Path) -> None:
    rows = list(read_manifest(world / "scenes-test"))
    pairs = [pair for row in rows for pair in json.loads(row.meta)["negatives"]]
    by_kind = {kind: [text for k, text in pairs if k == kind] for kind in ("attribute", "loudness", "order")}
    assert len(rows) == 16
    assert by_kind["order"]
    assert set(by_kind["loudness"]) <= set(by_kind["attribute"])
    words = ("loud", "faint", "quiet", "soft", "weak", "barely", "distant")
    assert all(any(word in text for word in words) for text in by_kind["loudness"]), by_kind["loudness"]


def test_a_stopped_build_goes_on_and_gives_the_same_bytes(world: Path, tmp_path: Path) -> None:
    (tmp_path / "worlds").mkdir()
    (tmp_path / "worlds" / "toys").symlink_to(world.parent / "toys")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "write_scenes", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            worlds.prepare("mini", Path("toys"), tmp_path, smoke=True)
    again = worlds.prepare("mini", Path("toys"), tmp_path, smoke=True)
    assert again is not None
    for part in ("clips/000000.tar", "mixed/000000.tar", "scenes/000000.tar", "scenes-test/clips/0007.flac"):
        assert (again / part).read_bytes() == (world / part).read_bytes(), part


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no manifest\.parquet"):
        worlds.prepare("mini", tmp_path, tmp_path)
