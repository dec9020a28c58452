"""Answer questions about number, time and order of sounds from the spans of `aural locate`.

    how often does a dog bark?  how many times is a bell heard?      never, once, twice, 3 times
    when is a bell heard?  when does a dog bark?                     1.2 to 1.8 s
    which comes first, a bell or a dog?                              a bell
    is a bell before a dog?  is a bell heard after a dog?            yes, no (also where one of them is not heard)

Forms are closed patterns; no words are guessed. A sound that has no span is reported as not heard.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from aural.core.errors import ConfigError

if TYPE_CHECKING:
    from aural.models.locate import Located, Span

Kind = Literal["count", "time", "first", "before"]

FORMS: Final = (
    '"how often is ... heard?", "when is ... heard?", "which comes first, ... or ...?" and "is ... before ...?"'
)
NUMBERS: Final = ("never", "once", "twice")
HEARD: Final = r"(?:heard|audible|there)"
NAME: Final = r"(?:the sound of )?(\S.*?)"
VERB: Final = r"(?: (?:sound|occur|happen|appear|come|play))?"
CLAUSES: Final = (
    rf"(?:can|do) (?:you|i|we|one) hear {NAME}",
    rf"(?:is|are) (?:there )?{NAME}(?: {HEARD})?",
    rf"(?:does|do) {NAME}{VERB}",
)
PATTERNS: Final[dict[Kind, re.Pattern[str]]] = {
    "count": re.compile(rf"how (?:often|many times) (?:{'|'.join(CLAUSES)})", re.IGNORECASE),
    "time": re.compile(rf"when (?:{'|'.join(CLAUSES)})", re.IGNORECASE),
    "first": re.compile(
        rf"(?:which|what) (?:is heard|comes|is|sounds|occurs) first[,:]? {NAME},? or {NAME}", re.IGNORECASE
    ),
}
BEFORE: Final = re.compile(
    rf"(?:is|are|does|do) (?!there ){NAME}(?: {HEARD}|{VERB})? (before|after) {NAME}(?: (?:is|are) {HEARD})?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SpanQuestion:
    """A question that spans answer: what it requests, and the one or two sounds that it names.

    kind: "count", "time", "first" (which of two), or "before" (whether the first sound is before the second).
    """

    kind: Kind
    sounds: tuple[str, ...]


@dataclass(frozen=True)
class SpanReply:
    """An answer in words, and the least confidence of what it rests on.

    score: the confidence of a span that the answer uses, or 1 minus the highest probability of a sound without one.
    """

    text: str
    score: float


def span_question(question: str) -> SpanQuestion | None:
    """Return what a question requests; None for other forms.

    Raises:
        ConfigError: it names the same sound twice.

    >>> span_question("How often does the dog bark?")
    SpanQuestion(kind='count', sounds=('the dog bark',))
    >>> span_question("is a bell heard after rain?")
    SpanQuestion(kind='before', sounds=('rain', 'a bell'))
    """
    words = " ".join(question.split()).rstrip("? ")
    for kind, pattern in PATTERNS.items():
        if match := pattern.fullmatch(words):
            return _checked(kind, [name for name in match.groups() if name], question)
    if match := BEFORE.fullmatch(words):
        first, relation, second = match.groups()
        return _checked("before", [first, second] if relation.lower() == "before" else [second, first], question)
    return None


def _checked(kind: Kind, sounds: Sequence[str], question: str) -> SpanQuestion:
    if len({name.lower() for name in sounds}) < len(sounds):
        raise ConfigError(f'"{question}" names the same sound twice; name two different sounds')
    return SpanQuestion(kind, tuple(sounds))


def reply(question: SpanQuestion, located: Located) -> SpanReply:
    """Return the answer. located: the result of `Locator` for the sounds of the question."""
    spans = [[span for span in located.spans if span.text == name] for name in question.sounds]
    score = min(
        min(span.confidence for span in _used(question, of_one)) if of_one else 1 - located.best[name][0]
        for name, of_one in zip(question.sounds, spans, strict=True)
    )
    if question.kind == "count":
        return SpanReply(times(len(spans[0])), score)
    if question.kind == "time":
        return SpanReply(seconds(spans[0][0]) if spans[0] else "not heard", score)
    return SpanReply(_order(question, spans), score)


def _used(question: SpanQuestion, spans: Sequence[Span]) -> Sequence[Span]:
    return spans if question.kind == "count" else spans[:1]


def _order(question: SpanQuestion, spans: Sequence[Sequence[Span]]) -> str:
    (first, second), names = spans, question.sounds
    if question.kind == "before":
        return "yes" if first and second and first[0].onset_s < second[0].onset_s else "no"
    missing = [name for name, of_one in zip(names, spans, strict=True) if not of_one]
    if len(missing) == 2:
        return "neither is heard"
    if missing:
        return f"{names[0] if first else names[1]} ({missing[0]} is not heard)"
    if first[0].onset_s == second[0].onset_s:
        return "both start together"
    return names[0] if first[0].onset_s < second[0].onset_s else names[1]


def times(count: int) -> str:
    """Return a number of times in words.

    >>> [times(n) for n in (0, 1, 2, 3)]
    ['never', 'once', 'twice', '3 times']
    """
    return NUMBERS[count] if count < len(NUMBERS) else f"{count} times"


def seconds(span: Span) -> str:
    """Return start and end of a span in seconds with one decimal."""
    return f"{span.onset_s:.1f} to {span.offset_s:.1f} s"
