"""The commands on good input: what they print, write and return, and how they close a directory with broken files."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pyarrow import parquet

from aural.audio.find import find_sounds
from aural.models.pipeline import Model
from tiny import save_tiny, tiny_config, tone, write_wav

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(run_aural: Run, tiny_folder: Path) -> Run:
    """Return a function that runs `aural ... --model TINY` and returns exit code, stdout and stderr."""

    def call(*arguments: object, model: bool = True) -> tuple[int, str, str]:
        return run_aural(*arguments, *(["--model", tiny_folder] if model else []))

    return call


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path]:
    return [write_wav(tmp_path / f"{i}.wav", seconds, seed=i) for i, seconds in enumerate((0.5, 1.0, 2.5))]


def test_classify_as_a_table_and_as_json(run: Run, sounds: list[Path], tiny: Model) -> None:
    code, out, err = run("classify", *sounds, "--labels", "rain, a dog barking,wind", "--top", 2)
    assert (code, len(out.splitlines()), err) == (0, 3, "3 sounds\n")
    golden = tiny.classify(sounds, ["rain", "a dog barking", "wind"])
    assert f"{golden[0][0].label} {100 * golden[0][0].score:.0f}%" in out.splitlines()[0]
    code, out, _ = run("classify", *sounds, "--labels", "rain, a dog barking,wind", "--json")
    for line, path, want in zip(out.splitlines(), sounds, golden, strict=True):
        found = json.loads(line)
        assert (found["file"], found["silent"]) == (str(path), False)
        assert [(p["label"], p["score"]) for p in found["predictions"]] == [
            (one.label, pytest.approx(one.score, abs=1e-5)) for one in want
        ]


def test_labels_from_a_file_and_the_line(run: Run, sounds: list[Path], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\ufeffrain\n\n 犬が吠える \n", encoding="utf-8")
    arguments = ("--labels", "wind", "--labels-file", tmp_path / "labels.txt", "--multi-label", "--json")
    code, out, _ = run("classify", sounds[0], *arguments)
    predictions = json.loads(out)["predictions"]
    assert (code, {p["label"] for p in predictions}) == (0, {"wind", "rain", "犬が吠える"})


def test_similarity(run: Run, sounds: list[Path], tiny: Model) -> None:
    code, out, _ = run("similarity", sounds[0], "--text", "rain", "--text", "wind", "--json")
    want = tiny.similarity([sounds[0]], ["rain", "wind"])[0]
    found = {json.loads(line)["text"]: json.loads(line)["similarity"] for line in out.splitlines()}
    assert (code, found) == (0, {"rain": pytest.approx(want[0], abs=1e-5), "wind": pytest.approx(want[1], abs=1e-5)})


def test_embed_sounds_windows_and_texts(run: Run, sounds: list[Path], tiny: Model, tmp_path: Path) -> None:
    code, _, err = run("embed", tmp_path, "-o", tmp_path / "files.parquet", "--batch-size", 2)
    table = parquet.read_table(tmp_path / "files.parquet")
    assert (code, err, table.column_names) == (0, "3 sounds\n", ["file", "start_s", "end_s", "silent", "embedding"])
    np.testing.assert_allclose(np.stack(table["embedding"].to_numpy()), tiny.embed_audio(sounds), atol=2e-6)
    assert table["end_s"].to_pylist() == [0.5, 1.0, 2.5]
    assert table.schema.metadata[b"sample_rate_hz"] == b"16000"
    run("embed", *sounds, "-o", tmp_path / "windows.parquet", "--windows")
    rows = parquet.read_table(tmp_path / "windows.parquet").to_pylist()
    assert [(row["start_s"], row["end_s"]) for row in rows] == [(0, 0.5), (0, 1), (0, 1), (1, 2), (1.5, 2.5)]
    (tmp_path / "captions.txt").write_text("rain\nwind\n")
    code, _, err = run("embed", "--text-file", tmp_path / "captions.txt", "-o", tmp_path / "text.parquet")
    table = parquet.read_table(tmp_path / "text.parquet")
    assert (code, err, table["text"].to_pylist()) == (0, "2 texts\n", ["rain", "wind"])
    np.testing.assert_allclose(np.stack(table["embedding"].to_numpy()), tiny.embed_text(["rain", "wind"]), atol=2e-6)


def test_two_hundred_files_of_which_twenty_are_broken(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    for i in range(200):
        path = folder / f"{i % 4}" / f"{i:03}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i % 10:
            write_wav(path, 0.05, seed=i)
        else:
            content = [b"", b"no sound", bytes(400), None][i // 10 % 4]
            if content is None:
                soundfile.write(path, np.full(900, np.nan, np.float32), 16000, subtype="FLOAT")
            else:
                path.write_bytes(content)
    broken = [f"{i % 4}/{i:03}.wav" for i in sorted(range(0, 200, 10), key=lambda i: (i % 4, i))]
    for strict, want in (([], 0), (["--strict"], 2)):
        code, out, err = run("classify", folder, "--labels", "rain,wind", "--json", *strict)
        skipped = [line for line in err.splitlines() if line.startswith("skipped: ")]
        assert (code, len(out.splitlines()), len(skipped)) == (want, 180, 20)
        assert all(name in line for name, line in zip(broken, skipped, strict=True))
        assert err.splitlines()[-1] == "180 sounds; 20 skipped"


def test_directories_are_searched_for_sounds(tmp_path: Path) -> None:
    for name in ("b.wav", "a.FLAC", "deep/c.mp3", ".hidden/d.wav", "deep/.e.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = [str(path.relative_to(tmp_path)) for path in find_sounds([tmp_path, tmp_path / "b.wav"]).files]
    assert names == ["a.FLAC", "b.wav", "deep/c.mp3"]
    assert find_sounds([tmp_path / "notes.txt"]).files == [tmp_path / "notes.txt"]  # named outright


def test_an_hour_is_embedded_in_bounded_memory(run: Run, tmp_path: Path) -> None:
    """One hour at 8 kHz is 115 MB as float32, of which no more than a few windows of 10 s may be held."""
    config = tiny_config()
    mel = config.audio.mel.model_copy(update={"sample_rate_hz": 8000, "hop": 800, "fmax_hz": 4000})
    audio = config.audio.model_copy(update={"sample_rate_hz": 8000, "window_s": 10.0, "mel": mel})
    model = save_tiny(tmp_path / "model", config.model_copy(update={"audio": audio}))
    minute = tone(60.0, 8000)
    with soundfile.SoundFile(tmp_path / "hour.wav", "w", 8000, 1, "PCM_U8") as file:
        for _ in range(60):
            file.write(minute)
    warm = write_wav(tmp_path / "warm.wav", 50.0, 8000)
    run("embed", warm, "-o", tmp_path / "warm.parquet", "-m", model, model=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = tmp_path / "hour.parquet"
    code, _, err = run("embed", tmp_path / "hour.wav", "-o", out, "--windows", "-m", model, model=False)
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (code, err, parquet.read_table(out).num_rows) == (0, "1 sound\n", 360)
    assert grown_mib < 60


def test_models_list_and_show(run: Run, tiny_folder: Path) -> None:
    code, out, _ = run("models", "list", model=False)
    assert code == 0
    assert {"msclap-2022", "msclap-2023", "clap-htsat-fused"} <= {line.split()[0] for line in out.splitlines()}
    code, out, _ = run("models", "list", "--json", model=False)
    assert {"name", "sample_rate_hz"} <= json.loads(out.splitlines()[0]).keys()
    code, out, _ = run("models", "show", tiny_folder, "--json", model=False)
    shown = json.loads(out)
    assert (code, shown["config"]["embed_dim"], shown["peer"]) == (0, 24, "none")
    code, out, _ = run("models", "show", "msclap-2023", model=False)
    assert (code, "microsoft/msclap" in out) == (0, True)


def test_models_convert(run: Run, tiny_folder: Path, tmp_path: Path, tiny: Model) -> None:
    code, out, _ = run("models", "convert", tiny_folder, tmp_path / "half", "--half", model=False)
    assert (code, out) == (0, f"wrote {tmp_path / 'half'}: README.md, config.json, model.safetensors\n")


@pytest.mark.parametrize("arguments", [["--help"], ["classify", "-h"], ["models", "export", "--help"], ["--version"]])
def test_help(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments, model=False)
    assert (code, bool(out), err) == (0, True, "")
