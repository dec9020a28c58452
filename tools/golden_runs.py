"""Run every bundled recipe for 20 steps on synthetic tones and record its losses and the sha256 of its final tensors.

Run it before and after a change that must not alter training:

    python tools/golden_runs.py --out before.json
    python tools/golden_runs.py --out after.json
    cmp before.json after.json

The result is a function of the code, the machine's processor and the torch version. Every recipe keeps its towers,
objective, optimizer, schedule and augmentation. The data are 40 tones with captions and labels, the batch is small,
text towers start from random weights unless they are packaged, and arithmetic is float32 on one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from aural.core.plugins import add_plugin
from aural.data.manifest import read_manifest, write_manifest
from aural.encoders.tokenize import BUNDLED
from aural.train.config import Recipe
from aural.train.loop import train
from aural.train.recipes import load_recipe, recipe_names

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "train"))
from sounds import make_sounds  # noqa: E402 - a module of the tests

STEPS = 20


def make_tones(folder: Path) -> Path:
    """Write the tones of the training tests, with a label and answers for every task; return the manifest's path."""
    manifest = make_sounds(folder)
    rows = []
    for i, row in enumerate(read_manifest(manifest).rows()):
        meta = {"speakers": i % 5, "velocity": str(i % 5), "instrument_family": row.class_name}
        label = f"a {row.class_name} tone"
        rows.append(replace(row, label=label, family=row.class_name, meta=json.dumps(json.loads(row.meta) | meta)))
    return write_manifest(manifest, rows)


def changes_for(name: str, manifest: Path, teacher: Path) -> list[str]:
    """The KEY=VALUE changes that make the recipe run on the tones in seconds to minutes."""
    recipe = load_recipe(name)
    small = name.startswith(("tiny_", "libre_"))
    sources = []
    for source in recipe.data.sources:
        values = source.model_dump(exclude_defaults=True, exclude={"shards"})
        key = "scenes" if source.scenes else "manifest"
        sources.append({**values, key: str(manifest)})
    changes = [
        f"data.sources={json.dumps(sources)}", "data.workers=0", f"loop.steps={STEPS}", "loop.epochs=0",
        f"loop.batch={8 if small else 4}", "loop.micro_batch=0", "loop.precision=fp32", "loop.compile=false",
        "loop.graphs=false", f"loop.save_every={STEPS}", "evaluators=[]",
    ]  # fmt: skip
    if recipe.model is None:
        return changes
    changes += ["model.audio_init=''", "model.init=''"]
    if recipe.model.text_init != "packaged-minilm":
        changes.append("model.text_init=random")
    if name == "libre_small_distilled":
        changes.append(f"distill.teacher={teacher}")
    return changes


def with_bundled_tokenizer(recipe: Recipe) -> Recipe:
    """Return the recipe with BERT's bundled vocabulary in place of a tokenizer that is not in the package."""
    if recipe.model is None:
        return recipe
    text = recipe.model.clap.text
    if text.tokenizer in BUNDLED:
        return recipe
    text = text.model_copy(update={"tokenizer": "bert-base-uncased", "special_tokens": "bert"})
    clap = recipe.model.clap.model_copy(update={"text": text})
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"clap": clap})})


def run(name: str, manifest: Path, folder: Path) -> dict[str, object]:
    """Train one recipe and return its losses (hexadecimal floats) and the sha256 of every final tensor's bytes."""
    recipe = load_recipe(name, changes_for(name, manifest, folder / "libre_small_teacher" / "model"))
    model = train(with_bundled_tokenizer(recipe), folder / name, device="cpu")
    lines = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
    losses = [float(line["loss"]).hex() for line in lines if "loss" in line]
    digest = hashlib.sha256()
    for file in sorted(model.glob("*.safetensors")):
        for key, tensor in sorted(load_file(file).items()):
            digest.update(f"{file.name} {key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return {"losses": losses, "sha256": digest.hexdigest()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--only", nargs="*", help="names of recipes; default: all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    add_plugin(str(ROOT / "tests" / "tiny_recipes"))
    with tempfile.TemporaryDirectory() as scratch:
        manifest = make_tones(Path(scratch) / "tones")
        # the teacher of the distilled recipe is trained first
        names = sorted(args.only or recipe_names(), key=lambda name: (name != "libre_small_teacher", name))
        results = {}
        for name in names:
            results[name] = run(name, manifest, Path(scratch))
            print(name, float.fromhex(results[name]["losses"][-1]), results[name]["sha256"][:12], file=sys.stderr)  # type: ignore[index]
            args.out.write_text(json.dumps({name: results[name] for name in sorted(results)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
