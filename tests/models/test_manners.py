"""What users of Python libraries expect: dir, repr, explicit arguments, `.to`, progress, and the rows of `datasets`."""

from __future__ import annotations

import inspect
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import aural
from aural.core.errors import AudioError, ConfigError
from aural.models.load import load
from aural.models.pipeline import Model
from tiny import RATE_HZ, tone, write_wav


def test_dir_and_repr(tiny: Model, tiny_folder: Path) -> None:
    assert dir(aural) == sorted(aural.__all__)
    assert all(getattr(aural, name) is not None for name in dir(aural))
    assert repr(tiny) == f'Model("{tiny_folder}": 16000 Hz, windows of 1 s, 24 dimensions, fp32 on cpu)'


def test_public_functions_name_their_options() -> None:
    from aural.models.embedding import EmbeddingModel
    from aural.search.library import Library

    public = [aural.load, aural.read_audio, *(getattr(Library, name) for name in vars(Library) if name[0] != "_")]
    for kind in (EmbeddingModel, Model):
        public += [value for name, value in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"]
    for function in public:
        if callable(function):
            kinds = {one.kind for one in inspect.signature(function).parameters.values()}
            assert inspect.Parameter.VAR_KEYWORD not in kinds, function


def test_to_moves_the_model_and_returns_it(tiny_folder: Path) -> None:
    model = load(tiny_folder, engine="torch", device="cpu")
    before = model.embed_audio([(tone(1.0), RATE_HZ)])
    assert model.to("cpu") is model
    assert model.to(torch.device("cpu")).device == torch.device("cpu")
    np.testing.assert_array_equal(model.embed_audio([(tone(1.0), RATE_HZ)]), before)
    with pytest.raises(ConfigError, match='device "tpu9" is not known'):
        model.to("tpu9")
    moved = load(tiny_folder, engine="torch", device="cpu")
    moved.audio_tower  # noqa: B018 - built before the move
    moved.device = torch.device("meta")  # stands for a second device, which this machine lacks
    moved.to("cpu")
    assert {weights.device.type for weights in moved.audio_tower.parameters()} == {"cpu"}


def test_bad_sounds_can_be_skipped(tiny: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = [write_wav(tmp_path / f"{i}.wav", seed=i) for i in range(2)]
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    files = [good[0], tmp_path / "bad.wav", good[1], tmp_path / "none.wav"]
    with pytest.raises(AudioError, match=r"bad\.wav: is not a sound"):
        tiny.embed_audio(files)
    with pytest.warns(UserWarning, match=r"2 of 4 sounds were skipped and have rows of NaN; the first: .*bad\.wav: is"):
        rows = tiny.embed_audio(files, skip_bad=True, progress=True)
    np.testing.assert_array_equal(np.isnan(rows).all(axis=1), [False, True, False, True])
    np.testing.assert_allclose(rows[[0, 2]], tiny.embed_audio(good), atol=2e-6)
    assert capsys.readouterr().out == ""


def test_rows_of_other_libraries(tiny: Model, tmp_path: Path) -> None:
    wave = tone(1.5)
    path = write_wav(tmp_path / "a.wav", 1.5)
    decoder = SimpleNamespace(
        get_all_samples=lambda: SimpleNamespace(data=torch.from_numpy(wave)[None], sample_rate=RATE_HZ)
    )
    golden = tiny.embed_audio([(wave, RATE_HZ)])[0]
    row = {"array": wave, "sampling_rate": RATE_HZ}
    for sound in (row, {"audio": row}, {"path": None} | row, decoder, {"audio": decoder}):
        np.testing.assert_allclose(tiny.embed_audio([sound])[0], golden, atol=2e-6)
        np.testing.assert_allclose(tiny.embed_audio(sound)[0], golden, atol=2e-6)
        np.testing.assert_array_equal(aural.read_audio(sound).samples[0], wave)
    stored = {"bytes": path.read_bytes(), "path": None}
    np.testing.assert_array_equal(tiny.embed_audio([stored]), tiny.embed_audio([path]))
    np.testing.assert_array_equal(tiny.embed_audio([{"bytes": None, "path": str(path)}]), tiny.embed_audio([path]))
    for wrong, sentence in (
        ({"array": wave}, 'its "sampling_rate" is not given'),
        ({"label": 3}, r"a mapping with the keys \(label\) is not a sound"),
        ({"bytes": b"", "path": None}, "is not a sound"),
    ):
        with pytest.raises(AudioError, match=sentence):
            tiny.embed_audio([wrong])


def test_real_rows_of_datasets(tiny: Model, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write_wav(tmp_path / "a.wav", 1.5)
    rows = datasets.Dataset.from_dict({"audio": [str(tmp_path / "a.wav")]})
    golden = tiny.embed_audio([tmp_path / "a.wav"])
    undecoded = rows.cast_column("audio", datasets.Audio(decode=False))
    np.testing.assert_array_equal(tiny.embed_audio([row["audio"] for row in undecoded]), golden)


def test_files_and_pipes_still_work(tiny: Model, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", 1.5)
    np.testing.assert_array_equal(tiny.embed_audio(io.BytesIO(path.read_bytes())), tiny.embed_audio(path))
