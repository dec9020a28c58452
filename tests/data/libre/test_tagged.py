import json
from pathlib import Path

import numpy as np
import pytest

import aural
from aural.core.errors import ConfigError
from aural.data.libre.tagged import (
    Scored,
    contradictions,
    likeness,
    pseudo_labels,
    recordings,
    scored,
    vague_classes,
)
from aural.data.manifest import Row

TAGS = ["Bark", "Meow", "Engine"]


def clip(number, class_name, *, seconds=2.0):
    return Row(
        path=f"{class_name}/{number}.flac", source="x", split="train", class_name=class_name, duration_s=seconds,
        group=f"{class_name}{number}",
    )  # fmt: skip


def clips_of(rows, scores, true):
    scores = np.array(scores, float)
    return Scored(rows, TAGS, scores, np.array(true, bool), scores)


def test_a_label_is_contradicted_if_a_false_tag_is_best_and_no_true_tag_is_heard():
    rows = [clip(n, "dog") for n in range(4)]
    true = [[True, False, False]] * 4
    listed = contradictions(clips_of(rows, [[0.05, 0.9, 0], [0.2, 0.9, 0], [0.9, 0.5, 0], [0, 0.29, 0]], true))
    assert [(c.row.path, c.tag, c.score, c.agreed) for c in listed] == [("dog/0.flac", "Meow", 0.9, 0.05)]


def test_table_names_classes_of_corpus_and_tagger():
    from aural.core.catalog import package_folder
    from aural.core.config import read_mapping

    config = Path(aural.__file__).parent / "weights" / "yamnet" / "config.json"
    classes = json.loads(config.read_text())["options"]["classes"]
    rows = [clip(0, "dog"), clip(1, "cow")]
    rows = [Row(**{**{f: getattr(r, f) for f in Row.__slots__}, "family": "animal"}) for r in rows]
    clips = scored(rows, np.zeros((2, len(classes))), classes)
    assert len(clips.tags) == len(read_mapping(package_folder("datasets/libre") / "tags.toml")["true_of"])
    assert clips.true[:, clips.tags.index("Bark")].tolist() == [True, False]
    assert clips.true[:, clips.tags.index("Animal")].tolist() == [True, True]
    with pytest.raises(ConfigError, match='no class "Speech"'):
        scored(rows, np.zeros((2, 1)), ["Bark"])


def test_likeness_is_the_mean_cosine_between_groups():
    """Two classes: one whose clips point the same way, one whose clips point in opposite ways."""
    rows = [clip(n, "dog") for n in range(6)] + [clip(n, "magic") for n in range(6)]
    scores = [[0.9, 0.01, 0.01]] * 6 + [[0.01, 0.9, 0.01], [0.01, 0.01, 0.9]] * 3
    clips = clips_of(rows, scores, np.zeros((12, 3)))
    means = likeness(clips)
    logs = np.log(np.array(scores) + 1e-4)
    logs -= logs.mean(0)
    unit = logs / np.linalg.norm(logs, axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(6, 12) for j in range(6, 12) if i != j]
    assert means["dog"] == pytest.approx(1.0)
    assert means["magic"] == pytest.approx(np.mean(pairs))
    assert vague_classes(clips) == {"magic"}


def test_pseudo_labels_only_for_long_clips_of_vague_names():
    rows = [clip(n, "dog") for n in range(40)] + [clip(n, "magic", seconds=0.5 if n == 0 else 3.0) for n in range(8)]
    scores = [[0.5 + n / 100, 0.01, 0.01] for n in range(40)]
    scores += [[0.01, 0.95, 0.01], [0.01, 0.01, 0.95], [0.01, 0.9, 0.01], [0.01, 0.01, 0.1]] * 2
    true = [[True, False, False]] * 40 + [[False, False, False]] * 8
    labeled, threshold = pseudo_labels(clips_of(rows, scores, true))
    assert threshold.score == 0.2
    assert threshold.chosen_on[0] + threshold.held_out[0] == 40 == threshold.chosen_on[1] + threshold.held_out[1]
    assert [row.path for row in labeled] == [f"magic/{n}.flac" for n in (1, 2, 4, 5, 6)]
    assert labeled[0].tags == ["pseudo-label"]
    assert labeled[0].captions == ["The sound of engine."]
    assert json.loads(labeled[0].meta)["pseudo_label"] == {"tag": "Engine", "score": 0.95, "tagger": "yamnet"}
    assert labeled[0].class_name == "magic"


def test_a_tagger_that_is_wrong_gives_no_threshold():
    rows = [clip(n, "dog") for n in range(20)] + [clip(n, "magic") for n in range(6)]
    scores = [[0.01, 0.9, 0.01]] * 20 + [[0.9, 0.01, 0.01], [0.01, 0.01, 0.9]] * 3
    with pytest.raises(ConfigError, match="no threshold"):
        pseudo_labels(clips_of(rows, scores, [[True, False, False]] * 26))


def test_speech_notes_and_held_out_clips_are_not_scored():
    rows = [
        clip(0, "dog"),
        Row(path="b", source="x", split="test", class_name="dog"),
        Row(path="c", source="x", split="train", language="de"),
        Row(path="d", source="x", split="train", meta='{"velocity": 1}'),
    ]
    assert recordings(rows) == rows[:1]
