"""Stored effects: one JSON file per card in `catalog/effects`, with the effect and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from aural.core.errors import DataError
from aural.core.files import make_folder, write_text
from aural.reproduce.card import ClaimCard, claim_names, claims

SIGNS: Final = {"above": ">", "below": "<", "at_least": "≥", "at_most": "≤"}


def effects_folder() -> Path:
    """Return the folder of the bundled effects."""
    return Path(str(resources.files("aural"))) / "catalog" / "effects"


def stored_effect(name: str, folder: Path | None = None) -> dict[str, Any] | None:
    """Return the stored effect of a card with its "run" details, or None."""
    file = (folder or effects_folder()) / f"{name}.json"
    if not file.is_file():
        return None
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise DataError(f"{file}: is not JSON; restore it from the repository") from None
    return values


def store_effects(out: Path, folder: Path) -> list[Path]:
    """Copy the effects of finished bundled cards from a run folder, except those of --smoke; return the new files."""
    written = []
    for effect_file in sorted(out.glob("*/effect.json")):
        effect = json.loads(effect_file.read_text(encoding="utf-8"))
        if effect["smoke"] or effect["name"] not in claim_names():
            continue
        run = json.loads((effect_file.parent / "run.json").read_text(encoding="utf-8"))
        run.pop("seconds_per_run", None)
        make_folder(folder)
        target = folder / f"{effect['name']}.json"
        write_text(target, json.dumps(effect | {"run": run}, indent=1, ensure_ascii=False) + "\n")
        written.append(target)
    return written


def listing(package: str = "") -> Iterator[str]:
    """Yield one line per card of a package, or of all: verdict and interval of the primary check, cost, and claim."""
    for card in claims(package):
        effect = stored_effect(card.name)
        yield f"{card.name:28} {state_of(card, effect):44} {cost_of(card, effect):52} {card.claim}"


def state_of(card: ClaimCard, effect: Mapping[str, Any] | None) -> str:
    """Return the verdict and the interval of a card's primary check in one phrase."""
    if effect is None:
        return "not run yet"
    primary = next(check for check in effect["checks"] if check["primary"])
    text = f"{effect['verdict']}: {primary['of']} {interval_text(primary)}"
    return text if effect["card_hash"] == card.hash else f"{text} (card changed)"


def cost_of(card: ClaimCard, effect: Mapping[str, Any] | None = None) -> str:
    """Return the cost of a card: that of its stored effect, which was measured, else the card's estimate.

    The measured minutes are the seconds of all runs divided by the runs at a time.
    """
    if effect is not None and effect["run"].get("seconds"):
        run, seeds = effect["run"], len(effect["seeds"])
        minutes = run["seconds"] / run["jobs"] / 60
        count = f"{seeds} seed{'s' if seeds > 1 else ''}, {run['jobs']} job{'s' if run['jobs'] > 1 else ''}"
        return f"measured {minutes:.3g} min, {count}, {', '.join(run['devices'])}"
    if card.cost.gpu_min:
        return f"estimated {card.cost.gpu_min:g} GPU min"
    return f"estimated {card.cost.cpu_min:g} CPU min"


def interval_text(check: Mapping[str, Any]) -> str:
    """Return the value and interval of a check.

    >>> interval_text({"value": 0.1234, "low": -0.01, "high": 0.2})
    '0.123 [-0.010, 0.200]'
    """
    return f"{check['value']:.3f} [{check['low']:.3f}, {check['high']:.3f}]"


def check_lines(effect: Mapping[str, Any]) -> Iterator[str]:
    """Yield the verdict of a card and one line per check."""
    yield f"{effect['name']}: {effect['verdict']}" + (" (smoke test: does not count)" if effect["smoke"] else "")
    for check in effect["checks"]:
        bound = f"{SIGNS[check['rule']]} {check['bound']:g}"
        mark = "*" if check["primary"] else " "
        yield (
            f" {mark} {check['verdict']:9} {check['what']}: {check['of']} = {interval_text(check)}, asked {bound} "
            f"({check['metric']} of {check['task']}, seeds: {len(check['per_seed'])}, interval over {check['by']})"
        )
