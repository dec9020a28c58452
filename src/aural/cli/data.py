"""Commands of `aural data`: cards, checks and manifests of public data sets, shards, and worlds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from aural.core.errors import ConfigError
from aural.core.printable import safe_print as print

app = typer.Typer(help="Public data sets, manifests and shards.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of a card (see `aural data list`), or path of a .toml file.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that the data set was unpacked into.")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Use only this split; repeatable.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Number of files read in parallel.")]


@app.command("list")
def list_cards(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/data/datasets.md.")] = False,
) -> None:
    """List the data sets that have a card."""
    from aural.data import card_pages, cards

    listed = [cards.card(name) for name in cards.names()]
    print(card_pages.markdown(listed) if markdown else card_pages.table(listed), end="")


@app.command()
def show(name: Name) -> None:
    """Print a card: how to get the data set, its license, splits and known defects."""
    from aural.data import card_pages, cards

    print(card_pages.page(cards.card(name)), end="")


@app.command()
def check(
    name: Name,
    folder: Folder,
    split: Splits = None,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every sound to its end.")] = False,
    checksums: Annotated[bool, typer.Option("--checksums", help="Verify the archives in the folder.")] = False,
    show: Annotated[int, typer.Option("--show", min=0, help="Maximum examples per kind of problem.")] = 5,
    jobs: Jobs = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print all problems as JSON.")] = False,
) -> None:
    """Report missing, unexpected and broken files of a download, each with a fix; exit code 1 if there are any."""
    from aural.data import cards
    from aural.data.check import check as run

    report = run(cards.card(name), folder, splits=split or (), decode=decode, checksums=checksums, jobs=jobs)
    if as_json:
        problems = [{"kind": p.kind, "where": p.where, "why": p.why} for p in report.problems]
        print(json.dumps({"clips": report.clips, "present": report.present, "problems": problems}, indent=1))
    else:
        print("\n".join(report.lines(show)))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def manifest(
    name: Name,
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="Manifest to write (.parquet), or its folder; in or above DIR.")],
    split: Splits = None,
    partial: Annotated[bool, typer.Option("--partial", help="Leave out missing and broken sounds.")] = False,
    hashes: Annotated[bool, typer.Option("--hashes", help="Decode every sound to compute its sha256.")] = False,
    jobs: Jobs = 8,
) -> None:
    """Write the manifest of a download."""
    from aural.data import cards
    from aural.data.collect import collect

    result = collect(cards.card(name), folder, out, splits=split or (), partial=partial, hashes=hashes, jobs=jobs)
    print(f"{result.path}: {result.rows:,} clips")
    if result.missing:
        print(f"left out, missing: {len(result.missing):,}, the first is {result.missing[0]}")
    for path, why in result.broken[:5]:
        print(f"left out, broken: {path}: {why}")


@app.command()
def shard(
    source: Annotated[Path, typer.Argument(metavar="MANIFEST", help="A manifest (.parquet) or its folder.")],
    out: Annotated[str, typer.Argument(help="A folder, or an object store such as s3://bucket/name.")],
    codec: Annotated[str, typer.Option(help="flac (lossless), opus (small), or copy (files unchanged).")] = "flac",
    size: Annotated[int, typer.Option(help="Clips per shard.")] = 1000,
    rate: Annotated[int | None, typer.Option(help="Resample to this rate in Hz.")] = None,
    mono: Annotated[bool, typer.Option("--mono", help="Mix to one channel.")] = False,
    bits: Annotated[int, typer.Option(help="Bits per sample of flac: 16 or 24.")] = 16,
    seed: Annotated[int | None, typer.Option(help="Shuffle the clips over the shards with this seed.")] = None,
    split: Splits = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Number of shards written in parallel.")] = 2,
) -> None:
    """Write webdataset shards of a manifest. An interrupted run is resumed."""
    from aural.data.manifest import read_manifest
    from aural.data.shards import ShardConfig, write_shards

    values = {"codec": codec, "size": size, "sample_rate_hz": rate, "mono": mono, "bits": bits, "seed": seed}
    config = ShardConfig.parse(values, "aural data shard")
    table = read_manifest(source)
    written = write_shards(table.filter(split=split) if split else table, out, config, jobs=jobs)
    resumed = f" ({written.resumed} already existed)" if written.resumed else ""
    print(
        f"{out}: {len(written.shards)} shards{resumed}, {written.samples:,} clips, {written.size_bytes / 1e6:,.1f} MB"
    )
    for skip in written.skipped[:10]:
        print(f"left out: {skip.key}: {skip.why}")
    if len(written.skipped) > 10:
        print(f"... and {len(written.skipped) - 10:,} more, see index.json")


@app.command()
def mels(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a .yaml file.", metavar="RECIPE")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the shards.", metavar="DIR")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one key of the recipe; repeatable.", metavar="KEY=VALUE"),
    ] = None,
    versions: Annotated[int, typer.Option(min=1, help="Average versions per clip; all but one are augmented.")] = 1,
    balance: Annotated[float, typer.Option(min=0, max=1, help="Fewer versions for frequent classes; 0 = off.")] = 0,
    scenes: Annotated[int, typer.Option(min=0, help="Number of scenes, if the recipe has scenes.")] = 0,
    jobs: Jobs = 2,
) -> None:
    """Write the audio input of a recipe as log-mel shards (DIR/clips, DIR/scenes).

    Training from these shards does not wait for audio decoding.
    """
    from aural.train.recipes import load_recipe
    from aural.train.render import render

    settings = load_recipe(recipe, changes or [])
    rendered = render(settings, out, versions=versions, balance=balance, scenes=scenes, jobs=jobs)
    print(f"{out}: {rendered.clips:,} versions of clips and {rendered.scenes:,} scenes written")
    for error in rendered.bad[:10]:
        print(f"left out: {error}")


@app.command()
def inspect(
    shards: Annotated[list[str], typer.Argument(help="Folders, globs or names of tars, local or in an object store.")],
    decode: Annotated[bool, typer.Option("--decode", help="Decode every sound.")] = False,
    show: Annotated[int, typer.Option("--show", min=0, help="Number of samples and damages to print.")] = 3,
) -> None:
    """Read shards completely and print a summary of their content; exit code 1 if anything is damaged."""
    from aural.data.inspect import inspect as run

    report = run(shards, decode=decode)
    print("\n".join(report.lines(show)))
    if report.damages:
        raise typer.Exit(1)


@app.command()
def world(
    name: Annotated[str, typer.Argument(help="Name of the world; an unknown name lists the available ones.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Listening page to write (.html).")] = Path("world.html"),
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set an option of the world; repeatable.", metavar="KEY=VALUE"),
    ] = None,
    start: Annotated[int, typer.Option(min=0, help="Number of the first item.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="Number of items.")] = 8,
    control: Annotated[
        bool, typer.Option("--control", help="Show controls: sounds with another item's captions.")
    ] = False,
) -> None:
    """Write a listening page of items of a world: sound, spectrogram, events, true and false captions, truth record.

    aural data world scenes --set manifest=DIR --set scenes.duration_s=[4,6]
    """
    from aural.core.files import atomic_write
    from aural.data.listen import world_page
    from aural.data.worlds import open_world

    source = open_world(name, _options(options or []))
    items = (source.control(i) if control else source.item(i) for i in range(start, start + count))
    with atomic_write(out) as part, part.open("w", encoding="utf-8") as page:
        page.writelines(world_page(f"World {name}, items {start} to {start + count - 1}", items))
    print(f"{out}: {count} items")


def _options(changes: list[str]) -> dict[str, Any]:
    """Parse KEY=VALUE strings into nested options; dots separate the keys, and values are YAML."""
    import yaml

    options: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not key or not equals:
            raise ConfigError(f'--set "{change}": write KEY=VALUE, for example seed=1')
        *parents, last = key.split(".")
        inner = options
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConfigError(f'--set "{change}": "{parent}" holds a value, not keys')
        try:
            inner[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f'--set "{change}": the value is not YAML') from None
    return options
