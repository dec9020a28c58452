"""A second opinion on questions: reads the English of a question and answers it from the truth JSON alone.

It shares no table and no code with `aural.data.simulate`. What it cannot read is a ValueError.
"""

from __future__ import annotations

import re
from typing import Any

from caption_parser import is_false, is_true

WORDS = {1: "once", 2: "twice", 3: "three times", 4: "four times"}


def answer(text: str, names: dict[str, str], truth: dict[str, Any]) -> str:
    """Return the answer to a question; `names` maps what sounds are called to their labels."""
    events = {event["label"]: event for event in truth["events"]}
    if match := re.fullmatch(r"is there (.+)\?", text):
        return "yes" if names[match[1]] in events else "no"
    if match := re.fullmatch(r"is (.+) faint\?", text):
        claim = ("faint", names[match[1]])
        if is_true(claim, truth):
            return "yes"
        if is_false(claim, truth):
            return "no"
        raise ValueError(f"cannot be said: {text}")
    if match := re.fullmatch(r"how many times is (.+) heard\?", text):
        return WORDS[len(events[names[match[1]]]["occurrences"])]
    if match := re.fullmatch(r"which is (heard first|louder), (.+) or (.+)\?", text):
        relation = "before" if match[1] == "heard first" else "louder"
        pairs = [(match[2], match[3]), (match[3], match[2])]
        true = [a for a, b in pairs if is_true((relation, names[a], names[b]), truth)]
        if len(true) != 1:
            raise ValueError(f"cannot be said: {text}")
        return true[0]
    raise ValueError(f"cannot read: {text}")


def follows(text: str, names: dict[str, str], truth: dict[str, Any]) -> str:
    """Return whether a hypothesis follows, contradicts, or neither."""
    match = re.fullmatch(r"(.+) is (heard before|louder than) (.+)", text)
    if match is None:
        raise ValueError(f"cannot read: {text}")
    relation = "before" if match[2] == "heard before" else "louder"
    a, b = names[match[1]], names[match[3]]
    if is_true((relation, a, b), truth):
        return "entailment"
    return "contradiction" if is_true((relation, b, a), truth) else "neutral"
