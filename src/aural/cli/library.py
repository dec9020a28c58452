"""`aural library`: keep a folder's sounds searchable; tag, compare, map, export and check them."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aural.cli.files import Batch, json_line, progress, read_lines
from aural.cli.options import (
    AUTO_DEVICE,
    BatchOption,
    DeviceOption,
    JsonOption,
    LibraryOption,
    OfflineOption,
    PrecisionOption,
    StrictOption,
    TokenizerOption,
    WhereOption,
    open_model,
)
from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_MODEL, DEFAULT_TEMPLATE

if TYPE_CHECKING:
    from aural.search.embed import FileEmbedder
    from aural.search.library import FileResult, Library
    from aural.search.plan import Plan

app = typer.Typer(help="A searchable library of the sounds on your disks.", no_args_is_help=True)

LibraryModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Default: the library's own, or libre-small for a new one.", metavar="M"),
]
LocationsArgument = Annotated[
    list[str],
    typer.Argument(
        help="Sound files, folders, tars of sounds (shards), or URLs of any of them (s3://...).", metavar="LOCATIONS..."
    ),
]
EngineOption = Annotated[str, typer.Option("--engine", help="local, or ray for many processes and machines.")]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Ray workers, each with one model.")]


@app.command()
def add(
    sounds: LocationsArgument,
    library: LibraryOption,
    window: Annotated[
        float | None, typer.Option("--window", help="Seconds of a window, for a new library (default: about 10).")
    ] = None,
    model: LibraryModelOption = None,
    device: DeviceOption = AUTO_DEVICE,
    precision: PrecisionOption = "fp32",
    batch_size: BatchOption = None,
    engine: EngineOption = "local",
    workers: WorkersOption = 2,
    tokenizer: TokenizerOption = None,
    offline: OfflineOption = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take files, folders, tars and object stores into the library; what it holds already is not read again."""
    from aural.search.folder import CARD, read_card
    from aural.search.library import Library

    _check_engine(engine)
    name = _model_name(model or (read_card(library).model if (library / CARD).is_file() else DEFAULT_MODEL))
    loaded = open_model(name, device, precision, tokenizer, offline)
    held = Library.create(library, loaded, model=name, window_s=window or whole_windows(loaded.config.audio.window_s))
    work = _engine(engine, held, loaded, name, device, precision, workers, batch_size)
    _run(
        held, lambda planned: held.add(sounds, loaded, roots=sounds, embed_with=work, on_plan=planned), strict, as_json
    )


@app.command()
def update(
    library: LibraryOption,
    prune: Annotated[bool, typer.Option("--prune", help="Drop the files of folders that are gone, too.")] = False,
    model: LibraryModelOption = None,
    device: DeviceOption = AUTO_DEVICE,
    precision: PrecisionOption = "fp32",
    batch_size: BatchOption = None,
    engine: EngineOption = "local",
    workers: WorkersOption = 2,
    tokenizer: TokenizerOption = None,
    offline: OfflineOption = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look through the library's folders: read new and changed files, drop vanished ones."""
    from aural.search.library import Library

    _check_engine(engine)
    held = Library(library)
    name = _model_name(model or held.card.model)
    loaded = open_model(name, device, precision, tokenizer, offline)
    work = _engine(engine, held, loaded, name, device, precision, workers, batch_size)
    _run(held, lambda planned: held.update(loaded, prune=prune, embed_with=work, on_plan=planned), strict, as_json)


@app.command()
def tag(
    library: LibraryOption,
    labels_file: Annotated[Path, typer.Option("--labels-file", help="One label a line.")],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Most labels for a file.")] = 3,
    template: Annotated[str, typer.Option("--template", "-t", help="Prompt; {} is the label.")] = DEFAULT_TEMPLATE,
    device: DeviceOption = AUTO_DEVICE,
    tokenizer: TokenizerOption = None,
    offline: OfflineOption = False,
) -> None:
    """Give every file words from a list; filters can ask for them: --where "tags has 'rain'"."""
    from aural.search.library import Library
    from aural.search.tag import tag as give

    labels, held = read_lines(labels_file, "labels"), Library(library)
    loaded = open_model(held.card.model, device, "fp32", tokenizer, offline)
    counts = give(held, loaded, labels, top=top, template=template)
    for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(f"{count:>7}  {label}")


@app.command()
def duplicates(
    library: LibraryOption,
    near: Annotated[float, typer.Option("--near", help="Least cosine of files that sound the same.")] = 0.99,
    as_json: JsonOption = False,
) -> None:
    """Groups of files with the same bytes, or that sound the same and are equally long."""
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
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it as .csv, .parquet or .svg.")] = None,
    redraw: Annotated[bool, typer.Option("--redraw", help="Compute it again even if no file changed.")] = False,
) -> None:
    """Lay all files out in the plane, alike sounds side by side; the page of `aural serve` shows it."""
    from aural.search.library import Library
    from aural.search.sound_map import sound_map, write_map

    drawn = sound_map(Library(library), redraw=redraw)
    if out is not None:
        write_map(drawn, out)
    print(f"{len(drawn.files)} sounds on the map ({drawn.method}){f', written to {out}' if out else ''}")


@app.command()
def export(
    library: LibraryOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .csv or .parquet file to write.")],
    where: WhereOption = None,
    vectors: Annotated[bool, typer.Option("--vectors/--no-vectors", help="The vectors, too (parquet).")] = True,
) -> None:
    """Write the library as a table, one row a window."""
    from aural.search.export import export as write
    from aural.search.filters import parse_filter
    from aural.search.library import Library

    rows = write(Library(library), out, where=parse_filter(where) if where else None, vectors=vectors)
    print(f"{out}: {rows} rows")


@app.command()
def check(
    library: LibraryOption,
    hashes: Annotated[bool, typer.Option("--hashes", help="Read every file's content.")] = False,
    show: Annotated[int, typer.Option("--show", min=0, help="Lines of each kind to print.")] = 20,
) -> None:
    """Account for every file and vector; exit code 1 when the library is not whole."""
    from aural.search.check import check as run
    from aural.search.library import Library

    report = run(Library(library), hashes=hashes)
    for kind, lines in (("problem", report.problems), ("note", report.notes)):
        for line in lines[:show]:
            print(f"{kind}: {line}")
        if len(lines) > show:
            print(f"... and {len(lines) - show} more {kind}s")
    hours = report.seconds / 3600
    print(f"{report.files} files, {report.windows} windows, {hours:.2f} hours; {len(report.problems)} problems")
    if report.problems:
        raise typer.Exit(1)


@app.command()
def optimize(
    library: LibraryOption,
    index_from: Annotated[
        int, typer.Option("--index-from", help="Build the approximate index from this many rows.")
    ] = (20_000),
) -> None:
    """Join small pieces and bring the approximate index up to date (`add` and `update` do so, too)."""
    from aural.search.library import Library

    held = Library(library)
    built = held.optimize(build_from=index_from)
    stats = held.store.stats()
    index = f"index {stats['index']}" if stats["index"] else "no index: every row is compared"
    print(f"{stats['rows']} windows, {stats['bytes'] / 1e6:.1f} MB, {index}{' (built now)' if built else ''}")


def _run(held: Library, start: Any, strict: bool, as_json: bool) -> None:
    """Carry a plan out with progress, then compact and report."""
    batch, counts, begun = Batch(strict), Counter[str](), time.monotonic()
    plans: list[Plan] = []

    def told() -> Iterator[FileResult]:
        yield from start(plans.append)

    stream = told()
    first = next(stream, None)
    total = plans[0].size

    def rest() -> Iterator[FileResult]:
        if first is not None:
            yield first
            yield from stream

    for done in progress(rest(), total, "adding"):
        counts[done.status] += 1
        if done.error is not None:
            batch.skip(done.error)
        else:
            batch.done += 1
            batch.silent += done.silent
        if as_json:
            values = {"path": done.path, "status": done.status, "windows": done.windows}
            print(json_line(values | ({"error": str(done.error)} if done.error else {})))
    for note in plans[0].notes:
        print(f"note: {note}", file=sys.stderr)
    held.optimize()
    if not as_json:
        what = ", ".join(f"{counts[name]} {name}" for name in ("added", "changed", "copied", "touched", "removed"))
        windows = held.store.count()
        seconds = time.monotonic() - begun
        print(f"{what}, {plans[0].unchanged} unchanged; {windows} windows in the library; {seconds:.1f} s")
    code = batch.close()
    raise typer.Exit(0 if plans[0].unchanged and not strict else code)


def whole_windows(model_s: float, about_s: float = 10.0) -> float:
    """The multiple of the model's own window that is nearest to `about_s`: no part of a sound is embedded twice."""
    return model_s * max(1, round(about_s / model_s))


def _check_engine(engine: str) -> None:
    if engine not in ("local", "ray"):
        raise ConfigError(f'engine "{engine}" is not known; use local or ray')


def _engine(
    engine: str,
    held: Library,
    loaded: Any,
    name: str,
    device: str,
    precision: str,
    workers: int,
    batch_size: int | None,
) -> FileEmbedder:
    from aural.search.embed import BATCH_WINDOWS, embed_files

    size = batch_size or (BATCH_WINDOWS if loaded.device.type == "cpu" else 64)
    if engine == "local":
        return lambda works: embed_files(works, loaded, held.card.window_s, batch=size)
    from aural.search.ray_workers import ray_workers

    def make() -> Any:
        from aural.models.load import load

        return load(name, device=device, precision=precision, offline=True)  # type: ignore[arg-type]

    gpus = 1.0 if loaded.device.type == "cuda" else 0.0
    return ray_workers(make, held.card.window_s, workers=workers, gpus=gpus, batch=size)


def _model_name(name: str) -> str:
    """A model given as a path is remembered by its absolute path."""
    return str(Path(name).absolute()) if Path(name).exists() else name
