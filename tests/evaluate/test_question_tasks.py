"""Questions about scenes: statements, a listener that knows the truth, and one that draws its vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.core.types import AudioSource, FloatArray
from aural.data.manifest import Row, write_manifest
from aural.data.simulate.questions import COUNT_WORDS, YES_NO, SceneQuestion
from aural.data.simulate.statements import statements_of
from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.run import evaluate
from tiny import tone

CLIPS = 40
WIDTH = 256
RESULT = "scene-questions@zero-shot"


def asked(clip: int) -> list[dict[str, object]]:
    """One question per size: two options and four, whose statements differ from scene to scene by their right one."""
    two, four = clip // 2 % 2, clip // 2 % 4
    return [
        {"kind": kind, "text": "?", "options": options, "statements": [f"{kind} {one}" for one in options],
         "right": right, "sound": f"{kind} yes"}
        for kind, options, right in (("presence", YES_NO, two), ("count", COUNT_WORDS, four))
    ]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    folder = tmp_path / "libre-scenes"
    folder.mkdir()
    rows = []
    for n in range(CLIPS):
        soundfile.write(folder / f"{n}.wav", tone(0.2, 16_000, 300 + 10 * n, seed=n), 16_000)
        rows.append(
            Row(
                path=f"{n}.wav", source="made", split="test", duration_s=0.2, sample_rate_hz=16_000, channels=1,
                license="CC0-1.0", meta=json.dumps({"questions": asked(n)}),
            )
        )  # fmt: skip
    write_manifest(folder / "manifest.parquet", rows)
    return DataRoot(tmp_path)


class Listener:
    """A model whose sound vector is the sum of the right statements' vectors, or a drawn one."""

    sample_rate_hz, embed_dim = 16_000, WIDTH

    def __init__(self, *, knows: bool, least_cosine: float | None = None) -> None:
        self.knows, self.least_cosine = knows, least_cosine
        self.revision = f"listener {knows} {least_cosine}"

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        rows = []
        for clip in clips:
            number = int(Path(str(clip)).stem)
            right = [str(one["statements"][one["right"]]) for one in asked(number)]  # type: ignore[index]
            drawn = np.random.default_rng(number).normal(size=WIDTH)
            rows.append(self.embed_text(right).sum(axis=0) if self.knows else drawn)
        values = np.array(rows, np.float32)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        rows = np.stack([np.random.default_rng(list(text.encode())).normal(size=WIDTH) for text in texts])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("least", [None, 0.35])
def test_a_model_of_the_truth_is_right_and_its_control_is_that_of_the_next_scene(
    least: float | None, root: DataRoot, tmp_path: Path
) -> None:
    model = Listener(knows=True, least_cosine=least)
    result = evaluate(model, [cards.task("scene-questions")], root, tmp_path / "out", resamples=10).scores[RESULT]
    assert result["score"] == 1.0
    assert result["chance"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    for kind in ("presence", "count"):
        details = result["details"][kind]
        assert (details["accuracy"], details["interval"], details["questions"]) == (1.0, [1.0, 1.0], CLIPS)
        assert details["control_accuracy"] == 0.5, "scenes 2k and 2k + 1 have the same answers, the next have others"
        assert details["control_interval"][0] < 0.5 < details["control_interval"][1]


def test_drawn_vectors_are_near_chance(root: DataRoot, tmp_path: Path) -> None:
    model = Listener(knows=False)
    result = evaluate(model, [cards.task("scene-questions")], root, tmp_path / "out", resamples=10).scores[RESULT]
    for kind, chance in (("presence", 1 / 2), ("count", 1 / 4)):
        four_deviations = 4 * (chance * (1 - chance) / CLIPS) ** 0.5
        for name in ("accuracy", "control_accuracy"):
            assert abs(result["details"][kind][name] - chance) < four_deviations


def test_statements_follow_the_options() -> None:
    name = "a {}".format
    pair = ("a dog", "a bell")
    order = SceneQuestion("order", "?", "a bell", pair, ("before", "bell", "dog"))
    assert statements_of(order, name) == ("a dog is heard first, then a bell", "a bell is heard first, then a dog")
    count = SceneQuestion("count", "?", "twice", COUNT_WORDS, ("count", "dog", 2))
    assert statements_of(count, name)[1] == f"a dog is heard {COUNT_WORDS[1]}"
    faint = SceneQuestion("attribute", "?", "no", YES_NO, ("faint", "dog"))
    assert statements_of(faint, name) == ("a dog is faint", "a dog is loud")
