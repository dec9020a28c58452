"""Commands that write tables, scores and pages: embed, audit, evaluate, compare."""

from __future__ import annotations

from typing import Any

from faults.contents import contents
from faults.data_operations import tones_of
from faults.harness import Operation, Place
from faults.model_operations import model_of
from tiny import write_wav

TASK = """
name = "task"
title = "tones"
kind = "zero-shot-single-label"
dimension = "awareness"
aspect = "music"
dataset = "tones"
columns = { split = ["test"] }
train = ["train"]
by = "tags"
prompt = "a tone that is {}"
metric = "accuracy"
definition = "d"
citation = "c"
license = "CC0-1.0"
"""


def _task(place: Place) -> None:
    model_of(place)
    tones_of(place)
    (place.inputs / "task.toml").write_text(TASK)
    (place.work / "kept.txt").write_text("an earlier file")


def _evaluate(place: Place) -> list[str]:
    data = ["--task", f"{place.inputs}/task.toml", "--data", f"tones={tones_of(place).parent}"]
    return ["evaluate", *data, *_scored(place)]


def _robust(place: Place) -> list[str]:
    data = ["--task", f"{place.inputs}/task.toml", "--data", f"tones={tones_of(place).parent}"]
    return ["evaluate", *data, "--robustness", "--cache", f"{place.inputs}/cache", *_scored(place)]


def _scored(place: Place) -> list[str]:
    return ["--out", f"{place.work}/scores", "--model", str(model_of(place)), "--device", "cpu"]


def _texts(place: Place) -> None:
    model_of(place)
    (place.inputs / "texts.txt").write_text("rain\nwind\n")


def _sounds(place: Place) -> None:
    model_of(place)
    folder = place.inputs / "short"
    folder.mkdir(exist_ok=True)
    for i in range(3):
        write_wav(folder / f"{i}.wav", 0.3, seed=i)


def _clips(place: Place) -> None:
    model_of(place)
    tones_of(place)
    (place.work / "page.html").write_text("an earlier page")


def _runs(place: Place) -> None:
    from aural.evaluate.cards import task
    from aural.evaluate.data_root import DataRoot
    from aural.evaluate.run import evaluate
    from sketch import SketchEmbedder

    _task(place)
    for seed in (0, 1):
        evaluate(
            SketchEmbedder(seed),
            [task(place.inputs / "task.toml")],
            DataRoot(place.inputs, {"tones": tones_of(place).parent}),
            place.inputs / f"scores{seed}",
            name=f"sketch {seed}",
            resamples=20,
        )


def _table(place: Place) -> dict[str, Any]:
    return contents(place.work)


OPERATIONS = [
    Operation(
        "embed",
        _sounds,
        lambda at: ["embed", str(at.inputs / "short"), "--model", str(model_of(at)), "-o", f"{at.work}/table.parquet"],
    ),
    Operation(
        "embed --text-file",
        _texts,
        lambda at: [
            *("embed", "--text-file", f"{at.inputs}/texts.txt", "--model", str(model_of(at))),
            *("-o", f"{at.work}/table.parquet"),
        ],
    ),
    Operation(
        "audit",
        _clips,
        lambda at: [
            *("audit", str(model_of(at)), "--data", str(tones_of(at).parent), "-o", f"{at.work}/page.html"),
            *("--device", "cpu"),
        ],
    ),
    Operation("evaluate", _task, _evaluate),
    Operation("evaluate --robustness", _task, _robust),
    Operation("compare", _runs, lambda at: ["compare", *_scores(at), "-o", f"{at.work}/compare.html"]),
]


def _scores(place: Place) -> list[str]:
    return [str(place.inputs / f"scores{seed}") for seed in (0, 1)]
