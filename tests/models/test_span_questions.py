"""Forms of the questions that spans answer."""

from __future__ import annotations

import pytest

from aural.core.errors import ConfigError
from aural.models.span_questions import SpanQuestion, span_question

DOG, BELL = "a dog", "a bell"


@pytest.mark.parametrize("name", ["a dog", "church bells", "a door that is opened", "rain or wind on a roof"])
@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("How often is {} heard?", "count"),
        ("how many times does {} occur", "count"),
        ("how  often is there {} ?", "count"),
        ("how often can you hear {}?", "count"),
        ("how often do you hear the sound of {}?", "count"),
        ("when is {} heard?", "time"),
        ("When does {} sound?", "time"),
        ("WHEN CAN ONE HEAR {}?", "time"),
        ("how long is {} heard?", "length"),
        ("for how long is {} audible?", "length"),
        ("How long does {} last?", "length"),
        ("how long can you hear {}?", "length"),
        ("how loud is {}?", "level"),
        ("how loud are the sound of {} ?", "level"),
    ],
)
def test_a_form_returns_the_sound_that_was_put_in(form: str, kind: str, name: str) -> None:
    assert span_question(form.format(name)) == SpanQuestion(kind, (name,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "kind", "sounds"),
    [
        ("which comes first, a dog or a bell?", "first", (DOG, BELL)),
        ("which is heard first, a bell or a dog?", "first", (BELL, DOG)),
        ("is a dog before a bell?", "before", (DOG, BELL)),
        ("is a dog heard after a bell is heard?", "before", (BELL, DOG)),
        ("does a dog come before a bell?", "before", (DOG, BELL)),
        ("which is louder, a dog or a bell?", "loudest", (DOG, BELL)),
        ("What sounds louder: a bell, or a dog", "loudest", (BELL, DOG)),
        ("which is the quieter, a dog or a bell?", "quietest", (DOG, BELL)),
        ("which is softer, a dog or a bell?", "quietest", (DOG, BELL)),
        ("is a dog louder than a bell?", "louder", (DOG, BELL)),
        ("IS A DOG LOUDER THAN A BELL is?", "louder", ("A DOG", "A BELL")),
        ("is a dog quieter than a bell?", "louder", (BELL, DOG)),
        ("does a dog sound softer than a bell?", "louder", (BELL, DOG)),
    ],
)
def test_two_sounds_are_named(question: str, kind: str, sounds: tuple[str, ...]) -> None:
    assert span_question(question) == SpanQuestion(kind, sounds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "question",
    ["is there a dog?", "is a dog heard?", "what is heard?", "how often?", "when is?", "why does the dog bark?",
     "which comes first?", "is there a dog before a bell?", "how often is heard?", "how loud is it?", "how loud?",
     "how long is the file?", "is it louder than a bell?", "is a dog as loud as a bell?", "which is louder?", "?", "",
     "is there a dog louder than a bell?"],
)  # fmt: skip
def test_other_questions_are_left(question: str) -> None:
    assert span_question(question) is None


@pytest.mark.parametrize("question", ["is a dog before A dog?", "which is louder, rain or  rain?"])
def test_a_sound_is_not_compared_with_itself(question: str) -> None:
    with pytest.raises(ConfigError, match="names the same sound twice"):
        span_question(question)


@pytest.mark.parametrize(("kind", "yes_no"), [("before", True), ("louder", True), ("first", False), ("count", False)])
def test_questions_of_yes_and_no(kind: str, yes_no: bool) -> None:
    assert SpanQuestion(kind, (DOG, BELL)).is_yes_no is yes_no  # type: ignore[arg-type]
