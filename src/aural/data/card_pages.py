"""The cards as text: the list, one page of a card, and the page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from aural.data.cards import DatasetCard

HEAD = """# Data sets

Made by `aural data list --markdown > docs/data/datasets.md`; do not edit. Counts are the published numbers of clips.
`aural data show NAME` prints a card with the way to get the data set, its license and its known defects;
`aural data check NAME DIR` compares a download with its card. How layouts are described: [readers](readers.md).

"""


def table(cards: Sequence[DatasetCard]) -> str:
    """Return one line per card."""
    width = max(len(card.name) for card in cards)
    return "".join(f"{card.name:<{width}}  {_clips(card):>11}  {card.title}\n" for card in cards)


def page(card: DatasetCard) -> str:
    """Return all fields of a card as readable text."""
    lines = [
        f"{card.title} ({card.name}, version {card.version})",
        f"  homepage: {card.homepage}",
        f"  license: {card.license}",
        *([f"  license of labels and captions: {card.license_text}"] if card.license_text else []),
        f"  cite: {card.citation}",
        f"  get: {card.get}",
        f"  facts from: {card.source}",
        f"  readers: {', '.join(dict.fromkeys(part.kind for part in card.parts))}",
    ]
    for name, split in card.splits.items():
        counts = [f"{split.clips:,} clips" if split.clips is not None else "clips not published"]
        counts += [f"{split.captions:,} captions"] if split.captions else []
        lines.append(f"  {name}: {', '.join(counts)}" + (f" ({split.note})" if split.note else ""))
    if card.expected_classes:
        shown = ", ".join(card.classes[:12]) + (", ..." if len(card.classes) > 12 else "")
        lines.append(f"  classes: {card.expected_classes}" + (f" ({shown})" if shown else ""))
    lines += [f"  known defect: {path}: {why}" for path, why in card.known_bad.items()]
    lines += [f"  note: {note}" for note in card.notes]
    return "\n".join(lines) + "\n"


def markdown(cards: Sequence[DatasetCard]) -> str:
    """Return the documentation page."""
    head = "| name | data set | train | valid | test | classes | holds | readers | license of the sounds |\n"
    return HEAD + head + "|---" * 9 + "|\n" + "".join(_row(card) for card in cards)


def _row(card: DatasetCard) -> str:
    cells = [f"`{card.name}`", f"[{card.title}]({card.homepage})"]
    for name in ("train", "valid", "test"):
        split = card.splits.get(name)
        cells.append("" if split is None else "?" if split.clips is None else f"{split.clips:,}")
    cells += [str(card.expected_classes or ""), ", ".join(card.holds)]
    cells += [", ".join(dict.fromkeys(part.kind for part in card.parts)), card.license]
    return "| " + " | ".join(cells) + " |\n"


def _clips(card: DatasetCard) -> str:
    return "any number" if card.clips is None else f"{card.clips:,}"
