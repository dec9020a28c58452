"""Bad input for every command and the Python API: exit code 2 or AuralError, one sentence, no traceback, nothing left.

The command lines are in bad_inputs.txt. The counts of inputs are printed (`-s` shows them).
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import aural
from aural.audio.io import info, write
from aural.cli.main import app
from aural.core.errors import AuralError
from aural.core.types import Clip
from aural.models.locate import LocateConfig, Locator
from aural.models.pipeline import Model
from aural.search.describe import describe_file
from aural.search.export import export
from aural.search.filters import parse_filter
from aural.search.library import Library
from aural.search.move import move
from aural.search.query import QueryWeights
from aural.search.reindex import delete_space, new_space, switch
from aural.search.select import select
from aural.search.watch import WatchConfig
from aural.serve.settings import Settings
from aural.train.recipes import load_recipe
from tiny import RATE_HZ, save_tiny, tone, write_wav

Run = Callable[..., tuple[int, str, str]]
CASES = [
    line.split(" => ")
    for line in (Path(__file__).parent / "bad_inputs.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
WORDS = [shlex.split(line) for line, _ in CASES]
STAND_INS = {"NOT_UTF8": os.fsdecode(b"\xff.wav"), "CONTROL": "a\x1b[31m\u202egpj", "LONG": "x" * 20_000}


def commands() -> set[tuple[str, ...]]:
    """Every command of `aural`, with its group."""
    names = {(one.name or one.callback.__name__,) for one in app.registered_commands if one.callback}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        inner = group.typer_instance.registered_commands
        names |= {(str(group.name), one.name or one.callback.__name__) for one in inner if one.callback}
    return names


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good sound and everything that can be wrong beside it."""
    folder = tmp_path_factory.mktemp("bad")
    noise = np.random.default_rng(0).bytes(300)
    write_wav(folder / "a.wav")
    (folder / "half.wav").write_bytes((folder / "a.wav").read_bytes()[:9000])
    soundfile.write(folder / "loud.wav", np.full(9000, 1e18), RATE_HZ, subtype="DOUBLE")
    (folder / "gone.wav").symlink_to(folder / "nothing.wav")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "not_utf8").mkdir()
    (folder / "not_utf8" / STAND_INS["NOT_UTF8"]).write_bytes((folder / "a.wav").read_bytes())
    soundfile.write(folder / "nan.wav", np.full(9000, np.nan, np.float32), RATE_HZ, subtype="FLOAT")
    for name, samples, rate_hz in (("one", [0.5], RATE_HZ), ("none", [], RATE_HZ), ("hz1", [0.3] * 5, 1)):
        soundfile.write(folder / f"{name}.wav", np.array(samples), rate_hz)
    (folder / "empty").mkdir()
    (folder / "file").write_text("x")
    for name in ("noise.yaml", "noise.parquet", "noise.tar", "noise.wav"):
        (folder / name).write_bytes(noise * (7 if name.endswith("tar") else 1))
    for name in ("pipe", "pipe.yaml"):
        os.mkfifo(folder / name)
    texts = {"bad.toml": "x = [", "list.yaml": "- 1\n", "empty.yaml": "", "labels.txt": "rain\nwind\n"}
    texts |= {"card.toml": 'name = "card"\nkind = "zeroshot"\nmetric = 3\n', "deep.json": "[" * 100_000}
    texts |= {"badlib/library.json": "{", "badlib2/library.json": '{"aural": 1, "model": 3}'}
    texts |= {"twice.csv": "path,path,caption\na.wav,a.wav,rain\n", "one.csv": "path,caption\na.wav,rain\n"}
    texts |= {"noscores/run.json": "{}", "liststores/run.json": "[]", "halfstores/run.json": '{"model": '}
    texts |= {"zero.wav": "", "text.wav": "hello\n" * 500, "nul.csv": "path,caption\na.wav,\0\n"}
    texts |= {"gone.csv": "path,caption\nnosuch.wav,rain\n", "tag.yaml": "!!python/object/apply:os.system ['true']"}
    texts |= {"badscores/run.json": '{"model": "x"}', "badscores/scores/a.json": "[]"}
    for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    for name, size in {"negative": -5, "huge": 10**9}.items():
        config = json.loads((save_tiny(folder / name) / "config.json").read_text())
        config["clap"]["embed_dim"] = size
        (folder / name / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def library(place: Path, tiny: Model, tiny_folder: Path) -> Path:
    built = Library.create(place / "library", tiny, model=str(tiny_folder), window_s=1.0)
    list(built.add([place / "a.wav"], tiny))
    return built.folder


def left(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "library/" not in str(path) and path.name != "writer.lock"}


def test_every_command_refuses_bad_input(
    run_aural: Run, place: Path, library: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AURAL_PLUGINS", "")
    monkeypatch.setattr("aural.serve.run.serve", lambda *_, **__: None)  # accepted arguments must not serve forever
    stand_ins = STAND_INS | {"MODEL": str(tiny_folder), "LIB": str(library)}
    before = left(place)
    wrong = []
    for line, sentence in CASES:
        words = [stand_ins.get(word, word) for word in shlex.split(line)]
        try:
            code, out, err = run_aural(*words)
        except BaseException as error:  # a traceback for the user
            wrong.append(f"{line}: {type(error).__name__}: {error}")
            continue
        said = " ".join(err.replace("│", " ").split()) + out
        if code != 2 or sentence not in said or "Traceback" in said:
            wrong.append(f"{line}: code {code}, {said[-300:]}")
        if new := left(place) - before:
            wrong.append(f"{line}: leaves {sorted(str(path.relative_to(place)) for path in new)[:3]}")
            before |= new
        os.environ["AURAL_PLUGINS"] = ""
    tried = {name for name in commands() for words in WORDS if tuple(words[: len(name)]) == name}
    print(f"\n{len(CASES)} bad command lines over {len(tried)} commands, {len(wrong)} wrong")
    assert commands() == tried
    assert not wrong, "\n".join(wrong)
    assert len(CASES) >= 200


def test_the_python_api_refuses_bad_input(place: Path, library: Path, tiny: Model, tmp_path: Path) -> None:
    wave = tone(0.5)
    good = (wave, RATE_HZ)
    sounds: list[Any] = [
        *(
            place / name
            for name in ("half.wav", "loud.wav", "gone.wav", "pipe", "empty", "file", "none.wav", "noise.tar")
        ),
        *("/dev/zero", "", "a\0b.wav", "x" * 5000, b"", b"RIFF", b"\0" * 1000),
        *((wave, 0), (wave, -1), (wave, 1e9), (wave, float("nan")), (wave, 16000.5), (wave, None), (wave,)),
        *((np.zeros(0, np.float32), RATE_HZ), (np.zeros((5, 5, 5)), RATE_HZ), (np.array(["a"]), RATE_HZ)),
        *(
            (np.full(9000, np.nan), RATE_HZ),
            (np.full(9000, 1e30), RATE_HZ),
            (wave * 1j, RATE_HZ),
            ([[1, 2], [3]], RATE_HZ),
        ),
        *(wave, Clip(np.zeros((1, 0), np.float32), RATE_HZ), {"array": wave}, {"label": 1}, {"path": "none.wav"}),
        *(3, None, object(), {"array": wave, "sampling_rate": "fast"}),
    ]
    calls: list[tuple[str, Callable[[], Any]]] = []
    for sound in sounds:
        shown = repr(sound)[:50]
        calls.append((f"read_audio({shown})", lambda sound=sound: aural.read_audio(sound)))
        calls.append((f"info({shown})", lambda sound=sound: aural.read_audio(sound) and info(sound)))
        calls.append((f"embed_audio([{shown}])", lambda sound=sound: tiny.embed_audio([sound])))
    texts: list[Any] = [3, [3], None, ["a\ud800"], [b"rain"]]
    calls += [(f"embed_text({text!r})", lambda text=text: tiny.embed_text(text)) for text in texts]
    labels: list[Any] = ["rain", [], [""], ["a", "a"], [3], 3]
    calls += [(f"classify(labels={one!r})", lambda one=one: tiny.classify([good], one)) for one in labels]
    card = Library(library)
    more: dict[str, Callable[[], Any]] = {
        "classify(template)": lambda: tiny.classify([good], ["rain"], template="x"),
        "classify(top=0)": lambda: tiny.classify([good], ["rain"], top=0),
        "similarity(blank)": lambda: tiny.similarity([good], [" "]),
        "similarity(none)": lambda: tiny.similarity([good], []),
        "embed_audio(batch_size=0)": lambda: tiny.embed_audio([good], batch_size=0),
        "embed_audio(longer)": lambda: tiny.embed_audio([good], longer="x"),  # type: ignore[arg-type]
        "embed_audio(shorter)": lambda: tiny.embed_audio([good], shorter="x"),  # type: ignore[arg-type]
        "embed_audio(random)": lambda: tiny.embed_audio([good], longer="random"),
        "embed_text(batch_size=0)": lambda: tiny.embed_text(["a"], batch_size=0),
        "to(tpu)": lambda: tiny.to("tpu"),
        "save_pretrained('')": lambda: tiny.save_pretrained(""),
        "save_pretrained(file)": lambda: tiny.save_pretrained(place / "file"),
        "push_to_hub": lambda: tiny.push_to_hub("a//b"),
        "load('')": lambda: aural.load(""),
        "load(3)": lambda: aural.load(3),  # type: ignore[call-overload]
        "load(nosuch)": lambda: aural.load("/nosuch"),
        "load(tokenizer)": lambda: aural.load(tiny.name, tokenizer="/nosuch"),
        "load(precision)": lambda: aural.load(tiny.name, precision="fp8"),  # type: ignore[call-overload]
        "load(engine)": lambda: aural.load(tiny.name, engine="tpu"),  # type: ignore[call-overload]
        "load(device)": lambda: aural.load(tiny.name, device="tpu"),
        "load(compat)": lambda: aural.load(tiny.name, compat="peer"),
        "load(offline)": lambda: aural.load("owner/model", offline=True),
        "read_audio(start)": lambda: aural.read_audio(good, start_s=-1),
        "read_audio(late)": lambda: aural.read_audio(good, start_s=99),
        "read_audio(duration)": lambda: aural.read_audio(good, duration_s=0),
        "read_audio(start=nan)": lambda: aural.read_audio(good, start_s=float("nan")),
        "read_audio(start=inf)": lambda: aural.read_audio(place / "a.wav", start_s=float("inf")),
        "read_audio(duration=nan)": lambda: aural.read_audio(place / "a.wav", duration_s=float("nan")),
        "write(suffix)": lambda: write(tmp_path / "a.xyz", Clip(wave[None], RATE_HZ)),
        "write(folder)": lambda: write(tmp_path / "no" / "a.wav", Clip(wave[None], RATE_HZ)),
        "Library(empty)": lambda: Library(place / "empty"),
        "Library.create(window)": lambda: Library.create(tmp_path / "l", tiny, model="m", window_s=0),
        "Library.create(other window)": lambda: Library.create(library, tiny, model="m", window_s=3),
        "Library.create(file)": lambda: Library.create(place / "file", tiny, model="m"),
        "Library.search(top)": lambda: card.search(tiny.embed_text(["a"])[0], 0),
        "Library.search(nan)": lambda: card.search(np.full(24, np.nan, np.float32)),
        "Library.search(dim)": lambda: card.search(np.ones(7, np.float32)),
        "Notebook.rate(1.5)": lambda: card.notebook.rate(["x"], 1.5),  # type: ignore[arg-type]
        "Notebook.rate(nan)": lambda: card.notebook.rate(["x"], float("nan")),  # type: ignore[arg-type]
        "Notebook.rate(str)": lambda: card.notebook.rate(["x"], "3"),  # type: ignore[arg-type]
        "Notebook.note(bytes)": lambda: card.notebook.write_note(["x"], b"x"),  # type: ignore[arg-type]
        "Notebook.note(surrogate)": lambda: card.notebook.write_note(["x"], "a\ud800"),
        "Notebook.collect(control)": lambda: card.notebook.collect("\x1b", ["x"]),
        "Notebook.members": lambda: card.notebook.members("nosuch"),
        "Notebook.delete_collection": lambda: card.notebook.delete_collection("a\ud800"),
        "select": lambda: select(card, ["nosuch"]),
        "describe_file": lambda: describe_file(card, "\0"),
        "export": lambda: export(card, "nosuch"),
        "move": lambda: list(move(card, place, "\udcff")),
        "switch": lambda: switch(card.root, "nosuch"),
        "delete_space": lambda: delete_space(card.root, "../.."),
        "new_space": lambda: new_space(card.root, tiny, model="m", name="b", window_s=float("inf")),
        "WatchConfig(nan)": lambda: WatchConfig(quiet_s=float("nan")),
        "WatchConfig(inf)": lambda: WatchConfig(poll_s=float("inf")),
        "LocateConfig(gap)": lambda: LocateConfig(max_gap_s=float("nan")),
        "LocateConfig(threshold)": lambda: LocateConfig(threshold=10**30),
        "Locator(hop)": lambda: Locator(tiny, ["rain"], LocateConfig(hop_s=1e-300)),
        "QueryWeights": lambda: QueryWeights(float("inf"), 1, 1),
        "Settings(proxies)": lambda: Settings.parse({"proxies": ["nosuch"]}, "settings"),
        "Library.vector": lambda: card.vector("nosuch"),
        "Library.add('')": lambda: list(card.add([""], tiny)),
        "classify(top=1.5)": lambda: tiny.classify([good], ["rain"], top=1.5),  # type: ignore[arg-type]
        "classify(top=str)": lambda: tiny.classify([good], ["rain"], top="2"),  # type: ignore[arg-type]
        "embed_audio(batch_size=1.5)": lambda: tiny.embed_audio([good], batch_size=1.5),  # type: ignore[arg-type]
        "embed_audio(batch_size=huge)": lambda: tiny.embed_audio([good], batch_size=10**30),
        "embed_text(batch_size=huge)": lambda: tiny.embed_text(["a"], batch_size=10**30),
        "Library.search(top=1.5)": lambda: card.search(tiny.embed_text(["a"])[0], 1.5),  # type: ignore[arg-type]
        "parse_filter(surrogate)": lambda: parse_filter("path = 'a\ud800'"),
        "parse_filter": lambda: parse_filter("duration <"),
        "load_recipe": lambda: load_recipe("nosuch"),
        "load_recipe(change)": lambda: load_recipe("clap_2023", ["loop.batch=x"]),
    }
    calls += more.items()
    wrong = []
    for name, call in calls:
        try:
            call()
            wrong.append(f"{name}: accepted")
        except AuralError as error:
            if "\n" in str(error) or len(str(error)) < 10:
                wrong.append(f"{name}: not a sentence: {error}")
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}")
    print(f"\n{len(calls)} bad calls of the Python API, {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong)
    assert len(calls) >= 100
