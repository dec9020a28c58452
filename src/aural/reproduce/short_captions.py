"""Write short captions that name the sounds of a scene in the order of time, and false ones that differ in one claim.

The captions of the simulator state the order in thirteen forms, many of them with the later sound first ("b after a").
A small text tower did not learn them in 800 steps (docs/log.md), so the studies of order use these instead.

    order      two sounds change places
    loudness   the words "loud" and "quiet" change places
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

JOINTS: Final = (", then ", " followed by ", " and then ", ", and after that ")
HEADS: Final = ("", "first ")
TOGETHER: Final = " together with "
PAUSE_S: Final = 0.2
"""Silence from which two sounds count as one after the other."""
LOUDER_DB: Final = 6.0
"""Difference of level, plain and A-weighted, from which a sound is called loud and the other one quiet."""


def separate(truth: Mapping[str, Any]) -> bool:
    """Return whether the events of a truth record (plain JSON values) follow one another with a pause."""
    events = in_order(truth)
    return all(b["onset_s"] - a["offset_s"] >= PAUSE_S for a, b in pairwise(events))


def in_order(truth: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the events of a truth record by onset."""
    return sorted(truth["events"], key=lambda event: event["onset_s"])


def caption_of(names: Sequence[str], joint: str, head: str) -> str:
    """Return names as one sentence.

    >>> caption_of(["a bell", "a dog", "rain"], ", then ", "first ")
    'first a bell, then a dog, then rain'
    """
    return (head if len(names) > 1 else "") + joint.join(names)


def with_word(word: str, name: str) -> str:
    """Return a name with an adjective.

    >>> with_word("loud", "an owl"), with_word("quiet", "rain")
    ('a loud owl', 'quiet rain')
    """
    article, _, rest = name.partition(" ")
    return f"a {word} {rest}" if article in ("a", "an") and rest else f"{word} {name}"


def loudness_words(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return "loud" and "quiet" for two events whose levels differ clearly, else an empty list."""
    if len(events) != 2:
        return []
    differences = [events[0][key] - events[1][key] for key in ("level_db", "level_dba")]
    if min(differences) >= LOUDER_DB:
        return ["loud", "quiet"]
    return ["quiet", "loud"] if max(differences) <= -LOUDER_DB else []


def write_captions(
    truth: Mapping[str, Any],
    rng: np.random.Generator,
    *,
    loudness: bool = False,
    together: bool = False,
    count: int = 2,
) -> tuple[list[str], list[dict[str, str]]]:
    """Return `count` true captions of a scene of separate events, and for each one kind -> false caption.

    A true caption has a false one of every kind that the scene allows, in the same words. loudness: half of the
    captions of two sounds of clearly different level say which one is loud. together: captions of two sounds that are
    not separate say so instead of an order, and have no false caption of that kind.
    """
    events = in_order(truth)
    joined = together and len(events) == 2 and not separate(truth)
    captions: list[str] = []
    false: list[dict[str, str]] = []
    for _ in range(count):
        names = [str(event["phrases"][int(rng.integers(len(event["phrases"])))]) for event in events]
        words = loudness_words(events) if loudness and rng.random() < 0.5 else []
        form = JOINTS[int(rng.integers(len(JOINTS)))], HEADS[int(rng.integers(len(HEADS)))]
        form = (TOGETHER, "") if joined else form
        said = [with_word(*pair) for pair in zip(words, names, strict=True)] if words else names
        captions.append(caption_of(said, *form))
        changed = {}
        if len(names) > 1 and not joined:
            first, second = sorted(int(i) for i in rng.choice(len(names), 2, replace=False))
            swapped = list(said)
            swapped[first], swapped[second] = said[second], said[first]
            changed["order"] = caption_of(swapped, *form)
        if words:
            other = [with_word(*pair) for pair in zip(words[::-1], names, strict=True)]
            changed["loudness"] = caption_of(other, *form)
        false.append(changed)
    return captions, false


def quadruple_captions(kind: str, truths: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> tuple[str, str]:
    """Return the captions of the two sounds of a quadruple of that kind (`aural.reproduce.quadruples`)."""
    form = JOINTS[int(rng.integers(len(JOINTS)))], HEADS[int(rng.integers(len(HEADS)))]
    captions = []
    for truth in truths:
        events = in_order(truth)
        names = [str(event["phrases"][0]) for event in events]
        words = loudness_words(events) if kind == "attribute" else []
        captions.append(
            caption_of([with_word(*pair) for pair in zip(words, names, strict=True)] if words else names, *form)
        )
    return captions[0], captions[1]
