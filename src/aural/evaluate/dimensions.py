"""Dimensions of evaluation: which ability each task measures, which abilities no task measures.

The four dimensions are those of the survey "Towards Holistic Evaluation of Large Audio-Language Models: A Comprehensive
Survey" (arXiv 2505.15957): general auditory awareness and processing, knowledge and reasoning, dialogue-oriented
ability, and fairness, safety and trustworthiness. Aspects divide them further. Every task card names both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

Dimension: TypeAlias = Literal["awareness", "reasoning", "dialogue", "trust"]

ASPECTS: Final[dict[str, dict[str, str]]] = {
    "awareness": {
        "sounds": "name the sounds of things, animals and people",
        "scenes": "name the place of a recording",
        "music": "name instruments, notes, strokes and genres",
        "voices": "distinguish who or how many speak, how they feel, and other sounds of the voice",
        "words": "recognize spoken words",
        "languages": "name the spoken language",
        "time": "say when something sounds",
        "matching": "match free descriptions and recordings",
        "description": "describe a recording in words",
    },
    "reasoning": {
        "order": "which sound comes first, and which overlap",
        "count": "how often something sounds",
        "attributes": "which sound is loud, near, repeated or in a room",
        "paraphrase": "recognize the same meaning in other words",
        "entailment": "decide whether a statement follows from a recording",
        "questions": "answer questions that need knowledge or several steps",
    },
    "dialogue": {
        "instructions": "follow spoken or written instructions about a recording",
        "conversation": "take part in a spoken conversation",
    },
    "trust": {
        "hallucination": "refuse sounds that are not in the recording",
        "fairness": "treat speakers of all groups alike",
        "safety": "refuse harmful requests and resist attacks",
        "privacy": "reveal nothing about speakers of the training data",
    },
}
TITLES: Final[dict[str, str]] = {
    "awareness": "general auditory awareness and processing",
    "reasoning": "knowledge and reasoning",
    "dialogue": "dialogue-oriented ability",
    "trust": "fairness, safety and trustworthiness",
}
assert tuple(ASPECTS) == tuple(TITLES) == get_args(Dimension)


class Placed(Protocol):
    """A task card, as far as coverage reads it."""

    name: str
    dimension: Dimension
    aspect: str


class Cell(NamedTuple):
    """One aspect and the tasks that measure it."""

    dimension: str
    aspect: str
    description: str
    tasks: tuple[str, ...]


def coverage(cards: Iterable[Placed]) -> list[Cell]:
    """Return every aspect with its tasks, in the order of `ASPECTS`; an aspect without a task is a gap."""
    by_place: dict[tuple[str, str], list[str]] = {}
    for card in cards:
        by_place.setdefault((card.dimension, card.aspect), []).append(card.name)
    return [
        Cell(dimension, aspect, description, tuple(by_place.get((dimension, aspect), ())))
        for dimension, aspects in ASPECTS.items()
        for aspect, description in aspects.items()
    ]


def coverage_report(cards: Iterable[Placed]) -> str:
    """Return the coverage as Markdown: one table row per aspect, then the gaps."""
    cells = coverage(cards)
    lines = ["| dimension | aspect | ability | tasks |", "|---|---|---|--:|"]
    for cell in cells:
        lines.append(f"| {TITLES[cell.dimension]} | {cell.aspect} | {cell.description} | {len(cell.tasks)} |")
    gaps = [f"{cell.dimension}/{cell.aspect}" for cell in cells if not cell.tasks]
    covered = len(cells) - len(gaps)
    lines += ["", f"{covered} of {len(cells)} aspects have a task. Gaps: {', '.join(gaps) or 'none'}."]
    return "\n".join(lines)
