"""Quadruples: two sounds of the same two events in different compositions, with the caption of each.

Kinds, after CompA (Ghosh et al. 2024, arXiv 2310.08753):
    order       the events change places in time, the captions their order
    attribute   the events exchange their levels; the captions say which one is louder

Every caption is true of its sound and false of the other one, by the truth records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from aural.data.simulate.caption import true_content
from aural.data.simulate.claims import Content, Judge
from aural.data.simulate.config import SceneConfig
from aural.data.simulate.grammar import Style, say
from aural.data.simulate.truth import Event, SceneTruth

KINDS: Final = ("order", "attribute")


@dataclass(frozen=True)
class Quadruple:
    """Two truth records (as `SceneTruth.to_facts` gives them) and their captions."""

    kind: str
    captions: tuple[str, str]
    truths: tuple[dict[str, Any], dict[str, Any]]


def quadruple_of(kind: str, truth: SceneTruth, config: SceneConfig, rng: np.random.Generator) -> Quadruple | None:
    """Return the quadruple of a scene of two separate events, or None if the scene allows none of this kind."""
    content = replace(true_content(Judge(truth, config), rng), background=None, room=None)
    if len(truth.events) != 2 or [len(group) for group in content.groups] != [1, 1]:
        return None
    groups = tuple((replace(group[0], faint=False, voices=None),) for group in content.groups)
    if kind == "order":
        other = with_order(truth, (1, 0))
        contents = Content(groups), Content(groups[::-1])
    else:
        first, second = (group[0].label for group in groups)
        louder = next(
            (pair for pair in ((first, second), (second, first)) if Judge(truth, config)(("louder", *pair))), None
        )
        if louder is None:
            return None
        other = with_levels_swapped(truth)
        contents = Content(groups, louder), Content(groups, louder[::-1])
    if not _distinct(contents, (truth, other), config):
        return None
    style, phrases = Style.draw(rng), {event.label: event.phrases for event in truth.events}
    first_caption, second_caption = (say(one, style, phrases) for one in contents)
    return Quadruple(kind, (first_caption, second_caption), (truth.to_facts(), other.to_facts()))


def _distinct(contents: Sequence[Content], truths: Sequence[SceneTruth], config: SceneConfig) -> bool:
    """Return whether each content is true of its scene alone."""
    for n, content in enumerate(contents):
        verdicts = [[Judge(truth, config)(claim) for claim in content.claims()] for truth in truths]
        if not all(verdicts[n]) or False not in verdicts[1 - n]:
            return False
    return True


def with_order(truth: SceneTruth, order: Sequence[int]) -> SceneTruth:
    """Return the scene with its separate events in another order. The pauses between events stay where they are."""
    pauses = [b.onset_s - a.offset_s for a, b in pairwise(truth.events)]
    events, at = [], truth.events[0].onset_s
    for number, pause in zip(order, (*pauses, 0.0), strict=True):
        event = truth.events[number]
        events.append(shifted(event, at - event.onset_s))
        at += event.offset_s - event.onset_s + pause
    return replace(truth, events=tuple(events))


def with_levels_swapped(truth: SceneTruth) -> SceneTruth:
    """Return the scene of two events with the levels exchanged."""
    first, second = truth.events
    return replace(truth, events=(_at_level(first, second.level_db), _at_level(second, first.level_db)))


def shifted(event: Event, seconds: float) -> Event:
    """Return the event moved in time."""
    occurrences = tuple(
        replace(o, onset_s=o.onset_s + seconds, offset_s=o.offset_s + seconds) for o in event.occurrences
    )
    return replace(event, onset_s=event.onset_s + seconds, offset_s=event.offset_s + seconds, occurrences=occurrences)


def _at_level(event: Event, level_db: float) -> Event:
    return replace(event, level_db=level_db, level_dba=event.level_dba + level_db - event.level_db)


def quadruple_scores(similarity: np.ndarray[Any, Any]) -> Mapping[str, np.ndarray[Any, Any]]:
    """Return the text, audio and group score of each quadruple from the similarities (Q, sound, caption), 0 or 1.

    text: each sound is nearer to its caption than to the other one. audio: each caption is nearer to its sound. group:
    both. Random similarities score 1/4, 1/4 and 1/6.

    Source: Thrush et al. 2022, Winoground (arXiv 2204.03162), section 4.1; CompA uses the same scores.

    >>> similarity = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.8], [0.5, 0.6]]])
    >>> {name: score.tolist() for name, score in quadruple_scores(similarity).items()}
    {'text': [1.0, 1.0], 'audio': [1.0, 0.0], 'group': [1.0, 0.0]}
    """
    s = np.asarray(similarity)
    text = (s[:, 0, 0] > s[:, 0, 1]) & (s[:, 1, 1] > s[:, 1, 0])
    audio = (s[:, 0, 0] > s[:, 1, 0]) & (s[:, 1, 1] > s[:, 0, 1])
    return {
        name: value.astype(np.float64) for name, value in (("text", text), ("audio", audio), ("group", text & audio))
    }
