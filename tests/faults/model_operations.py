"""Commands that write models and runs: convert, export, train, reproduce."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from golden_tokenizers import write_tokenizer

from aural.train import checkpoint
from aural.train.track import lines_of
from faults.contents import contents
from faults.data_operations import recipe_of
from faults.harness import Operation, Place
from tiny import save_tiny, tiny_htsat_config

SHORT = ("loop.steps=2", "loop.save_every=1", "loop.keep=1", "loop.batch=4", "track.curves=false", "evaluators=[]")
CARD = """
name = "claim"
rows = [61]
paper = "none"
claim = "none"
package = "tests"
study = "toy_study:gain"
seeds = [0, 1]
[[check]]
what = "gain"
task = "score"
of = "ours - plain"
above = 0.0
primary = true
"""


def model_of(place: Place) -> Path:
    """Return the folder of a tiny model."""
    folder = place.inputs / "model"
    return folder if folder.exists() else save_tiny(folder)


def _model(place: Place) -> None:
    model_of(place)
    (place.work / "kept.txt").write_text("an earlier file")


def _htsat(place: Place) -> None:
    _model(place)
    if not (place.inputs / "htsat").exists():
        save_tiny(place.inputs / "htsat", tiny_htsat_config())
        write_tokenizer("roberta", place.inputs / "tokenizer")


def _export(source: str, *more: str) -> Any:
    def arguments(place: Place) -> list[str]:
        options = [word.replace("INPUTS", str(place.inputs)) for word in more]
        return ["models", "export", str(place.inputs / source), str(place.work / "exported"), *options]

    return arguments


def _converted(place: Place, killed: bool) -> None:
    """Verify that a refused conversion leaves no folder."""
    folder = place.work / "converted"
    if not killed and folder.exists():
        assert len(contents(folder)) >= 3, "a refused conversion left a folder"


def _recipe(place: Place) -> None:
    recipe_of(place)
    (place.work / "run").mkdir()


def _train(place: Place, *more: str) -> list[str]:
    sets = [word for change in (*SHORT, "data.workers=0") for word in ("--set", change)]
    return ["train", str(recipe_of(place)), "--out", str(place.work / "run"), "--device", "cpu", *sets, *more]


def _resumed(place: Place) -> list[str]:
    run = place.work / "run"
    begun = (run / "recipe.json").is_file() and checkpoint.steps_in(run)
    return _train(place, *(["--resume"] if begun else []))


def _losses(place: Place) -> dict[str, Any]:
    """Return the losses of a run by step, and the final model."""
    run = place.work / "run"
    lines = lines_of(run / "metrics.jsonl") if (run / "metrics.jsonl").exists() else []
    losses = {f"step {line['step']}": line["loss"] for line in lines if "loss" in line}
    assert len(losses) == len([line for line in lines if "loss" in line]), "a step is stored twice"
    final = {name: one for name, one in contents(run).items() if name.startswith("model/")}
    return losses | final


def _run_is_sound(place: Place, killed: bool) -> None:
    """Verify that every checkpoint can be read."""
    for step in checkpoint.steps_in(place.work / "run"):
        checkpoint.read(place.work / "run" / "checkpoints" / f"step-{step:08d}")


def _claim(place: Place) -> None:
    (place.inputs / "claim.toml").write_text(CARD)
    (place.work / "kept.txt").write_text("an earlier file")


def _effects(place: Place) -> dict[str, Any]:
    """Return the effects without the measured values."""
    files = {name: one for name, one in contents(place.work).items() if not name.startswith("runs/")}
    effect = place.work / "runs" / "claim" / "effect.json"
    if effect.is_file():
        files["effect"] = json.loads(effect.read_text())["checks"]
    return files


def _reproduce(place: Place) -> list[str]:
    options = [f"{place.inputs}/claim.toml", "--smoke", "--out", f"{place.work}/runs", "--device", "cpu"]
    return ["reproduce", *options, "--store", f"{place.work}/effects"]


OPERATIONS = [
    Operation(
        "models convert",
        _model,
        lambda at: ["models", "convert", str(model_of(at)), str(at.work / "converted")],
        sound=_converted,
    ),
    Operation("models export transformers", _htsat, _export("htsat", "--tokenizer", "INPUTS/tokenizer/roberta")),
    Operation("models export sentence-transformers", _model, _export("model", "--format", "sentence-transformers")),
    Operation("models export onnx", _model, _export("model", "--format", "onnx")),
    Operation("train", _recipe, _train, _losses, _run_is_sound, _resumed, mixed=True),
    Operation("reproduce", _claim, _reproduce, _effects),
]
