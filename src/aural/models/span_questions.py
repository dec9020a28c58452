"""Read questions that spans of `aural locate` answer: number, time, length, order and level of sounds.

    how often does a dog bark?  how many times is a bell heard?      never, once, twice, 3 times
    when is a bell heard?  when does a dog bark?                     1.2 to 1.8 s
    how long is a bell heard?  how long does the rain last?          1.2 s in all
    how loud is a bell?                                              -20.3 dB of full scale
    which comes first, a bell or a dog?                              a bell
    is a bell before a dog?  is a bell heard after a dog?            yes, no
    which is louder, a bell or a dog?  which is quieter, ...?        a bell
    is a bell louder than a dog?  is a bell quieter than a dog?      yes, no

Forms are closed patterns; no words are guessed. `aural.models.span_replies` answers them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from aural.core.errors import ConfigError

Kind = Literal["count", "time", "length", "level", "first", "before", "louder", "loudest", "quietest"]

FORMS: Final = (
    '"how often is ... heard?", "when is ... heard?", "how long is ... heard?", "how loud is ...?", "which comes '
    'first, ... or ...?", "is ... before ...?", "which is louder, ... or ...?" and "is ... louder than ...?"'
)
HEARD: Final = r"(?:heard|audible|there)"
NO_NAMES: Final = frozenset(("heard", "audible", "there", "it", "this", "that", "they"))
NAME: Final = r"(?:the sound of )?(\S.*?)"
VERB: Final = r"(?: (?:sound|occur|happen|appear|come|play|last))?"
HEAR: Final = rf"(?:can|do) (?:you|i|we|one) hear {NAME}"
DOES: Final = rf"(?:does|do) {NAME}{VERB}"
CLAUSES: Final = rf"(?:{HEAR}|(?:is|are) (?:there )?{NAME}(?: {HEARD})?|{DOES})"
TWO: Final = rf"[,:]? {NAME},? or {NAME}"
FORMS_OF_KIND: Final[tuple[tuple[Kind, str], ...]] = (
    ("count", rf"how (?:often|many times) {CLAUSES}"),
    ("time", rf"when {CLAUSES}"),
    ("length", rf"(?:for )?how long (?:{HEAR}|(?:is|are) {NAME} {HEARD}|{DOES})"),
    ("level", rf"how loud (?:is|are) {NAME}(?: {HEARD})?"),
    ("first", rf"(?:which|what) (?:is heard|comes|is|sounds|occurs) first{TWO}"),
    ("loudest", rf"(?:which|what) (?:is|sounds) (?:the )?louder{TWO}"),
    ("quietest", rf"(?:which|what) (?:is|sounds) (?:the )?(?:quieter|softer){TWO}"),
)
PATTERNS: Final = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in FORMS_OF_KIND}
RELATION: Final = re.compile(
    rf"(?:is|are|does|do) (?!there ){NAME}(?: {HEARD}|{VERB})? (before|after|(?:louder|quieter|softer) than) {NAME}"
    rf"(?: (?:is|are)(?: {HEARD})?)?",
    re.IGNORECASE,
)
RELATIONS: Final[dict[str, tuple[Kind, bool]]] = {
    "before": ("before", False),
    "after": ("before", True),
    "louder than": ("louder", False),
    "quieter than": ("louder", True),
    "softer than": ("louder", True),
}
"""The kind of question, and whether the second sound becomes the first one."""


@dataclass(frozen=True)
class SpanQuestion:
    """A question that spans answer: what it requests, and the one or two sounds that it names.

    kind: "count", "time", "length" or "level" of one sound, "first", "loudest" or "quietest" of two, "before" or
    "louder" (whether the first sound is before the second, or louder).
    """

    kind: Kind
    sounds: tuple[str, ...]

    @property
    def is_yes_no(self) -> bool:
        """Return whether the answer is yes or no."""
        return self.kind in ("before", "louder")


def span_question(question: str) -> SpanQuestion | None:
    """Return what a question requests; None for other forms.

    Raises:
        ConfigError: it names the same sound twice.

    >>> span_question("How often does the dog bark?")
    SpanQuestion(kind='count', sounds=('the dog bark',))
    >>> span_question("is a bell heard after rain?")
    SpanQuestion(kind='before', sounds=('rain', 'a bell'))
    >>> span_question("is a bell quieter than rain?")
    SpanQuestion(kind='louder', sounds=('rain', 'a bell'))
    """
    words = " ".join(question.split()).rstrip("? ")
    for kind, pattern in PATTERNS.items():
        if match := pattern.fullmatch(words):
            return _asked(kind, [name for name in match.groups() if name], question)
    if match := RELATION.fullmatch(words):
        first, relation, second = match.groups()
        of_kind, swapped = RELATIONS[relation.lower()]
        return _asked(of_kind, [second, first] if swapped else [first, second], question)
    return None


def _asked(kind: Kind, sounds: Sequence[str], question: str) -> SpanQuestion | None:
    lowered = {name.lower() for name in sounds}
    if lowered & NO_NAMES:
        return None
    if len(lowered) < len(sounds):
        raise ConfigError(f'"{question}" names the same sound twice; name two different sounds')
    return SpanQuestion(kind, tuple(sounds))
