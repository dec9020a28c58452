"""Answers from spans: written by hand, of synthetic sounds of known level, the same in Python and the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import aural
from aural.cli.main import main
from aural.models.locate import Located, Locator, Span
from aural.models.span_levels import step_powers
from aural.models.span_limits import FLOOR, SHARE, limit_of, locate_named
from aural.models.span_questions import SpanQuestion, span_question
from aural.models.span_replies import reply
from aural.models.writers import answerer_of

DOG, BELL = "a dog", "a bell"
HEARD = Located(
    duration_s=5.0,
    spans=[Span(DOG, 0.5, 1.0, 0.9), Span(BELL, 1.25, 2.0, 0.7), Span(DOG, 3.0, 3.5, 0.6)],
    best={DOG: (0.9, 0.7), BELL: (0.7, 1.5), "rain": (0.1, 4.0), "wind": (0.2, 4.0)},
)
RATE = 16_000


def wave() -> np.ndarray:
    """Return 5 s: the dog with an amplitude of 0.1, the bell with 0.5, and silence elsewhere."""
    sound = np.zeros(5 * RATE, np.float32)
    square = np.where(np.arange(len(sound)) % 2, 1, -1).astype(np.float32)
    for span in HEARD.spans:
        part = slice(round(span.onset_s * RATE), round(span.offset_s * RATE))
        sound[part] = (0.5 if span.text == BELL else 0.1) * square[part]
    return sound


POWERS = step_powers((wave(), RATE))


@pytest.mark.parametrize(
    ("question", "text", "remark", "score"),
    [
        ("how often is a dog heard?", "twice", "", 0.6),
        ("how often is a bell heard?", "once", "", 0.7),
        ("how often is rain heard?", "never", "", 0.9),
        ("when is a dog heard?", "0.5 to 1.0 s", "", 0.9),
        ("when is rain heard?", "not heard", "", 0.9),
        ("how long is a dog heard?", "1.0 s in all", "", 0.6),
        ("how long is rain heard?", "not heard", "", 0.9),
        ("how loud is a dog?", "-20.0 dB of full scale", "", 0.6),
        ("how loud is a bell?", "-6.0 dB of full scale", "", 0.7),
        ("how loud is rain?", "not heard", "", 0.9),
        ("which comes first, a bell or a dog?", DOG, "", 0.7),
        ("which comes first, rain or a bell?", BELL, "rain is not heard", 0.7),
        ("which comes first, rain or wind?", "neither is heard", "", 0.8),
        ("is a dog before a bell?", "yes", "", 0.7),
        ("is a dog after a bell?", "no", "", 0.7),
        ("is a dog before rain?", "no", "rain is not heard", 0.9),
        ("is rain before wind?", "no", "neither is heard", 0.8),
        ("which is louder, a dog or a bell?", BELL, "by 14.0 dB", 0.6),
        ("which is quieter, a dog or a bell?", DOG, "by 14.0 dB", 0.6),
        ("is a bell louder than a dog?", "yes", "by 14.0 dB", 0.6),
        ("is a bell quieter than a dog?", "no", "by 14.0 dB", 0.6),
        ("which is louder, rain or a bell?", BELL, "rain is not heard", 0.7),
        ("which is quieter, a bell or rain?", "rain", "rain is not heard", 0.7),
        ("is rain louder than a bell?", "no", "rain is not heard", 0.7),
        ("is a bell louder than rain?", "yes", "rain is not heard", 0.7),
        ("which is louder, rain or wind?", "neither is heard", "", 0.8),
        ("is wind louder than rain?", "no", "neither is heard", 0.8),
    ],
)
def test_spans_written_by_hand(question: str, text: str, remark: str, score: float) -> None:
    asked = span_question(question)
    assert asked is not None
    answer = reply(asked, HEARD, POWERS)
    assert (answer.text, answer.remark) == (text, remark)
    assert answer.score == pytest.approx(score)


def test_equal_starts_have_no_first() -> None:
    both = Located(spans=[Span(DOG, 1.0, 2.0, 0.9), Span(BELL, 1.0, 3.0, 0.9)], best={})
    assert reply(SpanQuestion("first", (DOG, BELL)), both, POWERS).text == "both start together"
    assert reply(SpanQuestion("before", (DOG, BELL)), both, POWERS).text == "no"


def test_levels_of_sounds_that_overlap() -> None:
    def answers(*spans: Span) -> Iterator[tuple[str, str]]:
        for kind in ("loudest", "quietest", "louder"):
            one = reply(SpanQuestion(kind, (DOG, BELL)), Located(spans=list(spans), best={}), powers)  # type: ignore[arg-type]
            yield one.text, one.remark

    powers = np.repeat([0.01, 1.0, 0.01, 0.1], 100)
    parts = list(answers(Span(DOG, 0, 2, 0.9), Span(BELL, 1, 4, 0.9)))  # the dog alone 0.01, the bell alone 0.055
    assert parts == [(BELL, "by 7.4 dB"), (DOG, "by 7.4 dB"), ("no", "by 7.4 dB")]
    inside = list(answers(Span(DOG, 0, 3, 0.9), Span(BELL, 1, 2, 0.9)))
    assert [text for text, _ in inside] == [BELL, DOG, "no"]
    assert inside[0][1] == "estimated, because one is not heard without the other"
    equal = list(answers(Span(DOG, 0, 1, 0.9), Span(BELL, 2, 3, 0.9)))
    assert [text for text, _ in equal] == ["both are equally loud", "both are equally loud", "no"]
    same = list(answers(Span(DOG, 0, 1, 0.9), Span(BELL, 0, 1, 0.9)))
    assert [text for text, _ in same] == ["not known", "not known", "no"]
    assert same[0][1] == "both are heard at the same time only"


def test_a_pause_in_a_span_counts() -> None:
    powers = np.repeat([1.0, 1e-4, 1.0], [50, 30, 50])
    one = Located(spans=[Span(DOG, 0.0, 1.3, 0.9)], best={DOG: (0.9, 0.1)})
    assert reply(SpanQuestion("count", (DOG,)), one, powers).text == "twice"


class Scored(Locator):
    """A locator with probabilities written by hand, in frames of 0.5 s."""

    def __init__(self, threshold: float, rows: list[list[float]]) -> None:
        self.texts, self.threshold, self.rows = [DOG, BELL], threshold, rows
        self._scorer, self.calibration = None, None

    def scored(self, source: object) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        edges = np.arange(len(self.rows) + 1) / 2
        times = np.stack([edges[:-1], edges[1:]], axis=1)
        for part in (slice(0, 2), slice(2, None)):
            yield np.array(self.rows[part], np.float32), times[part]


def test_the_limit_follows_the_highest_probability_of_the_file() -> None:
    assert [limit_of(best, 0.4) for best in (0.1, 0.4, 0.9)] == pytest.approx([0.4 * FLOOR, 0.4 * FLOOR, 0.9 * SHARE])
    rows = [[0.9, 0.27], [0.44, 0.1], [0.2, 0.29], [0.46, 0.05], [0.1, 0.26]]
    located = locate_named(Scored(0.4, rows), "any")
    spans = [(span.text, span.onset_s, span.offset_s) for span in located.spans]
    # the dog's limit is 0.45 and its spans reach down to 0.225; the bell's is 0.28, down to 0.14
    assert spans == [(DOG, 0.0, 1.0), (BELL, 1.0, 1.5), (DOG, 1.5, 2.0)]
    assert located.best[BELL] == pytest.approx((0.29, 1.25))
    assert located.duration_s == 2.5


def test_a_sound_below_the_floor_is_not_heard() -> None:
    assert [span.text for span in locate_named(Scored(0.5, 3 * [[0.34, 0.36]]), "any").spans] == [BELL]


def test_the_command_prints_what_the_spans_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "noise.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, 32000)
    noise[12000:20000] = 0
    soundfile.write(path, noise, 16000)
    model = aural.load("libre-base")
    question = "is white noise louder than rain on a roof?"
    answer = answerer_of(model)[0].answer_of(path, question)
    asked = SpanQuestion("louder", ("white noise", "rain on a roof"))
    direct = reply(asked, locate_named(Locator(model, asked.sounds), path), step_powers(path))
    assert (answer.kind, answer.text, answer.remark, answer.score) == (
        "located", direct.text, direct.remark, direct.score,
    )  # fmt: skip
    assert answerer_of(model)[0].answer_of(path, question, ["yes", "no"]) == answer
    with path.open("rb") as file:
        assert answerer_of(model)[0].answer_of(file, question) == answer
    monkeypatch.setattr(sys, "argv", ["aural", "ask", str(path), question, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    row = json.loads(capsys.readouterr().out)
    assert (row["answer"], row["remark"], row["kind"]) == (answer.text, answer.remark, "located")
    assert row["score"] == round(answer.score, 6)
    monkeypatch.setattr(sys, "argv", ["aural", "ask", str(path), question])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out == f"{path}  {answer.sentence}\n"
