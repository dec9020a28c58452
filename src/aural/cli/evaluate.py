"""`aural evaluate` and `aural compare`: score a model on task cards, and compare several results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aural.cli.files import check_page
from aural.cli.options import AUTO_DEVICE, DeviceOption, ModelOptions, OfflineOption, PrecisionOption, TokenizerOption
from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_MODEL
from aural.core.printable import safe_print as print

SCENES = "libre-scenes"
METHODS = ("zero-shot", "linear-probe", "knn", "few-shot", "layer-probe", "fine-tune")
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
        Several, typer.Option("--data", help="Folder that holds each data set by its name; or NAME=DIR for one.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for scores, predictions and embeddings.")] = Path("scores"),
    suite: Annotated[Several, typer.Option("--suite", help="Score a suite of tasks; --list prints all suites.")] = None,
    task: Annotated[Several, typer.Option("--task", help="Score one task, by name or as a .toml file.")] = None,
    method: Annotated[Several, typer.Option("--method", help=f"{', '.join(METHODS)}; default: zero-shot.")] = None,
    robustness: Annotated[bool, typer.Option("--robustness", help="Also score changed sounds and words.")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for embeddings and built scenes, shared by several --out folders.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of intervals, few-shot draws and probes.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of seeds for probes, few-shot and fine-tuning; mean and standard deviation are reported.",
        ),
    ] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of fine-tuning.")] = 10,
    listing: Annotated[bool, typer.Option("--list", help="Print suites and tasks, and score nothing.")] = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Print which abilities the tasks measure, and score nothing.")
    ] = False,
    device: DeviceOption = AUTO_DEVICE,
    precision: PrecisionOption = "fp32",
    tokenizer: TokenizerOption = None,
    offline: OfflineOption = False,
) -> None:
    """Score a model on task cards, with 95% intervals and published scores. An interrupted run resumes."""
    from aural.evaluate import cards
    from aural.evaluate.dimensions import coverage_report

    if listing:
        print("\n".join(f"{name}: {', '.join(tasks)}" for name, tasks in cards.suites().items()))
        return
    chosen = cards.choose(suite or ([] if task else ["all"]), task or [])
    if coverage:
        print(coverage_report(chosen))
        return
    from aural.evaluate.adapters.embedders import open_embedder
    from aural.evaluate.data_root import parse_data_root
    from aural.evaluate.run import evaluate as run
    from aural.evaluate.tuning import FineTune

    _check_methods(method or [])
    root = parse_data_root(data or [])
    sys.path.insert(0, "")  # "module:attribute" may be a module in the working folder
    if any(card.dataset == SCENES for card in chosen):
        _build_scenes(root, cache or out)
    embedder: Any = open_embedder(
        model, lambda name: ModelOptions(device, precision, "torch", tokenizer, offline).open(name)
    )
    result = run(
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
    if robustness and result.scores:
        from aural.evaluate.robust.curves import robustness as curves

        curves(embedder, chosen, root, out, cache=cache, seed=seed, say=print)
    print(f"{out}: {len(result.scores)} scored, {len(result.missing)} not scored", file=sys.stderr)
    if not result.scores:
        raise typer.Exit(2)


def _check_methods(methods: list[str]) -> None:
    """Raise ConfigError for a method that no task kind has."""
    from aural.evaluate.runners import KINDS

    available = dict.fromkeys([*METHODS, *(method for kind in KINDS for method in KINDS[kind].runners)])
    for name in methods:
        if name not in available:
            raise ConfigError(f'unknown --method "{name}"; use {", ".join(available)}')


def _build_scenes(root: Any, folder: Path) -> None:
    """Build the scenes from the free corpus if they are missing and the corpus is there."""
    from aural.core.errors import DataError, WriteError
    from aural.data.manifest import read_manifest
    from aural.evaluate.scenes import build_scenes

    try:
        root.folder(SCENES)
    except DataError:
        scenes = folder / SCENES
        try:
            if not scenes.is_dir():
                print(f"building {scenes} from the free corpus", file=sys.stderr)
                build_scenes(read_manifest(root.folder("libre")), scenes)
            root.folders[SCENES] = scenes
        except WriteError:
            raise
        except DataError as error:
            print(f"note: no scenes; {error}", file=sys.stderr)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders that `aural evaluate` wrote.", metavar="DIR...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML page to write.")] = Path("compare.html"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the paired tests.")] = 0,
) -> None:
    """Compare runs with each other and with published scores: print a table and write one HTML page."""
    from aural.evaluate.report.compare import read_runs, table
    from aural.evaluate.report.page import write_page

    check_page(out, "the comparison")
    results = read_runs(runs)
    print(table(results, seed), end="")
    print(write_page(results, out, seed))
