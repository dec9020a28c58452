"""Multiple-choice questions about clips, built so that neither the options nor a transcript give the answer away.

A question is a clip and some options, one of which is right. The wrong options are answers of other clips of the same
group, so that everything that the group shares (its language, its speakers, its recording places) excludes no option.
Every answer of a group is right equally often and wrong equally often, and the right option is at every place equally
often, as far as the numbers allow. A reader of options alone is then at chance.

A reader of the transcript is at chance if the words do not depend on the answer; `text_answers` measures that.
Source of the idea: TAU (Taiwan Audio Understanding), questions that cannot be solved by transcripts alone.

Legend: Q questions, O options.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError


@dataclass(frozen=True)
class Question:
    """A multiple-choice question: the number of its clip, its options, and the place of the right one."""

    clip: int
    options: tuple[str, ...]
    right: int


def build_questions(
    answers: Sequence[str], groups: Sequence[str], rng: np.random.Generator, *, options: int = 4
) -> list[Question]:
    """Return one question per clip.

    Args:
        answers: the right answer of each clip.
        groups: the group of each clip, such as its place; wrong options come from the same group.
        options: the number of options of a question.

    Raises:
        DataError: a group has fewer different answers than a question has options.
    """
    questions: list[Question | None] = [None] * len(answers)
    for group in sorted(set(groups)):
        members = [n for n, name in enumerate(groups) if name == group]
        names = sorted({answers[n] for n in members})
        if len(names) < options:
            raise DataError(f'group "{group}" has {len(names)} different answers; a question needs {options}')
        wrong_count: Counter[str] = Counter()
        places = [i % options for i in range(len(members))]
        rng.shuffle(places)
        for n, place in zip(rng.permutation(members).tolist(), places, strict=True):
            others = [names[i] for i in rng.permutation(len(names)) if names[i] != answers[n]]
            wrong = sorted(others, key=lambda name: wrong_count[name])[: options - 1]  # the rarest first, ties drawn
            wrong_count.update(wrong)
            shuffled = [wrong[i] for i in rng.permutation(options - 1)]
            shuffled.insert(place, answers[n])
            questions[n] = Question(n, tuple(shuffled), place)
    return [question for question in questions if question is not None]


def correct_choices(questions: Sequence[Question], similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 where the right option is the most similar one, else 0, as (Q,). similarity: (Q, O)."""
    right = np.array([question.right for question in questions])
    return (similarity.argmax(axis=1) == right).astype(np.float64)
