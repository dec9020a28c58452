"""Questions that spans answer: closed forms, spans written by hand, the same in Python and on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import aural
from aural.cli.main import main
from aural.core.errors import ConfigError
from aural.models.locate import Located, Span
from aural.models.span_questions import SpanQuestion, reply, span_question
from aural.models.writers import answerer_of

DOG, BELL = "a dog", "a bell"
HEARD = Located(
    duration_s=5.0,
    spans=[Span(DOG, 0.5, 1.0, 0.9), Span(BELL, 1.25, 2.0, 0.7), Span(DOG, 3.0, 3.5, 0.6)],
    best={DOG: (0.9, 0.7), BELL: (0.7, 1.5), "rain": (0.1, 4.0), "wind": (0.2, 4.0)},
)


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
    ],
)
def test_order_names_two_sounds(question: str, kind: str, sounds: tuple[str, ...]) -> None:
    assert span_question(question) == SpanQuestion(kind, sounds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "question",
    ["is there a dog?", "is a dog heard?", "what is heard?", "is a dog louder than a bell?", "how often?", "when is?",
     "why does the dog bark?", "which comes first?", "how loud is a dog?", "is there a dog before a bell?"],
)  # fmt: skip
def test_other_questions_are_left(question: str) -> None:
    assert span_question(question) is None


def test_a_sound_is_not_compared_with_itself() -> None:
    with pytest.raises(ConfigError, match="names the same sound twice"):
        span_question("is a dog before A dog?")


@pytest.mark.parametrize(
    ("question", "text", "score"),
    [
        ("how often is a dog heard?", "twice", 0.6),
        ("how often is a bell heard?", "once", 0.7),
        ("how often is rain heard?", "never", 0.9),
        ("when is a dog heard?", "0.5 to 1.0 s", 0.9),
        ("when is rain heard?", "not heard", 0.9),
        ("which comes first, a bell or a dog?", DOG, 0.7),
        ("which comes first, rain or a bell?", "a bell (rain is not heard)", 0.7),
        ("which comes first, rain or wind?", "neither is heard", 0.8),
        ("is a dog before a bell?", "yes", 0.7),
        ("is a dog after a bell?", "no", 0.7),
        ("is a dog before rain?", "no", 0.9),
    ],
)
def test_spans_written_by_hand(question: str, text: str, score: float) -> None:
    asked = span_question(question)
    assert asked is not None
    answer = reply(asked, HEARD)
    assert answer.text == text
    assert answer.score == pytest.approx(score)


def test_equal_starts_have_no_first() -> None:
    both = Located(spans=[Span(DOG, 1.0, 2.0, 0.9), Span(BELL, 1.0, 3.0, 0.9)], best={})
    assert reply(SpanQuestion("first", (DOG, BELL)), both).text == "both start together"
    assert reply(SpanQuestion("before", (DOG, BELL)), both).text == "no"


def test_the_command_prints_what_the_spans_of_locate_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "noise.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, 32000)
    noise[12000:20000] = 0
    soundfile.write(path, noise, 16000)
    model = aural.load("libre-base")
    (located,) = model.locate([path], ["white noise"])
    question = "how often is white noise heard?"
    answer = answerer_of(model)[0].answer_of(path, question)
    asked = SpanQuestion("count", ("white noise",))
    assert (answer.kind, answer.text, answer.score) == (
        "located",
        reply(asked, located).text,
        reply(asked, located).score,
    )
    order = answerer_of(model)[0].answer_of(path, "is white noise before rain?", ["yes", "no"])
    assert (order.kind, order.text in ("yes", "no")) == ("located", True)
    monkeypatch.setattr(sys, "argv", ["aural", "ask", str(path), question, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    row = json.loads(capsys.readouterr().out)
    assert (row["answer"], row["kind"], row["score"]) == (answer.text, "located", round(answer.score, 6))
