"""`aural reproduce`: test published claims with several seeds per arm, or print and draw stored effects."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aural.core.errors import ConfigError, DataError
from aural.core.files import check_folder
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.reproduce.run import Options

Names = list[str] | None


def reproduce(
    names: Annotated[
        Names, typer.Argument(help="Names of claim cards, or paths of .toml files.", metavar="[CLAIM]...")
    ] = None,
    package: Annotated[
        str, typer.Option("--package", help="Run or --list the cards of a package.", metavar="NAME")
    ] = "",
    all_cards: Annotated[bool, typer.Option("--all", help="Run all cards.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Print all claims with their last effect; run nothing.")] = (
        False
    ),
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help='Folder of libre-mini; "toys": synthetic sounds. Default: the cache.', metavar="DIR"
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of runs and effects.", metavar="DIR")] = Path(
        "runs/reproduce"
    ),
    seeds: Annotated[
        int, typer.Option("--seeds", min=0, help="Number of seeds; 0: as many as the card names.", metavar="N")
    ] = 0,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Runs at the same time.", metavar="N")] = 1,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:N or auto.", metavar="D")] = "auto",
    smoke: Annotated[bool, typer.Option("--smoke", help="Two steps and two seeds: tests the card, shows nothing.")] = (
        False
    ),
    budget: Annotated[
        str, typer.Option("--budget", help="Start no run after this time: 90s, 10m, 2h.", metavar="TIME")
    ] = "",
    store: Annotated[
        Path | None, typer.Option("--store", help="Copy finished effects from --out to this folder.", metavar="DIR")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="Write pages of all stored effects to this folder.", metavar="DIR")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Print how often the interval finds null and planted effects.")
    ] = False,
) -> None:
    """Test claims: train each arm with each seed, compare on the same items, report a 95% interval and a verdict.

    A run that was stopped goes on when the command is repeated. Losing verdicts are kept.
    """
    for folder in (page, store):
        if folder is not None:
            check_folder(folder)
    if listing:
        from aural.reproduce.effects import listing as lines

        print("\n".join(lines(package)))
        return
    if calibrate:
        from aural.reproduce.calibration import report

        print("\n".join(report()))
        return
    if names or package or all_cards:
        from aural.models.device import pick_device
        from aural.reproduce.run import Options, parse_budget

        check_folder(out)
        pick_device(device)
        options = Options(out, data, seeds, device, jobs, smoke, parse_budget(budget))
        _run(names or [], package, all_cards, options)
    elif page is None and store is None:
        raise ConfigError("name a claim, --package or --all; `aural reproduce --list` prints all claims")
    if store is not None:
        from aural.reproduce.effects import store_effects

        print(f"{len(store_effects(out, store))} effects stored in {store}", file=sys.stderr)
    if page is not None:
        from aural.reproduce.page import write_pages

        print(write_pages(page))


def _run(names: list[str], package: str, all_cards: bool, options: Options) -> None:
    """Run the chosen cards; DataError at the end if a card has no effect yet."""
    from aural.reproduce.card import claim, claims
    from aural.reproduce.effects import check_lines
    from aural.reproduce.run import reproduce as run

    chosen = [claim(name) for name in names]
    if package or all_cards:
        chosen += [card for card in claims("" if all_cards else package) if card.name not in names]
    effects = run(chosen, options, say=lambda line: print(line, file=sys.stderr, flush=True))
    for effect in effects.values():
        print("\n".join(check_lines(effect)))
    if missing := [card.name for card in chosen if card.name not in effects]:
        raise DataError(
            f"no effect yet of {', '.join(missing)}; the reasons are above and in error.txt files below {options.out}, "
            "and the same command goes on with what is missing"
        )
