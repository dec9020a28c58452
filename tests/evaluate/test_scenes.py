"""Test the data set of scenes: only held-out clips, consistent files and truth, and the scores of an oracle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import Oracle

from aural.core.errors import DataError
from aural.data.manifest import Row, read_manifest, write_manifest
from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.run import evaluate
from aural.evaluate.scenes import RATE_HZ, build_scenes
from tiny import tone

NAMES = ("dog", "rooster", "door opening", "car horn", "frog", "church bell")
TRAINED = "elephant"
COUNT = 12


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build twelve scenes of six held-out classes; a seventh class has only training clips."""
    root = tmp_path_factory.mktemp("scenes")
    rows = []
    for k, name in enumerate((*NAMES, TRAINED)):
        for n in range(2):
            path = f"clips/made/{name}-{n}.wav"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(root / path, tone(1.0 + n, 16_000, 200 + 150 * k, seed=n), 16_000)
            split = "train" if name == TRAINED else ("test", "eval-only")[n]
            facts = {"class_name": name, "label": name, "caption_label": name, "duration_s": 1.0 + n}
            rows.append(
                Row(path=path, source="made", split=split, sample_rate_hz=16_000, channels=1, rms_db=-20.0, **facts)
            )
    write_manifest(root / "manifest.parquet", rows)
    return build_scenes(read_manifest(root), root / "libre-scenes", count=COUNT)


def test_held_out_clips_with_their_truths(scenes: Path) -> None:
    rows = list(read_manifest(scenes))
    assert len(rows) == COUNT
    assert {row.split for row in rows} == {"test"}
    heard = set()
    for row in rows:
        samples, rate = soundfile.read(scenes / row.path)
        assert (rate, len(samples) / rate) == (RATE_HZ, pytest.approx(row.duration_s))
        facts = json.loads(row.meta)
        assert row.captions
        assert not set(row.captions) & {text for _, text in facts["negatives"]}
        assert sorted({label for _, _, label in facts["events"]}) == sorted(row.tags)
        for one in facts["questions"]:
            assert len(one["options"]) == len(set(one["statements"])) > one["right"]
            if one["kind"] == "presence":
                assert one["right"] == 0 or not any(one["sound"] in text for text in row.captions)
        for onset, offset, _ in facts["events"]:
            assert 0 <= onset < offset <= row.duration_s + 1e-6
            part = samples[round(onset * rate) : round(offset * rate)]
            assert np.sqrt(np.mean(part**2)) > 1e-4  # there is sound where an event is said to be
        heard |= set(row.tags)
    assert TRAINED not in " ".join(heard)
    assert len(heard) > 3


def test_the_same_seed_gives_the_same_scenes(scenes: Path, tmp_path: Path) -> None:
    again = build_scenes(read_manifest(scenes.parent), tmp_path / "again", count=3)
    other = build_scenes(read_manifest(scenes.parent), tmp_path / "other", count=3, seed=1)
    texts = [[row.captions for row in read_manifest(folder)][:3] for folder in (scenes, again, other)]
    assert texts[0] == texts[1] != texts[2]
    assert (scenes / "clips/0002.flac").read_bytes() == (again / "clips/0002.flac").read_bytes()


@pytest.mark.parametrize("name", ["scenes-order", "scenes-frames"])
def test_an_oracle_scores_everything(name: str, scenes: Path, tmp_path: Path) -> None:
    card, root = cards.task(name), DataRoot(scenes.parent)
    run = evaluate(Oracle(card, root), [card], root, tmp_path, resamples=10)
    assert run.scores[f"{name}@zero-shot"]["score"] == pytest.approx(1.0)


def test_too_few_classes_are_refused(scenes: Path, tmp_path: Path) -> None:
    few = read_manifest(scenes.parent).filter(class_name=["dog", "frog"])
    with pytest.raises(DataError, match="too few classes"):
        build_scenes(few, tmp_path / "few")
    assert not list(tmp_path.iterdir())
