"""`aural library`: add a folder's sounds to a library, and tag, compare, map, export and check them."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aural.cli import facts, library_files, notebook, spaces
from aural.cli.files import Batch, json_line, progress, read_lines, stored_model_name, whole_windows
from aural.cli.occurrences import list_occurrences
from aural.cli.options import (
    BatchOption,
    JsonOption,
    LibraryOption,
    MarkOptions,
    ModelOptions,
    StrictOption,
    WhereOption,
    with_model_options,
)
from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_MODEL, DEFAULT_TEMPLATE
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.models.embedding import EmbeddingModel
    from aural.search.embed import FileEmbedder
    from aural.search.library import FileResult, Library
    from aural.search.plan import Plan

RUNNERS = ("local", "ray")

app = typer.Typer(help="Manage a searchable library of sound files.", no_args_is_help=True)
for _name, _command in (library_files.COMMANDS | notebook.COMMANDS | spaces.COMMANDS | facts.COMMANDS).items():
    app.command(_name)(_command)

LocationsArgument = Annotated[
    list[str],
    typer.Argument(
        help="Sound files, folders, tars of sounds (shards), or URLs of any of them (s3://...).", metavar="LOCATIONS..."
    ),
]
WindowOption = Annotated[
    float | None, typer.Option("--window", help="Window in seconds of a new library (default: about 10).")
]


@dataclass(frozen=True)
class EmbedOptions:
    """The options of the commands that embed files."""

    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Default: the library's model; libre-base for a new one.", metavar="M"),
    ] = None
    batch_size: BatchOption = None
    runner: Annotated[str, typer.Option("--runner", help="local, or ray to use several processes or machines.")] = (
        "local"
    )
    workers: Annotated[int, typer.Option("--workers", min=1, help="Number of Ray workers, each with a model.")] = 2
    strict: StrictOption = False
    as_json: JsonOption = False


@app.command()
@with_model_options
def add(
    *,
    sounds: LocationsArgument,
    library: LibraryOption,
    window: WindowOption = None,
    options: ModelOptions,
    embed: EmbedOptions,
) -> None:
    """Add files, folders, tars and object stores to the library. Files that it already contains are not read again."""
    from aural.search.folder import stored_card
    from aural.search.library import Library
    from aural.search.spaces import active_folder

    embed, options = _check_runner(embed, options)
    existed, card = library.exists(), stored_card(active_folder(library))
    name = stored_model_name(embed.model or (card.model if card else DEFAULT_MODEL))
    model = options.open(name)
    if window is None and card is None:
        window = whole_windows(model.window_s)
    target = Library.create(library, model, model=name, window_s=window)
    try:
        work = _file_embedder(target, model, embed, options)
        _run(target, lambda plan: target.add(sounds, model, roots=sounds, embed_with=work, on_plan=plan), embed)
    finally:
        if not existed:
            target.delete_if_empty()  # a refused add leaves no folder


@app.command()
@with_model_options
def update(
    *,
    library: LibraryOption,
    prune: Annotated[bool, typer.Option("--prune", help="Also delete the files of missing or empty folders.")] = False,
    options: ModelOptions,
    embed: EmbedOptions,
) -> None:
    """Add new and changed files of the library's folders and delete vanished ones."""
    from aural.search.library import Library

    embed, options = _check_runner(embed, options)
    target = Library(library)
    model = options.open(stored_model_name(embed.model or target.card.model))
    work = _file_embedder(target, model, embed, options)
    _run(target, lambda plan: target.update(model, prune=prune, embed_with=work, on_plan=plan), embed)


@app.command()
@with_model_options
def tag(
    *,
    library: LibraryOption,
    labels_file: Annotated[Path, typer.Option("--labels-file", help="Text file with one label per line.")],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Largest number of labels per file.")] = 3,
    template: Annotated[str, typer.Option("--template", "-t", help="Prompt; {} is the label.")] = DEFAULT_TEMPLATE,
    options: ModelOptions,
) -> None:
    """Tag every file with labels of a list, for filters such as --where "tags has 'rain'"."""
    from aural.search.library import Library
    from aural.search.tag import tag as tag_files

    labels = read_lines(labels_file, "labels")
    target = Library(library)
    model = options.open(target.card.model)
    counts = tag_files(target, model, labels, top=top, template=template)
    for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(f"{count:>7}  {label}")


@app.command()
def duplicates(
    library: LibraryOption,
    near: Annotated[float, typer.Option("--near", help="Least cosine of files with the same sound.")] = 0.99,
    fingerprint: Annotated[
        bool, typer.Option("--fingerprint", help="List parts of files that are heard in other files, by fingerprints.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List groups of files with the same bytes, or with nearly the same sound and length.

    With --fingerprint, read every file and list where recordings are heard inside others, also in noise, in a room,
    re-encoded or a little faster.
    """
    if fingerprint:
        raise typer.Exit(list_occurrences(library, as_json=as_json))
    from aural.search.duplicates import duplicates as find
    from aural.search.library import Library

    groups = find(Library(library), near)
    for group in groups:
        if as_json:
            print(json_line({"kind": group.kind, "cosine": round(group.cosine, 6), "paths": group.paths}))
        else:
            print("same bytes:" if group.kind == "same" else f"sound the same ({group.cosine:.3f}):")
            print("\n".join(f"  {path}" for path in group.paths))
    print(f"{len(groups)} groups", file=sys.stderr)


@app.command("map")
def draw_map(
    library: LibraryOption,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A .csv, .parquet or .svg file to write.")] = None,
    redraw: Annotated[bool, typer.Option("--redraw", help="Compute the map even if no file changed.")] = False,
) -> None:
    """Compute a map of all files with similar sounds close together; the page of `aural serve` shows it."""
    from aural.search.library import Library
    from aural.search.sound_map import sound_map, write_map

    drawn = sound_map(Library(library), redraw=redraw)
    if out is not None:
        write_map(drawn, out)
    print(f"{len(drawn.files)} sounds on the map ({drawn.method}){f', written to {out}' if out else ''}")


@app.command()
@with_model_options
def export(
    *,
    library: LibraryOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .csv, .parquet, .m3u or .m3u8 file to write.")],
    where: WhereOption = None,
    marks: MarkOptions,
    vectors: Annotated[bool, typer.Option("--vectors/--no-vectors", help="Include the vectors (parquet).")] = True,
    per_file: Annotated[
        bool, typer.Option("--per-file", help="One row per file, with favorite, stars, note and collections.")
    ] = False,
) -> None:
    """Write the library as a table with one row per window, or as a playlist (m3u) with one entry per file."""
    from aural.search.export import export as write
    from aural.search.library import Library

    target = Library(library)
    condition = marks.filter(target, where)
    rows = write(target, out, where=condition, vectors=vectors, rows="files" if per_file else "windows")
    print(f"{out}: {rows} rows")


@app.command()
def check(
    library: LibraryOption,
    hashes: Annotated[bool, typer.Option("--hashes", help="Also read and hash the content of every file.")] = False,
    show: Annotated[int, typer.Option("--show", min=0, help="Number of lines per kind to print.")] = 20,
) -> None:
    """Check every file, checksum, vector and index; exit code 1 if there is a problem."""
    from aural.search.check import check as run

    report = run(library, hashes=hashes)
    for kind, lines in (("problem", report.problems), ("note", report.notes)):
        for line in lines[:show]:
            print(f"{kind}: {line}")
        if len(lines) > show:
            print(f"... and {len(lines) - show} more {kind}s")
    hours = report.seconds / 3600
    index = "none" if report.index is None else f"{report.index} without {report.unindexed_rows} windows"
    print(
        f"{report.fragments} fragments, {report.indexes} indexes (approximate: {index}), "
        f"{report.files_checked} checksums compared"
    )
    print(f"{report.files} files, {report.windows} windows, {hours:.2f} hours; {len(report.problems)} problems")
    if report.problems:
        print(f"run `aural library repair --library {library}`", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
@with_model_options
def repair(
    *,
    library: LibraryOption,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Name of the library's model, if library.json and its copy are lost."),
    ] = None,
    options: ModelOptions,
) -> None:
    """Repair a damaged library: keep every vector that can be read and embed the other sounds again.

    Exit code 1 if the vectors of a file are lost and its sound does not exist any more.
    """
    from aural.search.repair import repair as run

    report = run(library, options.open, model=model)
    for line in report.actions:
        print(f"repaired: {line}")
    for path in report.embedded:
        print(f"embedded again: {path}")
    for line in report.lost:
        print(f"lost: {line}")
    done = f"{len(report.actions)} repairs, {len(report.embedded)} sounds embedded again, {len(report.lost)} lost"
    print(done if report.actions else "the library is in order; nothing was changed")
    if report.lost:
        raise typer.Exit(1)


@app.command()
def optimize(
    library: LibraryOption,
    index_from: Annotated[
        int, typer.Option("--index-from", min=1, help="Number of rows from which the approximate index is built.")
    ] = (20_000),
) -> None:
    """Compact the table and bring the approximate index up to date, as `add` and `update` also do."""
    from aural.search.library import Library

    target = Library(library)
    built = target.optimize(build_from=index_from)
    stats = target.store.stats()
    index = f"index {stats['index']}" if stats["index"] else "no index; every row is compared"
    print(f"{stats['rows']} windows, {stats['bytes'] / 1e6:.1f} MB, {index}{' (built now)' if built else ''}")


def _run(target: Library, start: Callable[[Callable[[Plan], None]], Iterator[FileResult]], embed: EmbedOptions) -> None:
    """Run an add or update with a progress line, then compact the table and print a summary."""
    batch = Batch(embed.strict)
    counts = Counter[str]()
    started = time.monotonic()
    plans: list[Plan] = []
    results = start(plans.append)
    first = next(results, None)  # the plan is known from here on

    def all_results() -> Iterator[FileResult]:
        if first is not None:
            yield first
            yield from results

    for result in progress(all_results(), plans[0].size, "adding"):
        counts[result.status] += 1
        if result.error is not None:
            batch.skip(result.error)
        else:
            batch.done += 1
            batch.silent += result.silent
        if embed.as_json:
            values = {"path": result.path, "status": result.status, "windows": result.windows}
            print(json_line(values | ({"error": str(result.error)} if result.error else {})))
    for note in plans[0].notes:
        print(f"note: {note}", file=sys.stderr)
    target.optimize()
    if not embed.as_json:
        changes = ", ".join(f"{counts[name]} {name}" for name in ("added", "changed", "copied", "touched", "removed"))
        windows = target.store.count()
        seconds = time.monotonic() - started
        print(f"{changes}, {plans[0].unchanged} unchanged; {windows} windows in the library; {seconds:.1f} s")
    code = batch.close()
    raise typer.Exit(0 if plans[0].unchanged and not embed.strict else code)


def _check_runner(embed: EmbedOptions, options: ModelOptions) -> tuple[EmbedOptions, ModelOptions]:
    """Check the runner; `--engine local` and `--engine ray` are former spellings of `--runner`."""
    if options.engine in RUNNERS:
        print(f"note: --engine {options.engine} is now --runner {options.engine}", file=sys.stderr)
        embed = replace(embed, runner=options.engine)
        options = replace(options, engine="auto")
    if embed.runner not in RUNNERS:
        raise ConfigError(f'runner "{embed.runner}" is unknown; use {" or ".join(RUNNERS)}')
    return embed, options


def _file_embedder(target: Library, model: EmbeddingModel, embed: EmbedOptions, options: ModelOptions) -> FileEmbedder:
    """Return the function that embeds files with the chosen runner."""
    from aural.search.embed import BATCH_WINDOWS, embed_files

    on_gpu = str(model.device).startswith("cuda")
    window_s = target.card.window_s
    size = embed.batch_size or (64 if on_gpu else BATCH_WINDOWS)
    if embed.runner == "local":
        return lambda jobs: embed_files(jobs, model, window_s, batch=size)
    from aural.search.ray_workers import ray_workers

    name, local = model.name, replace(options, offline=True)
    gpus = 1.0 if on_gpu else 0.0
    return ray_workers(lambda: local.open(name), window_s, workers=embed.workers, gpus=gpus, batch=size)
