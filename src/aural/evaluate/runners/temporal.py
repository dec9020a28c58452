"""Zero-shot temporal evaluation: prompts about two sounds of a clip, one after the other, for any model.

Sinha et al. 2024, TeminAL (arXiv 2408.09269), propose ZSTE: a contrastive model is asked by prompts, without training,
first which sounds a clip holds and then how they relate in time. The prompts here are written from the events of the
manifest. Every question has two answers, so chance is 0.5.

    first, second   the class of that sound against a class that is not heard: "the sound of a" or "the sound of c"
    both            "a and b" against "a and c"
    before, after   "a before b" against "b before a", and "b after a" against "a after b"

Legend: N clips, P pairs of prompts, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from aural.core.errors import DataError
from aural.evaluate.examples import LoadedTask, meta
from aural.evaluate.kinds import KINDS
from aural.evaluate.outcome import Context, Outcome
from aural.evaluate.runners.label_outcome import prompts
from aural.evaluate.runners.pairs import PairItem, pair_outcome

PAUSE_S: Final = 0.0
"""Silence between two sounds from which they count as one after the other."""


@KINDS["temporal"].runner("zero-shot")
def temporal(context: Context, task: LoadedTask) -> Outcome:
    """Score the questions about each clip whose events are two classes, one clearly after the other.

    The manifest's rows hold the events in meta: [[onset_s, offset_s, class], ...]. The score of a task is the share of
    questions about order ("before", "after"); the outcome reports each kind of question.
    """
    card, classes = task.card, task.test.classes
    clips, audio = context.readable(task.test)
    names = dict(zip(classes, prompts(card, classes, "{}"), strict=True))
    items: list[PairItem] = []
    for n, one in enumerate(clips.rows):
        pair = in_order(meta(one).get("events", ()))
        if pair is not None and set(pair) <= set(names):
            a, b = (names[label] for label in pair)
            c = names[absent(pair, classes, n)]
            items += [(n, true, false, kind) for kind, true, false in questions(a, b, c, card.prompt)]
    if not items:
        raise DataError(f"{clips.corpus.folder}: no clip has two sounds one after the other; give events in meta")
    return pair_outcome(context, clips.ids, audio, items, scored=("before", "after"))


def in_order(events: Sequence[Sequence[object]]) -> tuple[str, str] | None:
    """Return the two classes of a clip in the order of time, or None if there are not two, or they overlap.

    >>> in_order([[2.0, 3.0, "dog"], [0.0, 0.5, "bell"], [0.6, 1.0, "bell"]])
    ('bell', 'dog')
    >>> in_order([[0.0, 2.0, "dog"], [1.0, 3.0, "bell"]]) is None
    True
    """
    spans: dict[str, tuple[float, float]] = {}
    for onset, offset, label in events:
        start, end = spans.get(str(label), (np.inf, -np.inf))
        spans[str(label)] = min(start, float(str(onset))), max(end, float(str(offset)))
    if len(spans) != 2:
        return None
    first, second = sorted(spans, key=lambda label: spans[label])
    return (first, second) if spans[second][0] - spans[first][1] > PAUSE_S else None


def absent(heard: Sequence[str], classes: Sequence[str], number: int) -> str:
    """Return a class that is not heard, another one for each clip."""
    others = [label for label in classes if label not in heard]
    if not others:
        raise DataError("the task needs a third class for its questions")
    return others[number % len(others)]


def questions(a: str, b: str, c: str, prompt: str) -> list[tuple[str, str, str]]:
    """Return (kind, true prompt, false prompt) for a sound a that is followed by b, where c is not heard.

    >>> questions("a bell", "a dog", "rain", "the sound of {}")[3]
    ('before', 'the sound of a bell before a dog', 'the sound of a dog before a bell')
    """
    asked = [
        ("first", a, c),
        ("second", b, c),
        ("both", f"{a} and {b}", f"{a} and {c}"),
        ("before", f"{a} before {b}", f"{b} before {a}"),
        ("after", f"{b} after {a}", f"{a} after {b}"),
    ]
    return [(kind, prompt.format(true), prompt.format(false)) for kind, true, false in asked]
