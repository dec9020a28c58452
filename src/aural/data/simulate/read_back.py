"""The claims that a written caption makes about the order of sounds, and the share of them that is true.

A reader for captions whose words come from a model: it looks for names of sounds and for the words between them, and
ignores everything else. It shares no code with the grammars that write captions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from aural.data.simulate.claims import Claim

NUMBERS = {"once": 1, "twice": 2, "two times": 2, "thrice": 3, "three times": 3, "four times": 4}


@dataclass(frozen=True)
class Names:
    """A table of what sounds may be called, in small letters, and the label of each name."""

    label: Mapping[str, str]

    def __hash__(self) -> int:
        return hash(tuple(self.label.items()))


@lru_cache
def _pattern(names: Names) -> re.Pattern[str]:
    options = "|".join(re.escape(one) for one in sorted(names.label, key=len, reverse=True))
    return re.compile(rf"\b({options})\b(?: ({'|'.join(NUMBERS)})\b)?")


def read_claims(text: str, names: Names) -> tuple[Claim, ...]:
    """Return the claims of a caption that names sounds in the order of time.

    A sound that is named is present; sounds named one after the other are in this order; a number after a name counts.

    >>> names = Names({"a bell": "bell", "a dog": "dog"})
    >>> read_claims("first a bell twice, then a dog", names)
    (('present', 'bell'), ('present', 'dog'), ('count', 'bell', 2), ('before', 'bell', 'dog'))
    """
    counts: dict[str, int] = {}
    labels: dict[str, None] = {}
    for match in _pattern(names).finditer(text.lower()):
        label = names.label[match[1]]
        labels.setdefault(label)
        if match[2]:
            counts.setdefault(label, NUMBERS[match[2]])
    present: list[Claim] = [("present", label) for label in labels]
    counted: list[Claim] = [("count", label, number) for label, number in counts.items()]
    return (*present, *counted, *(("before", a, b) for a, b in combinations(labels, 2)))


def true_share(text: str, names: Names, judge: Callable[[Claim], bool | None]) -> float:
    """Return the share of a caption's claims that are true; 0 for a caption without claims.

    A claim that the scene leaves open (None) counts half.
    """
    verdicts = [judge(claim) for claim in read_claims(text, names)]
    return sum(0.5 if verdict is None else float(verdict) for verdict in verdicts) / max(len(verdicts), 1)


def event_f1(text: str, names: Names, heard: set[str]) -> float:
    """Return F1 of the labels that a caption names against those that sound.

    >>> round(event_f1("a bell", Names({"a bell": "bell"}), {"bell", "dog"}), 3)
    0.667
    """
    said = {str(label) for kind, label, *_ in read_claims(text, names) if kind == "present"}
    right = len(said & heard)
    return 2 * right / (len(said) + len(heard)) if said or heard else 1.0
