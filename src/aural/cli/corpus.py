"""`aural corpus`: build, show and check the free corpus."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from aural.core.errors import ConfigError, DataError

app = typer.Typer(no_args_is_help=True, help="The free corpus: real named sounds from distribution packages.")


@app.command()
def build(
    name: Annotated[str, typer.Argument(help="The corpus; there is one: libre.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the corpus; a stopped build goes on there.")],
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Sources read at the same time.")] = 1,
    only: Annotated[list[str] | None, typer.Option("--only", help="Build these sources only (repeat).")] = None,
    debs: Annotated[
        Path | None, typer.Option("--debs", help="Folder of .deb files to use instead of fetching.")
    ] = None,
) -> None:
    """Fetch, unpack, read, clean and split; write OUT/manifest.parquet."""
    from aural.data.libre.build import build as build_corpus
    from aural.data.libre.cards import source_cards

    if name != "libre":
        raise ConfigError(f'unknown corpus "{name}"; known: libre')
    if debs is not None and not debs.is_dir():
        raise ConfigError(f"{debs}: no such folder of .deb files")
    started = time.monotonic()
    report = build_corpus(
        source_cards(only), out, jobs=jobs, debs=debs, say=lambda line: print(line, file=sys.stderr, flush=True)
    )
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    for source, why in report.missing.items():
        print(f"left out: {source}: {why}", file=sys.stderr)
    seconds = time.monotonic() - started
    print(f"{report.manifest}: {report.clips:,} clips, {len(report.dropped):,} dropped, {seconds:,.0f} s")


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a corpus, or its manifest.")],
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write index.html beside the manifest.")] = True,
    most: Annotated[int, typer.Option("--most", min=0, help="Most clips of a class on the page, 0 = all.")] = 40,
) -> None:
    """Print counts by class, source, license, language and split; write a page to listen through."""
    from aural.data.libre.show import counts, write_page
    from aural.data.manifest import read_manifest

    manifest = read_manifest(folder)
    print(counts(manifest))
    if page:
        print(f"page: {write_page(manifest, manifest.folder / 'index.html', most_per_class=most)}", file=sys.stderr)


@app.command()
def leaks(folder: Annotated[Path, typer.Argument(help="Folder of a corpus, or its manifest.")]) -> None:
    """Fail when one split shares a sound, a near-duplicate, a group or a speaker with another."""
    from aural.data.leaks import leaks as find_leaks
    from aural.data.manifest import read_manifest

    found = find_leaks(read_manifest(folder))
    for leak in found[:50]:
        print(leak)
    if found:
        raise DataError(f"{folder}: {len(found)} leaks between splits; give what belongs together one split")
    print("no leaks")


@app.command()
def tasks(folder: Annotated[Path, typer.Argument(help="Folder of a corpus, or its manifest.")]) -> None:
    """Print the test tasks with their counts as they are in a corpus."""
    from aural.data.libre.tasks import measure
    from aural.data.manifest import read_manifest
    from aural.evaluate.cards import corpus_cards

    manifest = read_manifest(folder)
    print("| task | kind | classes | clips | chance | clips per class |\n|---|---|--:|--:|--:|---|")
    for card in corpus_cards():
        clips, per_class, chance = measure(card, manifest)
        spread = ", ".join(f"{name} {count}" for name, count in per_class.items())
        print(f"| {card.name} | {card.kind} | {len(per_class) or ''} | {clips} | {chance:.3f} | {spread} |")
