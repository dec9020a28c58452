"""`aural train`: run a recipe, or describe what it would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aural.core.errors import ConfigError
from aural.core.printable import safe_print as print


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name, or a .yaml file; `list` names them.", metavar="RECIPE")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run.", metavar="DIR")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change one key: loop.batch=32.", metavar="KEY=VALUE")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and describe the run; train nothing.")] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="Folder that holds the data sets of the recipe's evaluation tasks by name; or NAME=DIR for one.",
            metavar="DIR",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:N or auto.", metavar="D")] = "auto",
) -> None:
    """Train a model from a recipe; on several devices start it with torchrun."""
    from aural.train.recipes import load_recipe, recipe_names

    if recipe == "list":
        for name in recipe_names():
            print(f"{name:28} {load_recipe(name).shows}")
        return
    loaded = load_recipe(recipe, changes or [])
    if dry_run:
        from aural.train.dryrun import describe

        print(describe(loaded, device))
        return
    if out is None:
        raise ConfigError("--out is missing: name a folder for the run")
    from aural.train.loop import train as run

    tasks = [name for name in loaded.evaluators if name != "retrieval"]
    evaluators = {}
    if tasks:
        from aural.evaluate.data_root import parse_data_root
        from aural.evaluate.in_training import task_evaluators

        evaluators = task_evaluators(tasks, parse_data_root(data or []), seed=loaded.seed)
    print(run(loaded, out, resume=resume, device=device, evaluators=evaluators))
