"""Training on one's sounds in one command: a CSV of captions, a folder per class, a model to start from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import aural
from aural.cli.main import main
from aural.core.errors import AuralError, DataError
from aural.data.captioned import read_captioned
from aural.models.open import open_checkpoint
from aural.train.loop import train
from aural.train.recipes import load_recipe
from tiny import tone, write_wav

Run = Callable[..., tuple[int, str, str]]
CAPTIONS = ("a low hum", "a high beep")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve tones in a folder next to a CSV with two captions."""
    lines = ["path,caption"]
    for i in range(12):
        import soundfile

        (tmp_path / "sounds").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "sounds" / f"{i}.wav", tone(0.6, hz=(200 if i % 2 == 0 else 3000) + 7 * i), 16000)
        lines.append(f"sounds/{i}.wav,{CAPTIONS[i % 2]}")
    (tmp_path / "captions.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "captions.csv"


def test_one_command_trains_from_a_model(
    table: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["aural", "train", "--csv", str(table), "--init", str(tiny_folder), "--out", str(tmp_path / "run")]
    # The random text tower gives both captions nearly the same vector: it must learn, too.
    changes = ("loop.epochs=60", "optimizer.lr=3e-3", "model.locked=[]", "objective={name: info_nce}")
    quick = [word for change in changes for word in ("--set", change)]
    monkeypatch.setattr("sys.argv", command + quick)
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    main_code = 0
    try:
        main()
    except SystemExit as ended:
        main_code = int(ended.code or 0)
    assert (main_code, capsys.readouterr().out.strip()) == (0, str(tmp_path / "run" / "model"))
    before, after = (
        aural.load(folder, engine="torch", device="cpu") for folder in (tiny_folder, tmp_path / "run/model")
    )
    assert after.config == before.config
    files = sorted((table.parent / "sounds").glob("*.wav"), key=lambda file: int(file.stem))
    best = [labels[0].label for labels in after.classify(files, CAPTIONS, template="{}")]
    assert sum(label == CAPTIONS[i % 2] for i, label in enumerate(best)) >= 11
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["model"]["init"] == str(tiny_folder)


def test_init_gives_the_architecture(table: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """A recipe of another model needs no copied config."""
    changes = [f"model.init={tiny_folder}", f"data.sources=[{{captions: {table}}}]", "loop.batch=4", "loop.steps=1"]
    changes += ["loop.epochs=0", "model.audio_init=''", "data.workers=0", "loop.micro_batch=0"]
    recipe = load_recipe("small_pair", changes)
    folder = train(recipe, tmp_path / "run", device="cpu")
    assert open_checkpoint(folder).config == open_checkpoint(tiny_folder).config
    with pytest.raises(AuralError, match="neither a file, a folder"):
        train(load_recipe("small_pair", [*changes, "model.init=/no/such/model"]), tmp_path / "none", device="cpu")
    assert not (tmp_path / "none").exists()


def test_a_folder_per_class(tmp_path: Path) -> None:
    for name in ("dog_bark", "rain", ".hidden"):
        (tmp_path / name).mkdir()
        write_wav(tmp_path / name / "a.wav")
    (tmp_path / "notes.txt").write_text("x")
    rows = list(read_captioned(tmp_path))
    assert [(row.path, row.label, row.split) for row in rows] == [
        ("dog_bark/a.wav", "dog bark", "train"),
        ("rain/a.wav", "rain", "train"),
    ]


def test_columns_of_a_table(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_wav(tmp_path / f"{name}.wav", 1.5)
    (tmp_path / "t.tsv").write_text(
        f"\ufeffsplit\tpath\tcaption\n\ta.wav\tone, with a comma\n\ta.wav\ttwo\ntest\t{tmp_path}/b.wav\tthree\n",
        "utf-8",
    )
    manifest = read_captioned(tmp_path / "t.tsv")
    rows = list(manifest)
    assert [(row.path, row.captions, row.split) for row in rows] == [
        ("a.wav", ["one, with a comma", "two"], "train"),
        ("b.wav", ["three"], "test"),
    ]
    assert (manifest.folder, rows[0].duration_s) == (tmp_path, 1.5)


BAD_TABLES = {
    "path,text\na.wav,x\n": 'the header has no column "caption"; known: path, text',
    "file,caption\na.wav,x\n": 'the header has no column "path"',
    "path,caption\n": "holds no rows below its header",
    "": 'the header has no column "path"',
    "path,caption\na.wav,\n": "line 2: the caption of a.wav is empty",
    "path,caption\n,x\n": "line 2: path is empty",
    "path,caption\nno.wav,x\na.wav,x\n": "1 of 2 files do not exist, the first is no.wav",
    "path,caption,split\na.wav,x,training\n": 'split "training" of a.wav is wrong; use one of train, valid',
    'path,caption\n"a.wav,x\n': "is not CSV",
}


@pytest.mark.parametrize("text", BAD_TABLES)
def test_bad_tables(text: str, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError) as error:
        read_captioned(tmp_path / "t.csv")
    assert BAD_TABLES[text] in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "t.csv"))


def test_no_table_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such CSV file or folder"):
        read_captioned(tmp_path / "none.csv")
    with pytest.raises(DataError, match="holds no folder with sound files; make one folder per class"):
        read_captioned(tmp_path)
    (tmp_path / "latin.csv").write_bytes("path,caption\na.wav,Käuzchen\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv: is not UTF-8 text; save the CSV as UTF-8"):
        read_captioned(tmp_path / "latin.csv")
