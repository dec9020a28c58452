"""Train with an objective and a recipe from outside the package: the plug-in examples/my_objective.

    python examples/add_an_objective.py

On the command line the same is

    aural --plugin examples/my_objective train my_recipe --set data.sources.0.manifest=DATA --out run

The printed output is stored in examples/output/add_an_objective.txt.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from aural.core.plugins import add_plugin
from aural.objectives import OBJECTIVES
from aural.train.loop import train
from aural.train.recipes import load_recipe, recipe_names
from tones import write_tones
from train_on_your_csv import manifest_of


def main() -> None:
    add_plugin(str(Path(__file__).parent / "my_objective"))  # an installed package needs no such line
    print("margin" in OBJECTIVES, "my_recipe" in recipe_names())
    print(f"config: {OBJECTIVES['margin'].config_type()}")
    with tempfile.TemporaryDirectory() as scratch:
        manifest_of(write_tones(Path(scratch)))
        changes = [f"data.sources.0.manifest={scratch}", "loop.steps=40"]
        out = Path(scratch) / "run"
        train(load_recipe("my_recipe", changes), out, device="cpu")
        losses = [
            row["loss"] for row in map(json.loads, (out / "metrics.jsonl").read_text().splitlines()) if "loss" in row
        ]
    print("the loss falls" if losses[-1] < 0.5 * losses[0] else "the loss does not fall")


if __name__ == "__main__":
    main()
