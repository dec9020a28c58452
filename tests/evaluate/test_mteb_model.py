"""Test mteb's runner on tasks of local data: an oracle scores 1, an aural model the score of its cosines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aural.core.types import Clip
from aural.core.weights import weight_cards
from aural.evaluate.adapters.mteb_model import MtebModel, model_meta
from aural.models.pipeline import Model
from tiny import tone

mteb = pytest.importorskip("mteb")

LABELS = ["a low tone", "a middle tone", "a high tone"]
HZ = (200.0, 800.0, 3200.0)


def local_task(count: int = 12, rates: tuple[int, ...] = (16_000, 22_050)) -> Any:
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskZeroShotClassification
    from mteb.abstasks.task_metadata import TaskMetadata

    class LocalTones(AbsTaskZeroShotClassification):
        metadata = TaskMetadata(
            name="LocalTones",
            description="Tones made here.",
            reference="https://example.org",
            dataset={"path": "local/tones", "revision": "1"},
            type="AudioZeroshotClassification",
            category="a2t",
            eval_splits=["test"],
            eval_langs=["zxx-Zxxx"],
            main_score="accuracy",
            date=("2024-01-01", "2024-01-01"),
            domains=["Spoken"],
            task_subtypes=["Environment Sound Classification"],
            license="cc0-1.0",
            annotations_creators="derived",
            dialect=[],
            modalities=["audio", "text"],
            sample_creation="created",
            bibtex_citation="",
        )
        input_column_name = "audio"
        label_column_name = "target"

        def load_data(self, **options: Any) -> None:
            rows = [sound(n, rates) for n in range(count)]
            audio = [{"array": c.samples[0].tolist(), "sampling_rate": c.sample_rate_hz} for c in rows]
            split = Dataset.from_dict({"audio": audio, "target": [n % 3 for n in range(count)]})
            self.dataset = DatasetDict({"test": split})
            self.data_loaded = True

        def get_candidate_labels(self) -> list[str]:
            return LABELS

    return LocalTones()


def sound(number: int, rates: tuple[int, ...]) -> Clip:
    rate = rates[number % len(rates)]
    return Clip(tone(0.5 + 0.1 * (number % 4), rate, HZ[number % 3], seed=number)[None], rate)


class Pitch:
    """An embedder of the highest peak of the spectrum."""

    sample_rate_hz, embed_dim, revision = 16_000, 3, "pitch"

    def embed_audio(self, clips: list[Clip]) -> np.ndarray:
        rows = []
        for clip in clips:
            spectrum = np.abs(np.fft.rfft(clip.samples[0]))
            hz = np.argmax(spectrum) * clip.sample_rate_hz / clip.frames
            rows.append(np.eye(3)[int(np.argmin([abs(np.log(hz / one)) for one in HZ]))])
        return np.array(rows, np.float32)

    def embed_text(self, texts: list[str]) -> np.ndarray:
        return np.stack([np.eye(3, dtype=np.float32)[LABELS.index(text)] for text in texts])


def score(embedder: Any, tmp_path: Path) -> float:
    model = MtebModel(embedder, name="aural/test")
    cache = mteb.ResultCache(tmp_path / "cache")
    found = mteb.evaluate(model, tasks=[local_task()], cache=cache, show_progress_bar=False)
    return float(found.task_results[0].scores["test"][0]["accuracy"])


def test_the_right_model_scores_one(tmp_path: Path) -> None:
    assert score(Pitch(), tmp_path) == 1.0


def test_an_aural_model_scores_what_its_cosines_say(tiny: Model, tmp_path: Path) -> None:
    cosines = tiny.similarity([sound(n, (16_000, 22_050)) for n in range(12)], LABELS)
    expected = np.mean(cosines.argmax(axis=1) == np.arange(12) % 3)
    assert score(tiny, tmp_path) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", weight_cards())
def test_every_card_is_a_model_of_mteb(name: str) -> None:
    meta = model_meta(name)
    assert meta.name == f"aural/{name}"
    assert meta.embed_dim == weight_cards()[name].embed_dim
    assert type(meta).model_validate(meta.model_dump()).modalities == ["audio", "text"]  # values that mteb accepts


@pytest.mark.slow
def test_mtebs_runner_loads_the_bundled_model_by_its_card(tmp_path: Path) -> None:
    import aural

    meta, model = model_meta("libre-small"), aural.load("libre-small")
    cosines = model.similarity([sound(n, (16_000, 22_050)) for n in range(12)], LABELS)
    cache = mteb.ResultCache(tmp_path / "cache")
    loaded = meta.loader(meta.name, revision=meta.revision)  # meta.load_model() also wants mteb's extra "audio"
    result = mteb.evaluate(loaded, tasks=[local_task()], cache=cache, show_progress_bar=False).task_results[0]
    expected = np.mean(cosines.argmax(axis=1) == np.arange(12) % 3)
    assert result.scores["test"][0]["accuracy"] == pytest.approx(float(expected))
