"""Test every public task card on a tiny copy of its published layout; scores are computed by hand from its files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import Oracle

from aural.core.types import FloatArray
from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.run import evaluate

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from downloads import write
from published_layouts import LAYOUTS

# what a model gets that always prefers the first class (the last one in the comment), by the files of the layout
FIRST_CLASS = {
    "esc50": 1 / 2,  # dog and sneezing; dog is class 0
    "urbansound8k": 0.0,  # one dog_bark; class 0 is air_conditioner
    "vocalsound": 0.0,  # one cough; class 0 is laughter
    "sesa": 0.0,  # one siren; class 0 is casual
    "tut2017": 0.0,  # one tram; class 0 is beach
    "gtzan-music-speech": 1 / 2,  # music, speech
    "gtzan-genres": 1 / 2,  # blues, hiphop
    "beijing-opera": 1 / 2,  # bangu, xiaoluo
    "crema-d": 1 / 3,  # anger, happy, sad
    "ravdess": 0.0,  # one fearful in speech (happy is a song); class 0 is neutral
    "speech-commands": 0.0,  # one bed; class 0 is backward
    "libricount": 1 / 2,  # 0 and 10
    "nsynth-instrument": 0.0,  # one string; class 0 is bass
    "nsynth-velocity": 1.0,  # one of velocity 25
    "nsynth-pitch": 1.0,  # one of pitch 57, the only class there
    "mridangam-stroke": 1 / 2,  # bheem, tham
    "mridangam-tonic": 1 / 2,  # B, C#
    # several labels: the only clip is a true one of each class that has one, so nothing can stand before it
    "audioset": 1.0,
    "esc50-actions": 1.0,
    "fsd50k": 1.0,
    "nsynth-qualities": 1.0,
    "dcase2017-task4": 2 * 1 / (2 * 1 + 16),  # F1 of all 17 classes said of one truck
    "desed-frames": 10 / 20,  # one score for all seconds of two clips; one of them is frying throughout
    # the only clip, or its only captions, are what is looked for
    "audiocaps-text-to-audio": 1.0,
    "audiocaps-audio-to-text": 1.0,
    "audiocaps-paraphrase": 1.0,
    "clotho-text-to-audio": 1.0,
    "clotho-audio-to-text": 1.0,
    "clotho-paraphrase": 1.0,
    "sounddescs-text-to-audio": 1.0,
    "sounddescs-audio-to-text": 1.0,
    # three hypotheses at one cosine fall into one class: its F1 is 2 * (1/3) * 1 / (1/3 + 1) = 1/2, the others' 0
    "audiocaps-entailment": 1 / 6,
    "clotho-entailment": 1 / 6,
}


class First:
    """An embedder that maps all sounds to one vector; texts of earlier classes of the card are nearer to it."""

    sample_rate_hz, embed_dim, revision = 16_000, 2, "first class"

    def __init__(self, prompts: Sequence[str]) -> None:
        self.angles = {prompt: 0.01 * n for n, prompt in enumerate(prompts)}

    def embed_audio(self, clips: Iterable[Any]) -> FloatArray:
        return np.array([[1.0, 0.0] for clip in clips if Path(clip).is_file()], np.float32)

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        angles = np.array([self.angles.get(text, 3.0) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def embed_frames(self, clip: Any) -> tuple[FloatArray, list[tuple[float, float]]]:
        return np.tile(np.array([[1.0, 0.0]], np.float32), (10, 1)), [(float(s), s + 1.0) for s in range(10)]


def download(name: str, root: Path) -> DataRoot:
    card = cards.task(name)
    write(LAYOUTS[card.dataset], root / card.dataset)
    if card.table is not None:
        sound = "evaluation rain.wav" if card.dataset == "clotho" else "Y7fmOlUlwoNg.wav"
        for path in card.table.files.values():
            stem = sound.replace("evaluation", path.rpartition("_")[2].removesuffix(".csv"))
            target = root / card.table.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            head = "Prompt,Dataset,Audio file,Caption,Entailment,Neutral,Contradiction,Full response"
            line = f",x,{stem},['a'],{stem} yes,{stem} may be,{stem} no,"
            target.write_text(f"{head}\n{line}\n", encoding="utf-8")
    return DataRoot(root)


PUBLIC = [name for name in cards.names() if cards.task(name).dataset in LAYOUTS]
EMBEDDED = [name for name in PUBLIC if cards.task(name).kind != "captioning"]


def test_every_card_has_a_score_by_hand() -> None:
    assert set(FIRST_CLASS) == set(EMBEDDED)


def test_the_suites_are_whole() -> None:
    suites = cards.suites()
    assert (len(suites["clap-2023"]), len(suites["clap-2022"])) == (26, 16)
    assert {"sounddescs-text-to-audio", "sounddescs-audio-to-text"} <= set(suites["retrieval"])
    for name in PUBLIC:
        card = cards.task(name)
        assert card.citation
        assert card.license
        assert card.protocol or card.kind in ("pairs", "entailment")
        assert all(score.source for score in card.published)


@pytest.mark.parametrize("name", sorted(FIRST_CLASS))
def test_scores_by_hand(name: str, tmp_path: Path) -> None:
    card, root = cards.task(name), download(name, tmp_path)
    from aural.evaluate.examples import examples

    prompts = [card.prompt.replace("{}", card.words(label)) for label in examples(card, root).classes]
    run = evaluate(First(prompts), [card], root, tmp_path / "out", resamples=10)
    assert not run.missing
    assert run.scores[f"{name}@zero-shot"]["score"] == pytest.approx(FIRST_CLASS[name])


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_oracle_scores_everything(name: str, tmp_path: Path) -> None:
    card, root = cards.task(name), download(name, tmp_path)
    run = evaluate(Oracle(card, root), [card], root, tmp_path / "out", resamples=10)
    if name in ("dcase2017-task4", "audiocaps-entailment", "sounddescs-audio-to-text") and run.missing:
        pytest.fail(str(run.missing))
    assert run.scores[f"{name}@zero-shot"]["score"] == pytest.approx(1.0)
