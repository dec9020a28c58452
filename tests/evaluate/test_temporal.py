"""Zero-shot temporal evaluation: which clips are asked about, the questions, and two models with known scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.core.types import AudioSource, FloatArray
from aural.data.manifest import Row, write_manifest
from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.run import evaluate
from aural.evaluate.runners.temporal import in_order, questions
from tiny import tone

EVENTS: dict[str, list[list[object]]] = {
    "a": [[0.1, 0.3, "dog"], [0.5, 0.8, "bell"]],
    "b": [[0.1, 0.3, "bell"], [0.5, 0.8, "dog"]],
    "c": [[0.1, 0.6, "frog"], [0.5, 0.8, "dog"]],  # overlaps: no question
    "d": [[0.1, 0.6, "frog"]],
}


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    rows = []
    for n, (name, events) in enumerate(EVENTS.items()):
        path = f"{name}.wav"
        (tmp_path / "libre-scenes").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "libre-scenes" / path, tone(1.0, 16_000, 300 + 100 * n, seed=n), 16_000)
        tags = sorted({str(label) for _, _, label in events})
        rows.append(
            Row(
                path=path, source="made", split="test", duration_s=1.0, sample_rate_hz=16_000, channels=1,
                license="CC0-1.0", tags=tags, captions=[" and ".join(tags)], meta=json.dumps({"events": events}),
            )
        )  # fmt: skip
    write_manifest(tmp_path / "libre-scenes" / "manifest.parquet", rows)
    return DataRoot(tmp_path)


class Listener:
    """A model whose sound vector is that of a text: the true order, or only the bag of its words."""

    sample_rate_hz, embed_dim = 16_000, 64

    def __init__(self, ordered: bool) -> None:
        self.ordered = ordered
        self.revision = f"listener {ordered}"

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        names = [sorted(EVENTS[Path(str(clip)).stem]) for clip in clips]
        return self.embed_text(["the sound of " + " before ".join(str(label) for _, _, label in one) for one in names])

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        rows = np.zeros((len(texts), self.embed_dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            words = text.removeprefix("the sound of ").split()
            flip = "after" in words
            labels = [word for word in words if word not in ("before", "after", "and")]
            for place, label in enumerate(labels[::-1] if flip else labels):
                row[sum(label.encode()) % 30] += 1
                if self.ordered and len(labels) > 1:
                    row[30 + (sum(label.encode()) % 15) * 2 + place] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("ordered", "score"), [(True, 1.0), (False, 0.5)])
def test_a_model_of_order_answers_everything_and_a_bag_of_words_is_at_chance(
    ordered: bool, score: float, root: DataRoot, tmp_path: Path
) -> None:
    run = evaluate(Listener(ordered), [cards.task("scenes-temporal")], root, tmp_path / "scores", resamples=10)
    result = run.scores["scenes-temporal@zero-shot"]
    assert result["score"] == pytest.approx(score)
    assert result["per_class"] == {"first": 1.0, "second": 1.0, "both": 1.0, "before": score, "after": score}


def test_clips_of_two_separate_sounds_are_asked_about() -> None:
    assert [in_order(events) for events in EVENTS.values()] == [("dog", "bell"), ("bell", "dog"), None, None]
    assert in_order([[0.0, 0.1, "a"], [0.2, 0.3, "b"], [0.4, 0.5, "a"]]) is None, "a sounds before and after b"


def test_questions_are_true_in_one_order_alone() -> None:
    first, second = ({kind: pair for kind, *pair in questions(*names, "c", "{}")} for names in (("a", "b"), ("b", "a")))
    for kind in ("before", "after"):
        assert first[kind] == second[kind][::-1]
    assert first["both"] == ["a and b", "a and c"]
