"""Score two models on a task of your own and compare them with a paired test.

    python examples/evaluate_and_compare.py

The task is the classification of the twelve bundled sounds among twelve labels; the models are the two bundled ones. On
the command line the same is

    aural evaluate --model libre-base --task TASK.toml --data sounds=FOLDER --out scores/libre-base
    aural compare scores/libre-base scores/libre-small

The printed output is stored in examples/output/evaluate_and_compare.txt. Needs the extras `demo` and `evaluate`.
"""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path

import aural
from aural.data.manifest import Row, write_manifest
from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.report.compare import read_runs, table
from aural.evaluate.run import evaluate

TASK = """
name = "bundled-sounds"
title = "Twelve bundled sounds"
kind = "zero-shot-single-label"
dimension = "awareness"
aspect = "sounds"
dataset = "sounds"
metric = "accuracy"
citation = "aural"
by = "class_name"
classes_from = "data"
prompt = "{}"
definition = "Each sound gets the label whose prompt has the highest cosine."
[columns]
split = ["test"]
"""


def write_data(folder: Path) -> None:
    """Write the manifest of the bundled sounds: one row per clip with its class."""
    import soundfile

    sounds = Path(aural.__file__).parent / "sounds"
    rows = []
    for name, sound in tomllib.loads((sounds / "sounds.toml").read_text(encoding="utf-8"))["sounds"].items():
        samples, rate_hz = soundfile.read(sounds / f"{name}.ogg")
        soundfile.write(folder / f"{name}.wav", samples, rate_hz)
        label = sound["label"]
        rows.append(Row(path=f"{name}.wav", source="sounds", split="test", class_name=label, label=label))
    write_manifest(folder / "manifest.parquet", rows)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        data, card_file = Path(scratch) / "sounds", Path(scratch) / "bundled-sounds.toml"
        data.mkdir()
        write_data(data)
        card_file.write_text(TASK, encoding="utf-8")
        card = cards.task(card_file)
        runs = []
        for name in ("libre-base", "libre-small"):
            runs.append(Path(scratch) / name)
            evaluate(aural.load(name), [card], DataRoot(scratch), runs[-1], name=name, resamples=200)
        print(table(read_runs(runs)), end="")


if __name__ == "__main__":
    main()
