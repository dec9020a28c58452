"""Bad files and arguments on the command line: a sentence that names fault and mend, exit code 2, no traceback."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aural.audio.io import write
from aural.cli.main import main
from aural.core.types import Clip
from tiny import tiny_config, tone, write_wav

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> Run:
    """`aural` in this process: exit code, stdout and stderr. MODEL stands for the tiny model."""

    def call(*arguments: object) -> tuple[int, str, str]:
        words = [str(tiny_folder) if word == "MODEL" else str(word) for word in arguments]
        monkeypatch.setattr(sys, "argv", ["aural", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else int(code)), out, err

    return call


def encoded(suffix: str) -> bytes:
    stored = io.BytesIO()
    subtype = "FLOAT" if suffix == "wav" else None
    soundfile.write(stored, tone(2.0), 16000, format=suffix.upper(), subtype=subtype)
    return stored.getvalue()


def broken(content: bytes) -> bytes:
    """The header is whole, what follows is noise."""
    noise = np.random.default_rng(0).bytes(len(content))
    return content[:60] + noise[: len(content) - 60]


def wav(samples: list[float], rate_hz: int = 16000) -> bytes:
    stored = io.BytesIO()
    soundfile.write(stored, np.array(samples, np.float32), 16000, format="WAV", subtype="FLOAT")
    content = bytearray(stored.getvalue())
    content[24:28] = struct.pack("<I", rate_hz)
    return bytes(content)


BAD_SOUNDS: dict[str, tuple[bytes, str]] = {
    "empty.wav": (b"", "the file is empty (0 bytes)"),
    "zeros.wav": (bytes(1000), "is not a sound file that can be decoded"),
    "no_samples.wav": (wav([]), "holds no samples"),
    "nan.wav": (wav([0.1] * 500 + [float("nan")] + [0.1] * 500), "sample 500 is NaN or infinite; repair the file"),
    "infinite.wav": (wav([0.1] * 500 + [float("inf")]), "sample 500 is NaN or infinite"),
    "one_sample.wav": (wav([0.5]), "lasts 0.06 ms; a sound needs at least 5 ms"),
    "one_hz.wav": (wav([0.1] * 500, 1), "sample rate 1 Hz is outside 1000 to 1000000 Hz"),
    "zero_hz.wav": (wav([0.1] * 500, 0), "zero_hz.wav: "),
    "two_ghz.wav": (wav([0.1] * 500, 2_000_000_000), "sample rate 2000000000 Hz is outside"),
    "text.wav": (b"RIFF is what a wav begins with\n" * 20, "is not a sound file that can be decoded"),
    "text.mp3": (b"hello\n" * 100, "is not a sound file that can be decoded (format not recognized)"),
    "header.wav": (encoded("wav")[:30], "header.wav: "),
    "truncated.flac": (encoded("flac")[:9000], "damaged at 0.00 s or later"),
    "broken.flac": (broken(encoded("flac")), "broken.flac: "),
    "broken.ogg": (broken(encoded("ogg")), "broken.ogg: "),
    "broken.mp3": (np.random.default_rng(1).bytes(3000), "is not a sound file that can be decoded"),
    "cut.ogg": (encoded("ogg")[:100], "cut.ogg: "),
    "noise.au": (b"\1\2\3\4" * 500, "has no header with its rate and encoding"),
    "samples.raw": (b"\1\2\3\4" * 500, "is not a sound file that can be decoded"),
    "photo.m4a": (b"\xff\xd8\xff\xe0" + bytes(500), "is not a sound file that can be decoded"),
    "list.m3u8": (b"#EXTM3U\n#EXTINF:1,\na.wav\n", "is not a sound file that can be decoded"),
    "pickle.wav": (b"\x80\x04\x95" + bytes(200), "is not a sound file that can be decoded"),
}


@pytest.mark.parametrize("name", BAD_SOUNDS)
def test_bad_sounds(name: str, run: Run, tmp_path: Path) -> None:
    content, sentence = BAD_SOUNDS[name]
    (tmp_path / name).write_bytes(content)
    code, out, err = run("classify", tmp_path / name, "--labels", "rain,wind", "--model", "MODEL")
    assert code == 2
    assert not out
    assert f"skipped: {tmp_path / name}: " in err
    assert sentence in err
    assert "0 sounds; 1 skipped" in err


def test_missing_and_unreadable(run: Run, tmp_path: Path) -> None:
    code, _, err = run("classify", tmp_path / "犬.wav", "--labels", "rain", "--model", "MODEL")
    assert (code, "犬.wav: no such file" in err) == (2, True)
    code, _, err = run("classify", tmp_path / ("x" * 300), "--labels", "rain", "--model", "MODEL")
    assert (code, "File name too long" in err) == (2, True)
    if os.getuid() != 0:
        path = write_wav(tmp_path / "locked.wav")
        path.chmod(0)
        code, _, err = run("classify", path, "--labels", "rain", "--model", "MODEL")
        assert (code, "locked.wav: cannot be opened (Permission denied)" in err) == (2, True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good sound and everything that can be wrong beside it."""
    folder = tmp_path_factory.mktemp("place")
    write_wav(folder / "a.wav")
    (folder / "nothing").mkdir()
    (folder / "latin.txt").write_bytes("Käuzchen\n".encode("latin-1"))
    (folder / "blank.txt").write_text("\n  \n")
    (folder / "twice.txt").write_text("rain\nwind\nrain\n")
    (folder / "table.parquet").mkdir()
    (folder / "file").write_text("x")
    (folder / "noise.pt").write_bytes(np.random.default_rng(0).bytes(4000))
    (folder / "noise.safetensors").write_bytes(np.random.default_rng(0).bytes(4000))
    torch.save({"clap_project.prefix_const": torch.zeros(2)}, folder / "clapcap.pth")
    torch.save({"weight": torch.zeros(2000)}, folder / "other.pt")
    (folder / "cut.pt").write_bytes((folder / "other.pt").read_bytes()[:3000])
    for name, text in {"bert": '{"model_type": "bert"}', "broken": "{", "typo": '{"aural": 1, "klap": {}}'}.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(text)
    return folder


CLASSIFY = ["classify", "a.wav", "--labels", "rain,wind", "--model"]
BAD_ARGUMENTS: dict[str, tuple[list[str], str]] = {
    "no labels": (["classify", "a.wav", "--model", "MODEL"], 'no labels were given; use --labels "a dog barking,rain"'),
    "empty labels": (["classify", "a.wav", "--labels", " , ,", "--model", "MODEL"], "no labels were given"),
    "a label twice": (
        ["classify", "a.wav", "--labels", "rain,wind, rain", "--model", "MODEL"],
        '"rain" is given twice',
    ),
    "no labels file": (["classify", "a.wav", "--labels-file", "no.txt"], "no.txt: no such labels file"),
    "labels not UTF-8": (["classify", "a.wav", "--labels-file", "latin.txt"], "latin.txt: is not UTF-8 text; save"),
    "labels blank": (
        ["classify", "a.wav", "--labels-file", "blank.txt"],
        "blank.txt: holds no labels; write one per line",
    ),
    "labels twice": (["classify", "a.wav", "--labels-file", "twice.txt", "--model", "MODEL"], '"rain" is given twice'),
    "labels a folder": (["classify", "a.wav", "--labels-file", "nothing"], "nothing: cannot be read (Is a directory)"),
    "template": ([*CLASSIFY, "MODEL", "--template", "a sound"], 'template "a sound" has no place for the label'),
    "empty folder": (["classify", "nothing", "--labels", "rain"], "nothing: holds no sound files (.3gp,"),
    "top 0": ([*CLASSIFY, "MODEL", "--top", "0"], "--top"),
    "top a word": ([*CLASSIFY, "MODEL", "--top", "all"], "--top"),
    "no sounds": (["classify", "--labels", "rain"], "FILES_OR_DIRS"),
    "unknown option": ([*CLASSIFY, "MODEL", "--lables", "x"], "--lables"),
    "model near miss": ([*CLASSIFY, "msclap-2032"], 'did you mean "msclap-2023"?'),
    "model nowhere": ([*CLASSIFY, "no/such/model.pt"], '"no/such/model.pt" is neither a file, a folder, a hub repo'),
    "model empty": ([*CLASSIFY, ""], "the model's name is empty; see `aural models list`"),
    "model of nobody": ([*CLASSIFY, "~nobody-of-that-name/m"], "opened (Could not determine home directory.)"),
    "model too long": ([*CLASSIFY, "x" * 300], "cannot be opened (File name too long)"),
    "model offline": ([*CLASSIFY, "msclap-2023", "--offline"], '"CLAP_weights_2023.pth" of the hub repository'),
    "pickle noise": ([*CLASSIFY, "noise.pt"], "noise.pt: cannot be read as torch weights"),
    "pickle cut": ([*CLASSIFY, "cut.pt"], "cut.pt: cannot be read as torch weights"),
    "safetensors noise": ([*CLASSIFY, "noise.safetensors"], "noise.safetensors: cannot be read as safetensors"),
    "captioner": ([*CLASSIFY, "clapcap.pth"], 'clapcap.pth: "clap.base.htsat.'),
    "other weights": (
        [*CLASSIFY, "other.pt"],
        'other.pt: is not a checkpoint that aural knows (its first keys: "weight")',
    ),
    "a sound as model": ([*CLASSIFY, "a.wav"], "a.wav: cannot be read as torch weights"),
    "folder without config": ([*CLASSIFY, "nothing"], "nothing: holds no config.json"),
    "another model": ([*CLASSIFY, "bert"], 'is of model type "bert", which is not a language-audio model'),
    "config broken": ([*CLASSIFY, "broken"], "config.json: is not JSON"),
    "config key": ([*CLASSIFY, "typo"], 'unknown key "klap"; did you mean "clap"?'),
    "device unknown": ([*CLASSIFY, "MODEL", "--device", "tpu9"], 'device "tpu9" is not known; use cpu, cuda'),
    "device absent": ([*CLASSIFY, "MODEL", "--device", "cuda:99"], 'device "cuda:99": torch sees'),
    "precision": ([*CLASSIFY, "MODEL", "--precision", "fp8"], 'precision "fp8" is not known; use fp32 or bf16'),
    "tokenizer": ([*CLASSIFY, "MODEL", "--tokenizer", "nothing"], "nothing: holds neither tokenizer.json, vocab.json"),
    "embed nothing": (["embed", "-o", "x.parquet"], "give either sound files or --text-file, not both"),
    "embed both": (
        ["embed", "a.wav", "--text-file", "twice.txt", "-o", "x.parquet"],
        "give either sound files or --text-file, not both",
    ),
    "embed as csv": (
        ["embed", "a.wav", "-o", "x.csv"],
        "x.csv: embeddings are written as parquet; give a name that ends in .parquet",
    ),
    "embed nowhere": (["embed", "a.wav", "-o", "no/x.parquet"], "no does not exist; create it first"),
    "embed onto folder": (
        ["embed", "a.wav", "-o", "table.parquet", "--model", "MODEL"],
        "table.parquet: is a directory",
    ),
    "embed batch 0": (["embed", "a.wav", "-o", "x.parquet", "--batch-size", "0"], "--batch-size"),
    "embed no text file": (["embed", "--text-file", "no.txt", "-o", "x.parquet"], "no.txt: no such text file"),
    "similarity missing": (["similarity", "no.wav", "--text", "rain", "--model", "MODEL"], "no.wav: no such file"),
    "similarity folder": (
        ["similarity", "nothing", "--text", "rain", "--model", "MODEL"],
        "nothing: is a directory, not",
    ),
    "similarity no text": (["similarity", "a.wav", "--model", "MODEL"], "--text"),
    "show nowhere": (["models", "show", "msclap-2032"], 'did you mean "msclap-2023"?'),
    "convert onto file": (
        ["models", "convert", "MODEL", "file"],
        "file: is a file; name a folder",
    ),
    "convert below file": (
        ["models", "convert", "MODEL", "file/below"],
        "file/below: cannot be created, because file is a file",
    ),
    "export format": (["models", "export", "MODEL", "out", "--format", "pickle"], 'format "pickle" is not known'),
    "export unfit": (
        ["models", "export", "MODEL", "out"],
        "cannot be written for transformers, because its audio encoder",
    ),
    "unknown command": (["clasify", "a.wav"], "No such command 'clasify'"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments(name: str, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, sentence = BAD_ARGUMENTS[name]
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, err = run(*arguments)
    assert code == 2, err
    assert not out
    assert sentence in err
    assert "Traceback" not in err
    assert not (place / "x.parquet").exists()
    assert not list(place.glob("*.part"))


def test_strange_but_good(run: Run, tmp_path: Path) -> None:
    """What looks wrong and is not: many channels, a unicode name, an odd rate, a wrong suffix, 8-bit sound."""
    soundfile.write(tmp_path / "many.wav", np.tile(tone(0.2)[:, None], (1, 32)), 16000)
    write_wav(tmp_path / "犬 🐕 naïve.wav")
    write_wav(tmp_path / "odd.wav", rate_hz=11127)
    (tmp_path / "flac.wav").write_bytes(encoded("flac"))
    soundfile.write(tmp_path / "bytes.wav", tone(0.2), 8000, subtype="PCM_U8")
    write_wav(tmp_path / "ten_hours.wav")
    header = bytearray((tmp_path / "ten_hours.wav").read_bytes())
    header[40:44] = header[4:8] = struct.pack("<I", 2**31)  # a header of ten hours over two seconds of sound
    (tmp_path / "ten_hours.wav").write_bytes(header)
    write(tmp_path / "silence.flac", Clip(np.zeros((1, 16000), np.float32), 16000))
    code, out, err = run("classify", tmp_path, "--labels", "rain, wind", "--model", "MODEL", "--strict")
    assert code == 0, err
    assert len(out.splitlines()) == 7
    assert "7 sounds, 1 of them digital silence" in err


def aural(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "aural", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd)


def test_as_a_process(tiny_folder: Path, tmp_path: Path) -> None:
    """The same through a shell: exit codes, streams and no traceback."""
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    done = aural("classify", "bad.wav", "--labels", "rain", "--model", tiny_folder, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("skipped: bad.wav: is not a sound file that can be decoded")
    done = aural("classify", "bad.wav", "--labels", "rain", "--model", "msclap-2032", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith('error: "msclap-2032" is neither')
    assert len(done.stderr.splitlines()) == 1
    assert len(BAD_SOUNDS) + len(BAD_ARGUMENTS) >= 60
    assert tiny_config().embed_dim == 24
