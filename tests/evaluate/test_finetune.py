"""Test fine-tuning: it learns what a frozen tower cannot separate, keeps the model unchanged, and resumes by fold."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from aural.core.errors import DataError
from aural.data.manifest import Row, write_manifest
from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.run import evaluate
from aural.evaluate.runners import finetune
from aural.evaluate.runners.finetune import rate, tower_of
from aural.evaluate.tuning import FineTune
from aural.models.pipeline import Model
from tiny import RATE_HZ, tone

HOW = FineTune(epochs=10, batch=8, tower_lr=3e-3, head_lr=1e-2)
KEY = "libre-scratch-animals@fine-tune"
CARD = cards.task("libre-scratch-animals")
HZ = {"dog": 200.0, "cat": 600.0, "owl": 1800.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """Write three classes of ten tones, each class at its pitch; one file holds no sound."""
    folder = tmp_path_factory.mktemp("tones") / "libre"
    rows = []
    for name, hz in HZ.items():
        for n in range(10):
            path = f"clips/scratch/{name}-{n}.wav"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / path, tone(0.5 + 0.2 * n, RATE_HZ, hz * (1 + 0.02 * n), seed=n), RATE_HZ)
            rows.append(Row(path=path, source="scratch", split="eval-only", family="animal", class_name=name))
    (folder / "clips/scratch/dog-3.wav").write_bytes(b"no sound")
    write_manifest(folder / "manifest.parquet", rows)
    return DataRoot(folder.parent)


def test_it_learns_and_resumes(root: DataRoot, tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: value.clone() for name, value in tiny.checkpoint.tensors.items()}
    random_state = torch.random.get_rng_state()
    fitted, calls = finetune.fit_and_predict, []

    def killed(*arguments: object) -> np.ndarray:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return fitted(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(finetune, "fit_and_predict", killed)
    options = {"methods": ["fine-tune"], "fine_tune": HOW, "resamples": 10, "cache": tmp_path / "cache"}
    with pytest.raises(KeyboardInterrupt):
        evaluate(tiny, [CARD], root, tmp_path / "a", **options)  # type: ignore[arg-type]
    calls[:] = [0] * 3  # three further folds may be trained, no more
    monkeypatch.setattr(finetune, "fit_and_predict", lambda *a: (calls.pop(), fitted(*a))[1])
    resumed = evaluate(tiny, [CARD], root, tmp_path / "a", **options).scores[KEY]  # type: ignore[arg-type]
    assert calls == []
    monkeypatch.setattr(finetune, "fit_and_predict", fitted)
    options["cache"] = tmp_path / "other"
    whole = evaluate(tiny, [CARD], root, tmp_path / "b", **options).scores[KEY]  # type: ignore[arg-type]
    first, second = (np.load(tmp_path / run / "arrays" / f"{KEY}.npz") for run in "ab")
    assert all((first[name] == second[name]).all() for name in first.files)
    assert resumed["score"] == whole["score"] >= 28 / 29
    assert whole["units"] == 29  # one cannot be read
    assert all(torch.equal(before[name], value) for name, value in tiny.checkpoint.tensors.items())
    assert torch.equal(random_state, torch.random.get_rng_state())


def test_several_seeds_by_hand(root: DataRoot, tiny: Model, tmp_path: Path) -> None:
    how = FineTune(epochs=1, batch=8)
    both = evaluate(
        tiny, [CARD], root, tmp_path / "both", methods=["fine-tune"], fine_tune=how, seeds=2, resamples=5
    ).scores[KEY]
    alone = [
        evaluate(
            tiny, [CARD], root, tmp_path / str(seed), methods=["fine-tune"], fine_tune=how, seed=seed, resamples=5
        ).scores[KEY]["score"]
        for seed in (0, 1)
    ]
    told = both["details"]["seeds"]
    assert list(told["values"].values()) == alone
    assert told["mean"] == pytest.approx(sum(alone) / 2)
    assert told["deviation"] == pytest.approx(abs(alone[0] - alone[1]) / 2**0.5)
    assert both["score"] == alone[0]


def test_the_schedule_by_hand() -> None:
    assert [round(rate(step, 10, 0.2), 3) for step in (0, 1, 2, 6, 10)] == [0.333, 0.667, 1.0, 0.5, 0.0]
    assert rate(0, 1, 0.0) == 1.0


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(DataError, match="no module to train"):
        tower_of(SimpleNamespace())


def test_objects_with_a_module_of_their_own(root: DataRoot, tmp_path: Path) -> None:
    class Energy:
        """A module whose vector is the sound's power in three bands, before any training."""

        sample_rate_hz, embed_dim, window_s, revision = RATE_HZ, 3, 0.5, "energy"

        def embed_audio(self, clips: list[object]) -> np.ndarray:
            raise AssertionError("fine-tuning embeds nothing")

        def embed_text(self, texts: list[str]) -> np.ndarray:
            raise AssertionError("fine-tuning reads no text")

        def audio_module(self) -> torch.nn.Module:
            return Bands()

    class Bands(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(3))

        def forward(self, wave: torch.Tensor) -> torch.Tensor:
            power = torch.fft.rfft(wave).abs().square()
            hz = torch.fft.rfftfreq(wave.shape[1], 1 / RATE_HZ)
            bands = [power[:, (hz >= low) & (hz < high)].sum(1) for low, high in ((0, 400), (400, 1200), (1200, 4000))]
            return self.scale * torch.stack(bands, 1) / power.sum(1, keepdim=True).clamp_min(1e-9)

    how = FineTune(epochs=20, batch=8, head_lr=0.1)
    run = evaluate(Energy(), [CARD], root, tmp_path, methods=["fine-tune"], fine_tune=how, resamples=10)
    assert run.scores[KEY]["score"] == 1.0  # the bands are the classes: a line parts them
