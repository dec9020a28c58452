"""`aural corpus`: build, show and check the free corpus."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from aural.cli import corpus_tagged, corpus_words
from aural.core.errors import ConfigError, DataError, near_miss
from aural.core.printable import safe_print as print

app = typer.Typer(
    no_args_is_help=True, help="Build, show and check the free corpus of labeled sounds from distribution packages."
)
app.command()(corpus_words.paraphrase)
app.command()(corpus_words.captions)
app.command()(corpus_tagged.contradictions)
app.command("pseudo-labels")(corpus_tagged.pseudo_labels)
CORPORA = ("libre", "libre-mini")


@app.command()
def build(
    name: Annotated[str, typer.Argument(help="libre (5.8 GB of packages) or libre-mini (738 MB of packages).")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the corpus; default for libre-mini: the user's cache folder."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Number of sources to read in parallel.")] = 1,
    only: Annotated[list[str] | None, typer.Option("--only", help="libre: build only this source; repeatable.")] = None,
    debs: Annotated[
        Path | None, typer.Option("--debs", help="Folder of .deb files to use instead of fetching.")
    ] = None,
) -> None:
    """Build a corpus from distribution packages and write OUT/manifest.parquet.

    A build that was stopped resumes. libre-mini is a selection of about 2,200 short clips as Opus files.
    """
    from aural.data.libre.build import build as build_corpus
    from aural.data.libre.cards import source_cards

    if name not in CORPORA:
        raise ConfigError(f'unknown corpus "{name}"; {near_miss(name, CORPORA)}')
    _check_debs(debs)
    started = time.monotonic()
    if name == "libre-mini":
        if only:
            raise ConfigError("--only: libre-mini needs all of its sources; leave the option out")
        _build_mini(out, jobs, debs)
        return
    if out is None:
        raise ConfigError("--out is missing: give the folder of the corpus")
    report = build_corpus(source_cards(only), out, jobs=jobs, debs=debs, say=_say)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    for source, why in report.missing.items():
        print(f"left out: {source}: {why}", file=sys.stderr)
    seconds = time.monotonic() - started
    print(f"{report.manifest}: {report.clips:,} clips, {len(report.dropped):,} dropped, {seconds:,.0f} s")


def _build_mini(out: Path | None, jobs: int, debs: Path | None) -> None:
    from aural.data.libre.mini import build_mini, cache_folder

    started = time.monotonic()
    report = build_mini(out or cache_folder(), jobs=jobs, debs=debs, say=_say)
    seconds = time.monotonic() - started
    print(
        f"{report.folder / 'manifest.parquet'}: {report.clips:,} clips, {report.size_bytes / 1e6:.1f} MB, "
        f"{seconds:,.0f} s"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@app.command()
def texts(
    out: Annotated[Path, typer.Option("--out", help="Folder for texts.jsonl and the packages.")],
    debs: Annotated[
        Path | None, typer.Option("--debs", help="Folder of .deb files to use instead of fetching.")
    ] = None,
) -> None:
    """Write descriptions of pictures in many languages and the glosses of WordNet, from two distribution packages.

    The packages take 167 MB. Their versions and checksums are fixed.
    """
    from aural.data.text.real import TEXTS_FILE, build_texts

    _check_debs(debs)
    counts = build_texts(out, debs)
    print(f"{out / TEXTS_FILE}: " + ", ".join(f"{count:,} of {name}" for name, count in counts.items()))


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a corpus, or its manifest.")],
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write index.html next to the manifest.")] = True,
    most: Annotated[int, typer.Option("--most", min=0, help="Maximum clips per class on the page, 0 = all.")] = 40,
) -> None:
    """Print counts by class, source, license, language and split, and write a page with a player per clip."""
    from aural.data.libre.show import counts, write_page
    from aural.data.manifest import read_manifest

    manifest = read_manifest(folder)
    print(counts(manifest))
    if page:
        print(f"page: {write_page(manifest, manifest.folder / 'index.html', most_per_class=most)}", file=sys.stderr)


@app.command()
def leaks(folder: Annotated[Path, typer.Argument(help="Folder of a corpus, or its manifest.")]) -> None:
    """Fail if two splits share a sound, a near-duplicate, a group or a speaker."""
    from aural.data.leaks import leaks as find_leaks
    from aural.data.manifest import read_manifest

    shared = find_leaks(read_manifest(folder))
    for leak in shared[:50]:
        print(leak)
    if shared:
        raise DataError(
            f"{folder}: {len(shared)} leaks between splits; put the listed clips of each leak into one split"
        )
    print("no leaks")


@app.command()
def tasks(folder: Annotated[Path, typer.Argument(help="Folder of a corpus, or its manifest.")]) -> None:
    """Print the test tasks with the number of clips that a corpus has for each."""
    from aural.data.libre.tasks import measure
    from aural.data.manifest import read_manifest
    from aural.evaluate.cards import corpus_cards

    manifest = read_manifest(folder)
    print("| task | kind | classes | clips | chance | clips per class |\n|---|---|--:|--:|--:|---|")
    for card in corpus_cards():
        clips, per_class, chance = measure(card, manifest)
        spread = ", ".join(f"{name} {count}" for name, count in per_class.items())
        print(f"| {card.name} | {card.kind} | {len(per_class) or ''} | {clips} | {chance:.3f} | {spread} |")


def _check_debs(debs: Path | None) -> None:
    """Raise ConfigError for a folder of packages that does not exist."""
    if debs is not None and not debs.is_dir():
        raise ConfigError(f"{debs}: no such folder of .deb files")
