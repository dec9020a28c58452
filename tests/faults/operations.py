"""The commands whose faults are tested: what they start from, and what must hold after a fault."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from aural.search.check import check
from aural.search.library import Library
from faults.harness import Operation
from library_toys import write_sound
from sketch import SketchEmbedder

SECONDS = (0.4, 1.2, 2.5)


def no_remains(folder: Path) -> None:
    """Fail if a run that was not killed left a temporary file or an empty folder."""
    for path in folder.rglob("*"):
        assert ".part" not in path.name, f"{path} was left"
        assert not path.is_dir() or any(path.iterdir()), f"{path} is empty"


# Libraries ---------------------------------------------------------------------------------------------------------


def _sounds(folder: Path) -> None:
    # The sounds are outside the folder whose calls fail, at one place, so that their addresses are equal in every run.
    if not (folder.parent / "sounds").exists():
        for i in range(6):
            write_sound(folder.parent / "sounds" / f"{i}.wav", SECONDS[i % 3], i)


def _sounds_of(folder: Path) -> Path:
    return (folder.parent / "initial" / "sounds") if (folder.parent / "initial").exists() else folder.parent / "sounds"


def _library(folder: Path) -> None:
    _sounds(folder)
    embedder = SketchEmbedder()
    library = Library.create(folder / "library", embedder, model="sketch", window_s=1.0)
    sounds = sorted(_sounds_of(folder).glob("[012].wav"))
    list(library.add(sounds, embedder, roots=[_sounds_of(folder)]))
    library.optimize()
    os.utime(folder / "library" / "library.json")


def _large_library(folder: Path) -> None:
    from library_toys import random_store

    _library(folder)
    store = random_store(folder / "library", 150)
    assert store.count() >= 256


def _library_is_sound(folder: Path, killed: bool) -> None:
    library = folder / "library"
    if not (library / "library.json").exists():
        assert killed or not library.exists(), "a refused add left a folder"
        return
    report = check(library)
    assert report.problems == [], report.problems
    stored = Library(library).files()
    held = {str(_sounds_of(folder) / f"{i}.wav") for i in range(3)}
    assert held <= stored.keys() or not stored, "a file was lost"
    if not killed:
        assert not [path for path in folder.rglob("*") if ".part" in path.name]


def _rows(folder: Path) -> Any:
    table = Library(folder / "library").store.rows(["file", "window", "start", "end", "hash", "vector"])
    return table.sort_by([("file", "ascending"), ("window", "ascending")]).to_pydict()


LIBRARY_OPERATIONS = [
    Operation(
        "library add",
        _sounds,
        lambda folder: ["library", "add", str(_sounds_of(folder)), "--library", str(folder / "library")],
        lambda folder, killed: _library_is_sound(folder, killed) if (folder / "library").exists() else None,
        _rows,
    ),
    Operation(
        "library update",
        _library,
        lambda folder: ["library", "update", "--library", str(folder / "library")],
        _library_is_sound,
        _rows,
    ),
    Operation(
        "library index and compact",
        _large_library,
        lambda folder: ["library", "optimize", "--index-from", "256", "--library", str(folder / "library")],
        lambda folder, killed: _library_is_sound(folder, killed),
        lambda folder: (_rows(folder), Library(folder / "library").store.stats()["index"]),
    ),
]


# Models and training -----------------------------------------------------------------------------------------------


def _model(folder: Path) -> None:
    from tiny import save_tiny

    save_tiny(folder.parent / "model")
    (folder / "out").mkdir()


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _converted_is_sound(folder: Path, killed: bool) -> None:
    target = folder / "out" / "converted"
    if not killed:
        assert not target.exists() or len(_files(target)) >= 3, "a refused conversion left a folder"
        no_remains(target)


def _recipe(folder: Path) -> None:
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
    from sounds import make_sounds

    tones = make_sounds(folder.parent / "tones", 16)
    (folder / "run").mkdir()
    recipe = (Path(__file__).parents[1] / "tiny_recipes" / "recipes" / "tiny_clap_2022.yaml").read_text()
    (folder.parent / "tiny.yaml").write_text(recipe)
    (folder.parent / "tones.txt").write_text(str(tones))


def _train(folder: Path, *more: str) -> list[str]:
    parent = folder.parent / "initial" if (folder.parent / "initial").exists() else folder.parent
    changes = [f"data.sources.0.manifest={(parent / 'tones.txt').read_text()}", "data.workers=0", *SHORT]
    sets = [word for change in changes for word in ("--set", change)]
    return ["train", str(parent / "tiny.yaml"), "--out", str(folder / "run"), "--device", "cpu", *sets, *more]


SHORT = ("loop.steps=4", "loop.save_every=2", "loop.batch=4", "track.curves=false")


def _losses(folder: Path) -> Any:
    from aural.train.track import lines_of

    return [(line["step"], line["loss"]) for line in lines_of(folder / "run" / "metrics.jsonl") if "loss" in line]


def _run_is_sound(folder: Path, killed: bool) -> None:
    from aural.train import checkpoint

    for step in checkpoint.steps_in(folder / "run"):
        checkpoint.read(folder / "run" / "checkpoints" / f"step-{step:08d}")
    if not killed:
        assert not [path for path in folder.rglob("*") if ".part" in path.name]


def _resumed(folder: Path) -> list[str]:
    from aural.train import checkpoint

    begun = (folder / "run" / "recipe.json").is_file()
    return _train(folder, *(["--resume"] if begun and checkpoint.steps_in(folder / "run") else []))


def _initial(folder: Path) -> Path:
    return folder.parent / "initial" if (folder.parent / "initial").exists() else folder.parent


MODEL_OPERATIONS = [
    Operation(
        "models convert",
        _model,
        lambda folder: ["models", "convert", str(_initial(folder) / "model"), str(folder / "out" / "converted")],
        _converted_is_sound,
        lambda folder: sorted(name for name in _files(folder / "out" / "converted") if not name.startswith(".")),
    ),
    Operation("train", _recipe, _train, _run_is_sound, _losses, _resumed),
]
OPERATIONS = [*LIBRARY_OPERATIONS, *MODEL_OPERATIONS]
