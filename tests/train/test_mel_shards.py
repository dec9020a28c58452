"""Log-mel shards made from a recipe: versions, balance, scenes, and the same from any number of processes."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sounds import MakeRecipe, make_sounds

from aural.audio.augment import faster
from aural.audio.mel import PRESETS, LogMel
from aural.core.errors import ConfigError
from aural.data.manifest import read_manifest
from aural.train.loader import Batches
from aural.train.loop import train
from aural.train.mels import pack, unpack
from aural.train.recipes import load_recipe
from aural.train.render import render
from aural.train.sources import ManifestSource, SceneSource


def members(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                assert stream is not None
                found[member.name] = stream.read()
    return found


def test_the_first_version_is_what_the_loader_hears(make_recipe: MakeRecipe, tones: Path, tmp_path: Path) -> None:
    recipe = make_recipe("tiny_clap_2023", "data.crop=first", "model.clap.audio.window_s=4")
    render(recipe, tmp_path / "m")
    source = recipe.data.sources[0]
    plain = ManifestSource(source, recipe.data, recipe.model.clap.audio, recipe.seed)
    front_end = LogMel(recipe.model.clap.audio.mel)
    waves = {
        str(item.facts["path"]): item.wave
        for item in (plain.item(n, partial(np.random.default_rng, 0)) for n in range(40))
    }
    found = members(tmp_path / "m")
    for name in [key for key in found if key.endswith(".json")]:
        told = json.loads(found[name])
        wave = waves[told["name"]]
        assert wave is not None
        stored = np.load(io.BytesIO(found[name.replace(".json", ".mel")]))
        assert np.array_equal(stored, pack(front_end(torch.from_numpy(wave[None]))[0], front_end.config))
        assert told["captions"]
        assert told["class_name"]


def test_any_logarithm_is_stored_in_steps_of_a_256th_of_a_db() -> None:
    for config, unit_db in (
        (PRESETS["aisfx"].model_copy(update={"log": "db", "divide": 2.0}), 2.0),
        (PRESETS["aisfx"], 10 * PRESETS["aisfx"].divide),
    ):
        mel = torch.linspace(-0.1, 1.0, 40).reshape(4, 10)
        stored = pack(mel, config)
        assert stored[3, 9] == round(unit_db * 256)
        assert float((unpack(torch.from_numpy(stored), config) - mel).abs().max()) <= 0.5 / 256 / unit_db + 1e-6
    loudest = LogMel(PRESETS["aisfx"])(torch.ones(1, 44100))  # a front end that tells 0 to 1
    assert int(pack(loudest[0], PRESETS["aisfx"]).max()) < 32767


def test_versions_balance_and_any_number_of_processes(make_recipe: MakeRecipe, tones: Path, tmp_path: Path) -> None:
    recipe = make_recipe("tiny_clap_2023", "data.augment.speed=[0.8,1.25]", "data.augment.gain_db=[-6,6]")
    made = render(recipe, tmp_path / "one", versions=5, balance=1.0)
    render(recipe, tmp_path / "two", versions=5, balance=1.0, jobs=2)
    one = members(tmp_path / "one")
    assert one == members(tmp_path / "two")
    names = read_manifest(tones).column("class_name")  # 14, 14 and 12 clips
    written = Counter(names[int(key[:8])] for key in one if key.endswith(".mel"))
    assert sum(written.values()) == made.clips
    assert abs(made.clips - 200) < 25
    assert max(written.values()) - min(written.values()) < 15  # each class is heard about equally often
    assert one["00000003-000.mel"] != one["00000003-001.mel"]


def test_a_run_learns_from_them_and_a_folder_of_other_settings_is_refused(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("tiny_clap_2023")
    render(recipe, tmp_path / "m", versions=2)
    assert render(recipe, tmp_path / "m", versions=2).clips == 0  # all there
    with pytest.raises(ConfigError, match="name another folder"):
        render(recipe, tmp_path / "m", versions=3)
    shards = f"data.sources=[{{shards: [{tmp_path}/m/clips]}}]"
    changes = [shards, "data.workers=0", "loop.batch=8", "loop.epochs=0", "loop.steps=2", "evaluators=[]"]
    model = train(load_recipe("tiny_clap_2023", changes), tmp_path / "run", device="cpu")
    assert (model / "model.safetensors").is_file()


def test_scenes_carry_their_words_and_wrong_words(make_recipe: MakeRecipe, tones: Path, tmp_path: Path) -> None:
    options = "{events: [1, 2], room_chance: 0.0}"
    recipe = load_recipe("tiny_clap_2023", [f"data.sources=[{{scenes: {tones}, scene_options: {options}}}]"])
    assert render(recipe, tmp_path / "m", scenes=6).scenes == 6
    more = [f"data.sources=[{{shards: [{tmp_path}/m/scenes]}}]", "loop.batch=4", "data.negatives=1"]
    from_shards = Batches(load_recipe("tiny_clap_2023", more))[0]
    from_scenes = SceneSource(recipe.data.sources[0], recipe.model.clap.audio)
    items = [from_scenes.item(n, partial(np.random.default_rng, 0)) for n in range(6)]
    texts = {text for item in items for text in item.captions}
    stored = Batches(load_recipe("tiny_clap_2023", more)).sources[0]
    by_name = {
        item.facts["name"]: item for item in (stored.item(n, partial(np.random.default_rng, 0)) for n in range(6))
    }
    for item in items:  # the truth record and the kinds of the false captions are stored beside the log-mel
        same = by_name[item.key]
        assert {key: same.facts[key] for key in item.facts} == dict(item.facts)
        assert same.negative_kinds == item.negative_kinds
    assert set(from_shards["captions"]) <= texts
    assert bool(from_shards["hard_text_mask"].any())


def test_faster_raises_pitch_and_shortens() -> None:
    time_s = np.arange(24000) / 24000
    out = faster(np.sin(2 * np.pi * 500 * time_s).astype(np.float32), 1.25)
    assert len(out) == 19200
    assert np.abs(np.fft.rfft(out)).argmax() * 24000 / 19200 == pytest.approx(625, abs=2)


def test_sources_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    places = [make_sounds(tmp_path / where / "tones", count) for where, count in (("a", 3), ("b", 4))]
    sources = ", ".join(f"{{manifest: {place}}}" for place in places)
    made = render(load_recipe("tiny_clap_2023", [f"data.sources=[{sources}]"]), tmp_path / "m")
    found = members_by_shard(tmp_path / "m")
    assert made.clips == sum(found) == 7


def members_by_shard(folder: Path) -> list[int]:
    """Log-mels in each shard."""
    counts = []
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            counts.append(sum(name.endswith(".mel") for name in tar.getnames()))
    return counts
