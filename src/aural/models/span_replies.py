"""Answer questions about number, time, length, order and level of sounds from their spans.

Legend: K steps of 10 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from aural.models.locate import Locator
from aural.models.span_levels import decibels, mean_power, soundings, step_powers, two_powers
from aural.models.span_limits import locate_named
from aural.models.span_questions import SpanQuestion

if TYPE_CHECKING:
    from aural.core.types import AudioSource
    from aural.models.embedding import EmbeddingModel
    from aural.models.locate import Located, Span

NUMBERS: Final = ("never", "once", "twice")
UNHEARD: Final = "not heard"
NEITHER: Final = "neither is heard"
TOGETHER: Final = "both are heard at the same time only"
ESTIMATED: Final = "estimated, because one is not heard without the other"
FIRST_SPAN: Final = ("time", "first", "before")
"""Questions that the first span of each sound answers; all spans answer the others."""


@dataclass(frozen=True)
class SpanReply:
    """An answer in words, its score, and a remark on what it leaves open ("a bell is not heard").

    score: the least confidence of the spans that the answer uses; where a sound has none, 1 minus its highest
    probability.
    """

    text: str
    score: float
    remark: str = ""


def answer_by_spans(model: EmbeddingModel, clip: AudioSource, question: SpanQuestion) -> SpanReply | None:
    """Return the answer about one sound; None for a model without calibrated frames.

    Raises:
        AudioError: the sound cannot be read.
    """
    locator = Locator(model, question.sounds)
    if locator.origin == "score":
        return None
    return reply(question, locate_named(locator, clip), step_powers(clip))


def surest_span(model: EmbeddingModel, clip: AudioSource, name: str) -> float | None:
    """Return the probability of the surest span that `aural locate` finds; None without one or calibrated frames.

    Raises:
        AudioError: the sound cannot be read.
    """
    locator = Locator(model, (name,))
    spans = [] if locator.origin == "score" else locator.locate(clip).spans
    return max((span.confidence for span in spans), default=None)


def reply(question: SpanQuestion, located: Located, powers: NDArray[np.float64]) -> SpanReply:
    """Return the answer.

    located: the spans of the sounds of the question. powers: those of the whole sound (K,), see `step_powers`.
    """
    spans = [[span for span in located.spans if span.text == name] for name in question.sounds]
    score = min(
        min(span.confidence for span in _used(question, of_one)) if of_one else 1 - located.best[name][0]
        for name, of_one in zip(question.sounds, spans, strict=True)
    )
    if len(spans) == 1:
        return SpanReply(_one(question, spans[0], powers), score)
    text, remark = _compared(question, spans, powers)
    return SpanReply(text, score, remark)


def _used(question: SpanQuestion, spans: Sequence[Span]) -> Sequence[Span]:
    return spans[:1] if question.kind in FIRST_SPAN else spans


def _one(question: SpanQuestion, spans: Sequence[Span], powers: NDArray[np.float64]) -> str:
    if question.kind == "count":
        return times(sum(soundings(powers, span) for span in spans))
    if not spans:
        return UNHEARD
    if question.kind == "time":
        return f"{spans[0].onset_s:.1f} to {spans[0].offset_s:.1f} s"
    if question.kind == "length":
        return f"{sum(span.offset_s - span.onset_s for span in spans):.1f} s in all"
    return f"{decibels(mean_power(powers, spans)):.1f} dB of full scale"


def _compared(question: SpanQuestion, spans: Sequence[Sequence[Span]], powers: NDArray[np.float64]) -> tuple[str, str]:
    """Return the answer to a question about two sounds, and its remark."""
    (first, second), names = spans, question.sounds
    if not first and not second:
        return ("no", NEITHER) if question.is_yes_no else (NEITHER, "")
    if not (first and second):
        return _of_one_heard(question, bool(first)), f"{names[1] if first else names[0]} is {UNHEARD}"
    if question.kind in FIRST_SPAN:
        lead, remark = second[0].onset_s - first[0].onset_s, ""
        equal = "both start together"
    else:
        both = two_powers(powers, first, second)
        if both is None:
            return ("no" if question.is_yes_no else "not known"), TOGETHER
        lead = round(decibels(both[0]) - decibels(both[1]), 1)
        remark = ESTIMATED if both[2] else f"by {abs(lead):.1f} dB"
        equal = "both are equally loud"
    if question.is_yes_no:
        return ("yes" if lead > 0 else "no"), remark
    if lead == 0:
        return equal, ""
    return names[(lead < 0) != (question.kind == "quietest")], remark


def _of_one_heard(question: SpanQuestion, is_first: bool) -> str:
    """Return the answer where one of two sounds is heard; the other one counts as later and as quieter."""
    if question.kind == "before":
        return "no"
    if question.kind == "louder":
        return "yes" if is_first else "no"
    return question.sounds[is_first if question.kind == "quietest" else not is_first]


def times(count: int) -> str:
    """Return a number of times in words.

    >>> [times(n) for n in (0, 1, 2, 3)]
    ['never', 'once', 'twice', '3 times']
    """
    return NUMBERS[count] if count < len(NUMBERS) else f"{count} times"
