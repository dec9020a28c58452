"""Statements that answer questions about a scene, for models that compare a sound with sentences.

presence     there is a dog                  there is no sound of a dog
count        a bell is heard twice           ... once, three times, four times
order        a bell is heard first, then a dog
attribute    a dog is faint                  a dog is loud
comparison   a bell is louder than a dog
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aural.data.simulate.claims import Judge
from aural.data.simulate.questions import Name, SceneQuestion, ask

if TYPE_CHECKING:
    from aural.data.simulate.simulator import Scene, SceneSimulator

ABSENT: Final = 2
"""Classes per scene that do not sound and are asked about."""
YES_NO_FORMS: Final = {
    "presence": ("there is {}", "there is no sound of {}"),
    "attribute": ("{} is faint", "{} is loud"),
}
PAIR_FORMS: Final = {"order": "{} is heard first, then {}", "comparison": "{} is louder than {}"}


@dataclass(frozen=True, slots=True)
class StoredQuestion:
    """A question as a manifest stores it: one statement per option, the place of the right one, the sound asked about.

    sound: the name of the first sound of the claim.
    """

    kind: str
    text: str
    options: tuple[str, ...]
    statements: tuple[str, ...]
    right: int
    sound: str


def statements_of(question: SceneQuestion, name: Name) -> tuple[str, ...]:
    """Return one statement per option of a question, in the order of the options."""
    sound = name(str(question.claim[1]))
    if question.kind in YES_NO_FORMS:
        return tuple(form.format(sound) for form in YES_NO_FORMS[question.kind])
    if question.kind in PAIR_FORMS:
        form, (first, second) = PAIR_FORMS[question.kind], question.options
        return form.format(first, second), form.format(second, first)
    return tuple(f"{sound} is heard {count}" for count in question.options)


def stored_questions(simulator: SceneSimulator, scene: Scene, index: int) -> list[dict[str, Any]]:
    """Return the questions about scene `index` as JSON values; the same seed gives the same questions."""

    def name(label: str) -> str:
        return simulator.bank.phrases(label)[0]

    judge = Judge(scene.truth, simulator.config)
    rng = np.random.default_rng([simulator.seed, index, 17])
    heard = {name(label) for label in (*judge.events, *([judge.steady] if judge.steady else []))}
    others = [label for label in simulator.labels if name(label) not in heard]
    absent = [others[i] for i in rng.permutation(len(others))[:ABSENT]]
    return [
        asdict(
            StoredQuestion(
                one.kind, one.text, one.options, statements_of(one, name), one.options.index(one.answer),
                name(str(one.claim[1])),
            )
        )
        for one in ask(judge, name, absent, rng)
    ]  # fmt: skip
