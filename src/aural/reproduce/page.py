"""Write the pages of all claims from stored effects: an index with every verdict and a page per card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aural.core.files import make_folder, write_text
from aural.reproduce.card import ClaimCard, claims
from aural.reproduce.effect import NOT_SHOWN, REVERSED, SHOWN
from aural.reproduce.effects import SIGNS, cost_of, interval_text, stored_effect
from aural.reproduce.picture import picture
from aural.reproduce.provenance import changed_code

ERROR_RATE: Final = 0.05
WARNING: Final = "<!-- Written by `aural reproduce --page`. Edit the cards in src/aural/catalog/claims instead. -->"


def write_pages(folder: Path, effects: Path | None = None) -> Path:
    """Write index.md, and NAME.md and NAME.svg per card, to a folder; return the index."""
    make_folder(folder)
    cards = claims()
    stored = {card.name: stored_effect(card.name, effects) for card in cards}
    for card in cards:
        effect = stored[card.name]
        if effect is not None:
            write_text(folder / f"{card.name}.svg", picture(effect) + "\n")
        write_text(folder / f"{card.name}.md", "\n".join(card_page(card, effect)) + "\n")
    write_text(folder / "index.md", "\n".join(index_page(cards, stored)) + "\n")
    return folder / "index.md"


def index_page(cards: Sequence[ClaimCard], stored: Mapping[str, Mapping[str, Any] | None]) -> Iterator[str]:
    """Yield the lines of the index."""
    effects = [effect for card in cards if (effect := stored[card.name]) is not None]
    yield "# Reproduced claims"
    yield ""
    yield WARNING
    yield ""
    yield (
        "Each row is a claim of a related paper, tested with this library on free data at a small scale. The checks "
        "of a card were written before its seeds were run. [How to write a claim card](../reproduce.md) explains the "
        "columns."
    )
    yield ""
    yield from _counts(effects, len(cards))
    yield ""
    yield "| claim | verdict | primary check | value and 95% interval | seeds | code changed since |"
    yield "|---|---|---|---|--:|---|"
    for card in cards:
        yield _index_row(card, stored[card.name])
    yield ""
    yield from _all_checks(effects)


def _counts(effects: Sequence[Mapping[str, Any]], cards: int) -> Iterator[str]:
    verdicts = Counter(effect["verdict"] for effect in effects)
    compared = sum(_is_test(check) for effect in effects for check in effect["checks"] if check["primary"])
    every = [check for effect in effects for check in effect["checks"] if _is_test(check)]
    yield (
        f"{len(effects)} of {cards} cards have been run: {verdicts[SHOWN]} shown, {verdicts[NOT_SHOWN]} not shown, "
        f"{verdicts[REVERSED]} reversed."
    )
    yield ""
    yield (
        f"{compared} primary checks require a 95% interval on one side of a bound. If no effect existed, "
        f"about {ERROR_RATE * compared:.1f} of their intervals would still exclude the bound by chance, half of them "
        f"in favor of the claim. Over all {len(every)} such checks the number is {ERROR_RATE * len(every):.1f}."
    )


def _is_test(check: Mapping[str, Any]) -> bool:
    return check["rule"] in ("above", "below")


def _index_row(card: ClaimCard, effect: Mapping[str, Any] | None) -> str:
    name = f"[{card.name}]({card.name}.md)"
    if effect is None:
        return f"| {name} | not run yet | {card.primary.what} | | | |"
    primary = next(check for check in effect["checks"] if check["primary"])
    changed = ", ".join(changed_code(card, effect["run"])) or "no"
    return (
        f"| {name} | **{effect['verdict']}** | {primary['what']} | {interval_text(primary)} | "
        f"{len(effect['seeds'])} | {changed} |"
    )


def _all_checks(effects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Every check"
    yield ""
    yield "| card | check | arms | value and 95% interval | asked | verdict |"
    yield "|---|---|---|---|---|---|"
    for effect in effects:
        for check in effect["checks"]:
            yield f"| {effect['name']} " + _check_cells(check)


def _check_cells(check: Mapping[str, Any]) -> str:
    star = " \\*" if check["primary"] else ""
    asked = f"{SIGNS[check['rule']]} {check['bound']:g}"
    return (
        f"| {check['what']}{star} | {check['of']} | {interval_text(check)} ({check['by']}) | {asked} | "
        f"{check['verdict']} |"
    )


def card_page(card: ClaimCard, effect: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the lines of one card's page."""
    yield f"# {card.name}"
    yield ""
    yield WARNING
    yield ""
    yield f"**Claim.** {card.claim[0].upper()}{card.claim[1:]}."
    yield ""
    yield f"Paper: {card.paper}. Run it with `aural reproduce {card.name}` ({cost_of(card, effect)})."
    yield ""
    if effect is None:
        yield "Not run yet."
        return
    yield f"**Verdict: {effect['verdict']}.**"
    yield ""
    yield f"![Checks of {card.name}: seeds as dots, 95% intervals as bars]({card.name}.svg)"
    yield ""
    yield "| check | arms | value and 95% interval (wider over) | asked | verdict |"
    yield "|---|---|---|---|---|"
    for check in effect["checks"]:
        yield _check_cells(check)
    yield ""
    yield "\\* The primary check decides the verdict of the card."
    yield ""
    yield from _scores(effect)
    yield from _limits(card)
    yield from _origin(card, effect)


def _scores(effect: Mapping[str, Any]) -> Iterator[str]:
    tasks = sorted({task for arm in effect["arms"].values() for task in arm})
    metric = {task: one["metric"] for arm in effect["arms"].values() for task, one in arm.items()}
    yield "Mean over seeds of each arm:"
    yield ""
    yield "| arm | " + " | ".join(f"{task} ({metric[task]})" for task in tasks) + " |"
    yield "|---|" + "--:|" * len(tasks)
    for name, arm in effect["arms"].items():
        cells = (f"{arm[task]['mean']:.3f}" if task in arm else "" for task in tasks)
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""


def _limits(card: ClaimCard) -> Iterator[str]:
    limits = card.limits
    sentences = [
        limits.synthetic and f"Synthetic: {limits.synthetic}.",
        limits.differs and f"Differs: {limits.differs}.",
    ]
    sentences.append(
        "The scale of the paper is not reached; only the mechanism is tested." if limits.scale_bound else ""
    )
    sentences.append(f"Human raters: {limits.human_raters}.")
    yield "**Limits.** " + " ".join(sentence for sentence in sentences if sentence)
    yield ""


def _origin(card: ClaimCard, effect: Mapping[str, Any]) -> Iterator[str]:
    run = effect["run"]
    changed = changed_code(card, run)
    state = f"Changed since: {', '.join(changed)}." if changed else "The code has not changed since."
    yield (
        f"**Run.** Commit {run['commit']}, {', '.join(run['devices'])}, {run['jobs']} jobs, {run['seconds']:.0f} s "
        f"over all runs, card hash `{effect['card_hash']}`. {state}"
    )
