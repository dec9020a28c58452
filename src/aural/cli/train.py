"""`aural train`: run a recipe, or describe what it would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aural.core.errors import ConfigError
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.train.config import Recipe


FINE_TUNE = "fine_tune"


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe's name, or a .yaml file; `list` names them. Default with --csv: fine_tune.",
            metavar="[RECIPE]",
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run.", metavar="DIR")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change one key: loop.batch=32.", metavar="KEY=VALUE")
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Train on a CSV file with the columns path and caption, or on a folder with one subfolder per class.",
            metavar="FILE_OR_DIR",
        ),
    ] = None,
    init: Annotated[
        str | None, typer.Option("--init", help="Model to start from, with its architecture.", metavar="M")
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
    if not recipe and captions is None:
        raise ConfigError("name a recipe (`aural train list` prints all), or --csv with your sounds and captions")
    loaded = load_recipe(recipe or FINE_TUNE, [*_shorthand(captions, init), *(changes or [])])
    if captions is not None and not any(change.startswith("loop.batch=") for change in changes or []):
        loaded = _batch_that_fits(loaded, captions)
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


def _shorthand(captions: Path | None, init: str | None) -> list[str]:
    """Return the changes of a recipe that --csv and --init stand for."""
    changes = [] if init is None else [f"model.init={json.dumps(init)}"]
    if captions is not None:
        place = json.dumps(str(captions.absolute()))
        changes.append(f"data.sources=[{{captions: {place}}}]")
    return changes


def _batch_that_fits(recipe: Recipe, captions: Path) -> Recipe:
    """Return the recipe with a batch of at most the training clips of the table."""
    from aural.data.captioned import read_captioned

    clips = len(read_captioned(captions).filter(split=recipe.data.sources[0].split))
    batch = max(1, min(recipe.loop.batch, clips))
    return recipe.model_copy(update={"loop": recipe.loop.model_copy(update={"batch": batch})})
