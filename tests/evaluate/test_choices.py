"""Multiple-choice questions: balanced options, readers that hear nothing at chance, and refusals."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from aural.core.errors import DataError
from aural.evaluate.choices import Question, build_questions, correct_choices

NAMES = ("bell", "ferry", "metro", "school", "truck", "van")


def clips(per_answer: int = 8) -> tuple[list[str], list[str]]:
    """Return the answers and groups of clips of two places."""
    answers = [name for _ in ("a", "b") for name in NAMES for _ in range(per_answer)]
    return answers, ["a"] * (len(answers) // 2) + ["b"] * (len(answers) // 2)


def test_options_are_balanced_within_each_group() -> None:
    answers, groups = clips()
    questions = build_questions(answers, groups, np.random.default_rng(0))
    assert [question.clip for question in questions] == list(range(96))
    for question in questions:
        assert question.options[question.right] == answers[question.clip]
        assert len(set(question.options)) == 4
    for group in ("a", "b"):
        members = [question for question in questions if groups[question.clip] == group]
        assert set(Counter(question.right for question in members).values()) == {12}
        shown = Counter(name for question in members for name in question.options)
        assert max(shown.values()) - min(shown.values()) <= 2  # 32 times each


def test_a_reader_of_the_options_alone_is_at_chance() -> None:
    """Any fixed preference among answers: right in 8 of the about 32 questions that offer the answer."""
    answers, groups = clips(40)
    questions = build_questions(answers, groups, np.random.default_rng(1))
    for seed in range(5):
        preference = dict(zip(NAMES, np.random.default_rng(seed).random(6), strict=True))
        scores = np.array([[preference[name] for name in question.options] for question in questions])
        assert correct_choices(questions, scores).mean() == pytest.approx(0.25, abs=0.04)
    first = np.tile([1.0, 0.0, 0.0, 0.0], (len(questions), 1))
    assert correct_choices(questions, first).mean() == 0.25


def test_wrong_options_come_from_the_same_group() -> None:
    answers = ["a", "b", "c", "d", "w", "x", "y", "z"]
    questions = build_questions(answers, ["1"] * 4 + ["2"] * 4, np.random.default_rng(0))
    assert all(set(question.options) in ({"a", "b", "c", "d"}, {"w", "x", "y", "z"}) for question in questions)


def test_too_few_answers_are_refused() -> None:
    with pytest.raises(DataError, match='group "1" has 3 different answers; a question needs 4'):
        build_questions(["a", "b", "c"], ["1"] * 3, np.random.default_rng(0))


def test_the_most_similar_option_is_the_answer() -> None:
    questions = [Question(0, ("a", "b"), 1), Question(1, ("a", "b"), 0)]
    assert correct_choices(questions, np.array([[0.1, 0.9], [0.2, 0.3]])).tolist() == [1, 0]
