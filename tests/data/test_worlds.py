"""Worlds: item i is a function of its number, splits share no clip, controls carry another item's words, the page."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from aural.cli.main import app
from aural.core.errors import ConfigError, DataError
from aural.data.manifest import Row, write_manifest
from aural.data.worlds import WORLDS, World, open_world

RATE = 16_000
CLASSES = {"dog": 300.0, "bell": 900.0, "hen": 1700.0, "saw": 3100.0}
SCENES = {"sample_rate_hz": RATE, "duration_s": [4, 4], "events": [2, 3], "event_s": [0.1, 1.0], "room_chance": 0}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for split in ("train", "test"):
        for label, pitch in CLASSES.items():
            wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(RATE // 2) / RATE)
            soundfile.write(folder / f"{split}-{label}.wav", wave, RATE)
            rows.append(Row(path=f"{split}-{label}.wav", source="t", split=split, class_name=label, label=label))
    write_manifest(folder / "manifest.parquet", rows)
    return folder


def scenes(clips: Path, **options: object) -> World:
    return open_world("scenes", {"manifest": str(clips), "scenes": SCENES, **options})


def test_an_item_is_a_function_of_its_number_and_the_seed(clips: Path) -> None:
    first = scenes(clips)
    for i in (7, 3):
        first.item(i)
    item, again, other = first.item(5), scenes(clips).item(5), scenes(clips, seed=1).item(5)
    assert item.wave is not None
    assert again.wave is not None
    assert np.array_equal(item.wave, again.wave)
    assert (item.captions, item.facts, item.negatives) == (again.captions, again.facts, again.negatives)
    assert item.facts != other.facts
    assert set(item.facts["classes"]) <= set(first.labels)
    assert set(item.negative_kinds) <= set(first.kinds)


def test_splits_share_no_clip(clips: Path) -> None:
    used = {
        split: {event["clip"] for i in range(20) for event in scenes(clips, split=split).item(i).facts["events"]}
        for split in ("train", "test")
    }
    assert all(clip.startswith("train-") for clip in used["train"])
    assert all(clip.startswith("test-") for clip in used["test"])


def test_a_control_keeps_the_sound_and_has_the_words_of_the_next_item(clips: Path) -> None:
    world = scenes(clips)
    item, following, control = world.item(2), world.item(3), world.control(2)
    assert item.wave is not None
    assert control.wave is not None
    assert np.array_equal(control.wave, item.wave)
    assert (control.captions, control.facts) == (following.captions, following.facts)
    assert control.captions != item.captions
    # A reader of words who never hears the sound finds a class of the caption in the truth of a control by chance.
    hits = [world.item(i).facts["classes"][0] in world.control(i).facts["classes"] for i in range(60)]
    chance = np.mean([len(world.item(i).facts["classes"]) / len(CLASSES) for i in range(60)])
    assert abs(np.mean(hits) - chance) < 3 * np.sqrt(chance * (1 - chance) / 60)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("scene", {}, 'unknown world "scene"; did you mean "scenes"'),
        ("scenes", {}, 'world "scenes": key "manifest" is missing'),
        ("scenes", {"manifest": "x", "sed": 1}, 'world "scenes": unknown key "sed"; did you mean "seed"'),
        ("scenes", {"split": "valid"}, "no named clip in split valid"),
    ],
)
def test_bad_input_is_one_sentence(clips: Path, name: str, options: dict[str, object], sentence: str) -> None:
    if "split" in options:
        options = options | {"manifest": str(clips)}
    with pytest.raises((ConfigError, DataError), match=sentence):
        open_world(name, options)


def test_every_world_documents_its_options() -> None:
    assert "scenes" in WORLDS
    for name in WORLDS:
        assert WORLDS[name].__doc__
        assert WORLDS[name].config_type.__doc__


class Page(HTMLParser):
    """Counts the elements of a page and collects its data links."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key == "src"]


def test_the_command_writes_a_page_that_needs_no_other_file(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "world.html"
    changes = [f"manifest={clips}", *(f"scenes.{key}={json.dumps(value)}" for key, value in SCENES.items())]
    arguments = ["data", "world", "scenes", "--out", str(out), "--count", "3", "--start", "4"]
    result = CliRunner().invoke(app, [*arguments, *(x for change in changes for x in ("--set", change))])
    assert result.exit_code == 0, result.output
    assert "3 items" in result.output
    text = out.read_text()
    page = Page()
    page.feed(text)
    assert page.tags.count("audio") == page.tags.count("img") == page.tags.count("article") == 3
    assert all(link.startswith("data:") for link in page.links)
    assert page.tags.count("script") == page.tags.count("link") == 0
    item = scenes(clips).item(4)
    assert item.captions[0] in text
    assert item.negatives[0] in text
    records = re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL)
    assert json.loads(records[0].replace("&quot;", '"').replace("&#x27;", "'")) == item.facts
    sound = next(link for link in page.links if link.startswith("data:audio"))
    wave, rate = soundfile.read(io.BytesIO(base64.b64decode(sound.partition(",")[2])))
    assert len(wave) / rate == pytest.approx(4.0, abs=0.01)
