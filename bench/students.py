"""Students and teachers in one run: parameters, speed on one thread, and agreement on held-out sounds.

    python bench/students.py [STUDENT ...] --teacher libre-base --data SOUNDS [--limit 500] [--out FILE]

STUDENT is a model of `aural.load` in the teacher's space. The towers of HTSAT are those of LAION's and Microsoft's
published models with random weights, since weights do not change the speed. Speed: processor time of `embed_audio` on
60 s of 44.1 kHz stereo noise, the least of several runs, torch on one thread. Agreement: `aural.train.distill`
on the test sounds of a manifest, or half of a folder's.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import aural
from aural.models.checkpoint import Checkpoint
from aural.models.clap import AudioTower, ClapConfig
from aural.models.embedding import EmbeddingModel
from aural.models.pipeline import Model
from aural.train.distill import compare, embedded
from aural.train.distill.sounds import list_sounds
from aural.train.recipes import load_recipe

TEACHERS = {"HTSAT of LAION": "laion_htsat_roberta", "HTSAT of msclap 2023": "clap_2023"}
SECONDS = 60


def random_tower(config: ClapConfig) -> Model:
    """Return a model whose tower of sound has random weights and whose text tower is not there."""
    torch.manual_seed(0)
    tower = AudioTower(config.audio, config.embed_dim)
    tensors = {f"audio.{name}": tensor for name, tensor in tower.state_dict().items()}
    return Model(Checkpoint(config, tensors | {"logit_scale": torch.tensor(0.0)}, "none", "random", None, None))


def parameters(model: Model) -> int:
    """Return the number of parameters of the tower of sound."""
    with torch.device("meta"):
        tower = AudioTower(model.config.audio, model.embed_dim)
    return sum(parameter.numel() for parameter in tower.parameters())


def seconds_of(model: EmbeddingModel, runs: int) -> float:
    """Return the least processor time of embedding the sound."""
    wave = 0.1 * np.random.default_rng(0).standard_normal((2, SECONDS * 44100)).astype(np.float32)
    times = []
    for _ in range(runs + 1):
        began = time.process_time()
        model.embed_audio([(wave, 44100)])
        times.append(time.process_time() - began)
    return min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("students", nargs="*")
    parser.add_argument("--teacher", default="libre-base")
    parser.add_argument("--data", required=True)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    teacher = aural.load(args.teacher, engine="torch", device="cpu")
    sounds = list_sounds([args.data], 0.5).held_out
    order = np.random.default_rng(0).permutation(len(sounds))[: args.limit]
    sounds = [sounds[int(i)] for i in order]
    vectors = embedded(teacher, sounds)
    models: dict[str, Any] = {name: aural.load(name, engine="torch", device="cpu") for name in args.students}
    models[args.teacher] = teacher
    models |= {name: random_tower(load_recipe(recipe).model.clap) for name, recipe in TEACHERS.items()}
    rows = []
    for name, model in models.items():
        seconds = seconds_of(model, args.runs)
        row: dict[str, Any] = {"model": Path(name).name if Path(name).exists() else name}
        row |= {"parameters": parameters(model), "s_per_minute": round(seconds, 3)}
        if name in args.students:
            same = compare(model, sounds, vectors)
            row |= {"sounds": same.sounds, "cosine": round(same.cosine, 4), "low": round(same.low, 4)}
            row |= {"overlap": round(same.overlap, 4), "nearest": same.nearest}
        rows.append(row)
        print(json.dumps(row), flush=True)
    for row in rows:
        row["times_htsat"] = {name: round(last["s_per_minute"] / row["s_per_minute"], 1)
                              for name, last in zip(TEACHERS, rows[-len(TEACHERS) :], strict=True)}  # fmt: skip
        print(row["model"], row["times_htsat"])
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
