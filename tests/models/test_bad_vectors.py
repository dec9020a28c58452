"""Vectors that are not numbers: one too loud sound costs itself only, in every model and for every user of one."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.audio import io
from aural.core.errors import AudioError, CheckpointError
from aural.core.types import AudioSource, FloatArray
from aural.models.load import load
from aural.models.pipeline import Model
from aural.search.library import Library
from aural.serve.batch import Batcher
from sketch import DIM, SketchEmbedder
from tiny import RATE_HZ, tone, write_wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two usable sounds and, between them, float samples of 1e18."""
    write_wav(tmp_path / "a.wav")
    soundfile.write(tmp_path / "b.wav", 1e18 * tone(1.5).astype(np.float64), RATE_HZ, subtype="DOUBLE")
    write_wav(tmp_path / "c.wav", seed=3)
    return tmp_path


@pytest.fixture
def any_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let samples of every size through to the model, which is the second line of defense."""
    monkeypatch.setattr(io, "LARGEST_SAMPLE", np.inf)


def test_the_reader_refuses_what_no_spectrum_holds(folder: Path) -> None:
    with pytest.raises(AudioError, match=r"b\.wav: sample \d+ is -?\d\.\d+e\+1\d where full scale is 1; scale"):
        io.read(folder / "b.wav")
    clip = io.read((np.full(100, 0.9e15, np.float32), RATE_HZ))
    assert clip.samples.max() == np.float32(0.9e15)
    with pytest.raises(AudioError, match="array: sample 3 is -2e"):
        io.read((np.array([0, 0, 0, -2e15, 0], np.float32), RATE_HZ))
    with pytest.raises(AudioError, match="array: sample 1 is NaN or infinite"):
        io.read((np.array([[0, 1e30], [0, np.nan]], np.float32), RATE_HZ))


def test_stream_skips_the_sound_alone(tiny: Model, folder: Path, any_level: None) -> None:
    files = sorted(folder.glob("*.wav"))
    results = list(tiny.stream_audio(files, keep_windows=True))
    assert [result.error is None for result in results] == [True, False, True]
    assert "b.wav: the model computes no valid vector for it, because its samples reach" in str(results[1].error)
    golden = tiny.embed_audio([files[0], files[2]])
    np.testing.assert_allclose([results[0].embedding, results[2].embedding], golden, atol=2e-6)
    with pytest.raises(AudioError, match=r"b\.wav: the model computes no valid vector"):
        tiny.embed_audio(files)


def test_damaged_weights_are_named_as_the_likely_cause(tiny_folder: Path) -> None:
    model = load(tiny_folder, engine="torch", device="cpu")
    for tower in (model.audio_tower, model.text_tower):
        for weights in tower.projection.parameters():
            weights.fill_(float("nan"))
    with pytest.raises(AudioError, match=r"array: the model computes no valid vector for it; .* weights of the model"):
        model.embed_audio([(tone(1.0), RATE_HZ)])
    with pytest.raises(CheckpointError, match="computes NaN for texts, so its weights are damaged"):
        model.embed_text(["rain"])


class LoudEmbedder(SketchEmbedder):
    """Any `Embedder` of another package: NaN, or an error for the whole call, where a sound is too loud."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__()
        self.raises = raises

    def _sound(self, clip: AudioSource) -> FloatArray:
        if np.abs(io.read(clip).samples).max() < 1e6:
            return super()._sound(clip)
        if self.raises:
            raise AudioError("array: too loud")
        return np.full(DIM, np.nan, np.float32)


@pytest.mark.parametrize("raises", [False, True])
def test_a_library_stores_the_other_files(folder: Path, any_level: None, raises: bool, tmp_path: Path) -> None:
    embedder = LoudEmbedder(raises=raises)
    library = Library.create(tmp_path / "library", embedder, model="sketch", window_s=1.0)
    results = {Path(one.path).name: one for one in library.add(sorted(folder.glob("*.wav")), embedder)}
    assert {name: one.status for name, one in results.items()} == {
        "a.wav": "added",
        "b.wav": "skipped",
        "c.wav": "added",
    }
    assert "b.wav: the model computes no valid vector" in str(results["b.wav"].error)
    assert sorted(Path(path).name for path in library.files()) == ["a.wav", "c.wav"]


def test_a_bad_upload_fails_alone_in_its_batch() -> None:
    def embed(numbers: list[float]) -> FloatArray:
        if max(numbers) > 1:
            raise AudioError("too loud")
        return np.array(numbers, np.float32)[:, None]

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(embed, executor, size=4, wait_s=0.2, max_waiting=9)
            answers = await asyncio.gather(*(batcher.embed([x]) for x in (0.1, 9.0, 0.3)), return_exceptions=True)
            assert [isinstance(one, AudioError) for one in answers] == [False, True, False]
            assert float(np.ravel(answers[2])[0]) == np.float32(0.3)
            await batcher.close()

    asyncio.run(run())
