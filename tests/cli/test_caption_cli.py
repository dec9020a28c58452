"""`aural caption`: the picked sentence is the nearest one, in every form of output, and bad files are skipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

import aural
from aural.core.errors import AudioError, ConfigError
from aural.core.types import AudioSource
from aural.generate.writer import SearchConfig
from aural.models.captioner import Caption, Captioner, RetrievalCaptioner, class_sentences
from aural.models.writers import captioner_of
from tiny import save_tiny, write_wav

Run = Callable[..., tuple[int, str, str]]
SENTENCES = ["a dog barks twice", "rain on a tin roof", "a bell rings far away"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("caption")
    save_tiny(folder / "model")
    for name, hertz in (("a.wav", 440), ("b.wav", 1200)):
        write_wav(folder / name, hz=hertz)
    (folder / "bad.wav").write_bytes(b"RIFF")
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
