"""`aural evaluate` and `aural compare`: any model on the task cards, and several results beside each other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aural.cli.options import AUTO_DEVICE, DeviceOption, OfflineOption, PrecisionOption, TokenizerOption, open_model
from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_MODEL

SCENES = "libre-scenes"
METHODS = ("zero-shot", "linear-probe", "knn", "few-shot", "fine-tune")
Several = list[str] | None


def evaluate(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="M",
            help='A name of `aural models list`, a path or a repository; "msclap:2023", "transformers:REPOSITORY", or '
            '"module:attribute" for any object with embed_audio and embed_text.',
        ),
    ] = DEFAULT_MODEL,
    data: Annotated[
        Several, typer.Option("--data", help="The folder that holds each data set by its name; or NAME=DIR for one.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where scores, predictions and embeddings go.")] = Path("scores"),
    suite: Annotated[Several, typer.Option("--suite", help="A list of tasks; --list tells which there are.")] = None,
    task: Annotated[Several, typer.Option("--task", help="One task, by name or as a .toml file of your own.")] = None,
    method: Annotated[Several, typer.Option("--method", help=f"{', '.join(METHODS)}; default: zero-shot.")] = None,
    robustness: Annotated[bool, typer.Option("--robustness", help="Also score changed sounds and words.")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Embeddings and built scenes, shared by several --out folders.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of intervals, few-shot draws and probes.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many for all but zero-shot: mean and spread are told.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Of fine-tuning.")] = 10,
    listing: Annotated[bool, typer.Option("--list", help="Print suites and tasks, and score nothing.")] = False,
    device: DeviceOption = AUTO_DEVICE,
    precision: PrecisionOption = "fp32",
    tokenizer: TokenizerOption = None,
    offline: OfflineOption = False,
) -> None:
    """Score a model on task cards: 95% intervals, published scores beside; a killed run goes on where it was."""
    from aural.evaluate import cards
    from aural.evaluate.adapters.embedders import open_embedder
    from aural.evaluate.data_root import DataRoot
    from aural.evaluate.run import evaluate as run
    from aural.evaluate.tuning import FineTune

    if listing:
        print("\n".join(f"{name}: {', '.join(tasks)}" for name, tasks in cards.suites().items()))
        return
    chosen = cards.choose(suite or ([] if task else ["all"]), task or [])
    folders = dict(item.split("=", 1) for item in data or [] if "=" in item)
    roots = [item for item in data or [] if "=" not in item]
    if len(roots) > 1:
        raise ConfigError("--data was given two folders; give one, and NAME=DIR for data sets that lie elsewhere")
    for name in method or []:
        if name not in METHODS:
            raise ConfigError(f'--method "{name}" is not known; use {", ".join(METHODS)}')
    root = DataRoot(roots[0] if roots else ".", folders)
    sys.path.insert(0, "")  # "module:attribute" may lie in the working folder
    if any(card.dataset == SCENES for card in chosen):
        _build_scenes(root, cache or out)
    embedder: Any = open_embedder(model, lambda name: open_model(name, device, precision, tokenizer, offline))
    done = run(
        embedder,
        chosen,
        root,
        out,
        name=Path(model).name if Path(model).is_dir() else model,
        methods=method or ["zero-shot"],
        cache=cache,
        seed=seed,
        seeds=seeds,
        fine_tune=FineTune(epochs=epochs),
        say=print,
    )
    if robustness:
        from aural.evaluate.robust.curves import robustness as curves

        curves(embedder, chosen, root, out, cache=cache, seed=seed, say=print)
    print(f"{out}: {len(done.scores)} scored, {len(done.missing)} not", file=sys.stderr)
    if not done.scores:
        raise typer.Exit(2)


def _build_scenes(root: Any, folder: Path) -> None:
    """The scenes from the free corpus, where it is there and they are not; a run without either names them missing."""
    from aural.core.errors import DataError
    from aural.data.manifest import read_manifest
    from aural.evaluate.scenes import build_scenes

    try:
        root.folder(SCENES)
    except DataError:
        built = folder / SCENES
        try:
            if not built.is_dir():
                print(f"building {built} from the free corpus", file=sys.stderr)
                folder.mkdir(parents=True, exist_ok=True)
                build_scenes(read_manifest(root.folder("libre")), built)
            root.folders[SCENES] = built
        except DataError as error:
            print(f"note: no scenes; {error}", file=sys.stderr)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders that `aural evaluate` wrote.", metavar="DIR...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML page.")] = Path("compare.html"),
    seed: Annotated[int, typer.Option(help="Of the paired tests.")] = 0,
) -> None:
    """Put runs beside each other and beside published scores: a table here, everything in one HTML page."""
    from aural.evaluate.report.compare import read_runs, table
    from aural.evaluate.report.page import write_page

    found = read_runs(runs)
    print(table(found, seed), end="")
    print(write_page(found, out, seed))
