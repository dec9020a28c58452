"""Write the stored artifacts of `tests/golden/formats`: a model folder, shards, log-mel shards and a run folder.

Run it with the code whose format is to be stored, from a checkout of that version, and give the file to write:

    PYTHONPATH=src:tests:tests/train python make_formats.py 0.1.0.tar.xz

The model has random weights and a text tower of dimension 4; the sounds are two tones of tests/train/sounds.py. The
run starts from the model. `expected.json` holds vectors, losses and hashes that the writing version computed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
from sounds import make_sounds

from aural.data.manifest import read_manifest, write_manifest
from aural.data.shards import ShardConfig, write_shards
from aural.models.clap import ClapConfig
from aural.models.format import save_own
from aural.models.load import load
from aural.train.loop import train
from aural.train.recipes import load_recipe
from aural.train.render import render
from tiny import tiny_state, tone

RECIPE = Path(__file__).parents[1] / "tiny_recipes" / "recipes" / "tiny_clap_2022.yaml"
CHANGES = (
    *("model.clap.embed_dim=4", "model.clap.text.dim=4", "model.clap.text.hidden_dim=4", "model.clap.text.depth=1"),
    *("model.clap.audio.encoder_options.width=2", "model.clap.text.heads=1", "data.workers=0", "loop.steps=2"),
    *("loop.batch=2", "loop.save_every=2", "evaluators=[]"),
)


def shorten(manifest: Path) -> None:
    """Let each row name the first 0.2 s of its tone."""
    rows = [dataclasses.replace(row, duration_s=0.2) for row in read_manifest(manifest)]
    write_manifest(manifest, rows)


def small_state(config: ClapConfig) -> dict[str, torch.Tensor]:
    """Return the weights of tests/tiny.py with zeros for all but the first 5,000 tokens, so that they compress."""
    state = tiny_state(config)
    for name, tensor in state.items():
        if tensor.ndim == 2 and len(tensor) == config.text.vocab_size:
            state[name] = torch.cat([tensor[:5000], torch.zeros_like(tensor[5000:])])
    return state


def main(out: Path, recipe: str) -> None:
    """Write the artifacts and what they must give."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "out").mkdir()
        os.chdir(place / "out")  # the recipe of the run holds relative paths
        manifest = make_sounds(Path("../tones"), 2)
        shorten(manifest)
        write_shards(manifest, "shards", ShardConfig(), jobs=1)
        places = [f"data.sources.0.manifest={manifest}", *CHANGES]
        config = load_recipe(recipe, places).model.clap
        save_own("model", config, small_state(config), source="tiny")
        model = load("model", device="cpu")
        places.append("model.init=model")
        render(load_recipe(recipe, places), Path("mels"))
        train(load_recipe(recipe, places), "run", device="cpu")
        lines = [json.loads(line) for line in (Path("run/metrics.jsonl")).read_text().splitlines()]
        trained = load("run/model", device="cpu")
        sound = (tone(0.5), 16000)
        expected = {
            "audio": model.embed_audio([sound]).tolist(),
            "text": model.embed_text(["rain", "a dog"]).tolist(),
            "losses": [line["loss"] for line in lines if "loss" in line],
            "trained": trained.embed_audio([sound]).tolist(),
            "hashes": {row.path: hashed(manifest.parent / row.path) for row in read_manifest(manifest)},
        }
        (Path("expected.json")).write_text(json.dumps(expected) + "\n")
        with tarfile.open(out, "w:xz", preset=9) as tar:
            for path in sorted(path for path in (place / "out").rglob("*") if path.suffix != ".png"):
                tar.add(path, path.relative_to(place / "out"), recursive=False)


def hashed(path: Path) -> str:
    """Return a hash of the first 0.2 s of a sound as 16-bit samples."""
    import soundfile

    samples, _ = soundfile.read(path, frames=3200, dtype="int16")
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2] if len(sys.argv) > 2 else str(RECIPE))
