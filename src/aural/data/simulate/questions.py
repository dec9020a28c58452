"""Questions about a scene, with answers from its truth record.

    presence     is there a dog?                                     yes, no
    count        how many times is a bell heard?                     once, twice, three times, four times
    order        which is heard first, a bell or a dog?              the name of a sound
    attribute    is a dog faint?                                     yes, no
    comparison   which is louder, a bell or a dog?                   the name of a sound

Only what `Judge` is certain of is asked. Answers of two choices are balanced by drawing: the asked pair has a random
order, and a present and an absent sound are asked equally often where an absent one is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np

from aural.data.simulate.claims import Claim, Judge
from aural.data.simulate.grammar import COUNTS
from aural.data.simulate.truth import Event

YES_NO: Final = ("yes", "no")
COUNT_WORDS: Final = tuple(COUNTS[n][0] for n in (1, 2, 3, 4))
Name: TypeAlias = Callable[[str], str]
"""What a label is called, with its article."""


@dataclass(frozen=True, slots=True)
class SceneQuestion:
    """A question, its answer, the options it chooses from, and the claim that the answer rests on."""

    kind: str
    text: str
    answer: str
    options: tuple[str, ...]
    claim: Claim


def ask(judge: Judge, name: Name, absent: Sequence[str], rng: np.random.Generator) -> list[SceneQuestion]:
    """Return questions of all five kinds that the scene allows, at most one per event, pair or absent class.

    absent: classes that do not sound; those of the scene among them are left out.
    """
    events = judge.truth.events
    questions = [*_presence(events, [label for label in absent if label not in judge.events], name)]
    for event in events:
        if event.countable and event.count <= len(COUNT_WORDS):
            text = f"how many times is {name(event.label)} heard?"
            claim = ("count", event.label, event.count)
            questions.append(SceneQuestion("count", text, COUNT_WORDS[event.count - 1], COUNT_WORDS, claim))
        faint = judge(("faint", event.label))
        if faint is not None and len(events) > 1:
            answer = YES_NO[not faint]
            text = f"is {name(event.label)} faint?"
            questions.append(SceneQuestion("attribute", text, answer, YES_NO, ("faint", event.label)))
    for pair in combinations([event.label for event in events], 2):
        first, second = pair if rng.random() < 0.5 else pair[::-1]
        options = (name(first), name(second))
        if options[0] == options[1]:
            continue
        for kind, relation, words in (("order", "before", "heard first"), ("comparison", "louder", "louder")):
            for a, b in ((first, second), (second, first)):
                if judge((relation, a, b)):
                    text = f"which is {words}, {options[0]} or {options[1]}?"
                    questions.append(SceneQuestion(kind, text, name(a), options, (relation, a, b)))
    return questions


def _presence(events: Sequence[Event], absent: Sequence[str], name: Name) -> list[SceneQuestion]:
    heard = {name(event.label) for event in events}
    asked = [(event.label, "yes") for event in events]
    asked += [(label, "no") for label in absent if name(label) not in heard]
    return [
        SceneQuestion("presence", f"is there {name(label)}?", answer, YES_NO, ("present", label))
        for label, answer in asked
    ]
