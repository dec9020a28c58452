"""Hypotheses about a scene for entailment: they follow, they contradict it, or neither.

Deshmukh et al. 2024, "Audio Entailment" (row 163, arXiv 2407.18062). All three classes use the same sentences, "a bell
is heard before a dog" and "a bell is louder than a dog", about sounds that are in the scene. So the wording says
nothing about the class: the scene decides. Neutral are pairs that sound together (neither is before the other) and
pairs whose levels are too near (neither is clearly louder): what `Judge` answers with None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np

from aural.data.simulate.claims import Judge
from aural.data.simulate.questions import Name

CLASSES: Final = ("entailment", "neutral", "contradiction")
FORMS: Final = {"before": "{} is heard before {}", "louder": "{} is louder than {}"}


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A sentence about scene number `scene`, its class, and the relation that it states."""

    scene: int
    text: str
    entailment: str
    relation: str


def hypotheses_of(scene: int, judge: Judge, name: Name) -> list[Hypothesis]:
    """Return every hypothesis about two sounds of a scene."""
    hypotheses = []
    for first, second in permutations([event.label for event in judge.truth.events], 2):
        if name(first) == name(second):
            continue
        for relation, form in FORMS.items():
            verdict = _verdict(judge, relation, first, second)
            hypotheses.append(Hypothesis(scene, form.format(name(first), name(second)), verdict, relation))
    return hypotheses


def _verdict(judge: Judge, relation: str, first: str, second: str) -> str:
    if judge((relation, first, second)):
        return "entailment"
    return "contradiction" if judge((relation, second, first)) else "neutral"


def balanced(hypotheses: Sequence[Hypothesis], rng: np.random.Generator) -> list[Hypothesis]:
    """Return as many hypotheses of each class for each relation, drawn, in the order of their scenes."""
    chosen: list[int] = []
    for relation in FORMS:
        of_class = [
            [n for n, one in enumerate(hypotheses) if (one.relation, one.entailment) == (relation, name)]
            for name in CLASSES
        ]
        count = min(len(numbers) for numbers in of_class)
        chosen += [int(i) for numbers in of_class for i in rng.permutation(np.array(numbers, np.int64))[:count]]
    return [hypotheses[i] for i in sorted(chosen)]
