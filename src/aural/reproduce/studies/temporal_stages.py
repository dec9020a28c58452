"""Teach a pair of towers that knows single sounds first several sounds, then their order (TeminAL, arXiv 2408.09269).

    base     InfoNCE on scenes of one event
    stage A  several sounds: scenes of one to three events, captions that list the sounds in a drawn order, and lists
             with a sound that is not there as false captions
    stage B  order: full captions of the same scenes, and captions with swapped events or with sounds at once that are
             not (or the other way around) as false captions

Arms: base, a (stage A), b (stage B), ab (A, then B), b-long (stage B for the steps of A and B). Controls: text-only, a
scorer that never hears the sound; unrelated, "ab" scored with the sound of another scene.

Tasks, on scenes of held-out clips, one item per scene:
    order, overlap   share of false captions of the kind that are farther from the sound than the true caption
    temporal         the mean of both over scenes that have false captions of both kinds
    listed-R@10      retrieval by lists of sounds: what the base learned must not be lost
    R@1, R@10        retrieval by full captions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from aural.objectives import HardNegatives, HardNegativesConfig
from aural.reproduce.scene_world import Scenes, Sizes, load_scenes
from aural.reproduce.studies.compositions import events_of
from aural.reproduce.studies.scene_pair import (
    Captioned,
    ScenePair,
    Texts,
    Training,
    audio_rows,
    captioned,
    fit,
    info_nce,
    pair_accuracy,
    retrieval,
    smaller,
    subset,
    texts_of,
    tuned,
    with_negatives,
)
from aural.reproduce.studies.text_only import text_only
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

KINDS: Final = ("order", "overlap")
ABSENT: Final = "listed-absent"


def run(
    context: StudyContext,
    *,
    base: Mapping[str, Any],
    stage_a: Mapping[str, Any],
    stage_b: Mapping[str, Any],
    sizes: Mapping[str, Any] | None = None,
) -> Scores:
    """Return arm -> task -> scores. base, stage_a, stage_b: fields of `Training`."""
    seed = context.seed
    first, a, b = (smaller(Training(**values), context) for values in (base, stage_a, stage_b))
    world = load_scenes(context, Sizes(**(sizes or {})))
    lists = {
        name: lists_of(scenes, part)
        for part, (name, scenes) in enumerate((("train", world.train), ("test", world.test)))
    }
    absent = absent_lists(world.train, list(world.names.values()))
    extra = [text for name in lists for of_scene in lists[name] for text in of_scene]
    texts = Texts(
        [*texts_of(world), *extra, *(text for of_scene in absent for text in of_scene)], world.train.frames.device
    )
    train, test = captioned(world.train, texts), captioned(world.test, texts)
    listed = replace(
        train,
        captions=[texts.of(of_scene) for of_scene in lists["train"]],
        negatives=[{ABSENT: texts.of(of_scene)} if of_scene else {} for of_scene in absent],
    )
    listed_test = replace(test, captions=[texts.of(of_scene) for of_scene in lists["test"]])
    objective = HardNegatives(HardNegativesConfig(masked=True))
    loss_a = with_negatives(listed, [ABSENT], a.frame_dropout, lambda given: objective(given)["loss"])
    loss_b = with_negatives(train, KINDS, b.frame_dropout, lambda given: objective(given)["loss"])

    start = ScenePair(world.train.frames.shape[2], texts, seed).to(world.train.frames.device)
    single = subset(train, [i for i, of_scene in enumerate(events_of(world.train)) if len(of_scene) == 1])
    fit(start, len(single), info_nce(single, first.frame_dropout), first, seed)
    several = tuned(start, listed, loss_a, a, seed + 1000)
    pairs = {
        "base": start,
        "a": several,
        "b": tuned(start, train, loss_b, b, seed + 2000),
        "b-long": tuned(start, train, loss_b, replace(b, steps=a.steps + b.steps), seed + 2000),
        "ab": tuned(several, train, loss_b, b, seed + 2000),
    }
    scores: dict[str, dict[str, Any]] = {}
    for arm, pair in pairs.items():
        audio = audio_rows(pair, world.test.frames)
        scores[arm] = temporal_scores(pair, audio, test) | retrieval(audio, pair, test)
        scores[arm] |= {f"listed-{name}": values for name, values in retrieval(audio, pair, listed_test).items()}
    unrelated = np.roll(audio_rows(pairs["ab"], world.test.frames), 1, axis=0)
    scores["unrelated"] = temporal_scores(pairs["ab"], unrelated, test)
    scores["text-only"] = text_only(train, test, texts, KINDS, b, seed)
    return scores


def temporal_scores(pair: ScenePair, audio: Any, test: Captioned) -> dict[str, Any]:
    """Return the accuracies of order and overlap, and their mean over scenes that have both."""
    of_kind = {kind: pair_accuracy(audio, pair, test, kind) for kind in KINDS}
    has = {kind: [n for n, false in enumerate(test.negatives) if kind in false] for kind in KINDS}
    value = {kind: dict(zip(has[kind], of_kind[kind], strict=True)) for kind in KINDS}
    both = sorted(set(has["order"]) & set(has["overlap"]))
    return of_kind | {"temporal": np.array([(value["order"][n] + value["overlap"][n]) / 2 for n in both])}


def listed(names: list[str], rng: np.random.Generator) -> str:
    """Return names in a drawn order, joined by "and": "a bell and a dog"."""
    drawn = [names[i] for i in rng.permutation(len(names))]
    return drawn[0] if len(drawn) == 1 else ", ".join(drawn[:-1]) + " and " + drawn[-1]


def lists_of(scenes: Scenes, part: int) -> list[list[str]]:
    """Return two lists of the sounds of each scene."""
    return [
        [listed(names, generator(0, ITEM, part, number, draw)) for draw in range(2)]
        for number, names in enumerate(events_of(scenes))
    ]


def absent_lists(scenes: Scenes, names: list[str]) -> list[list[str]]:
    """Return for each scene of several events two lists in which one sound is replaced by one that is not there."""
    found: list[list[str]] = []
    for number, (heard, record) in enumerate(zip(events_of(scenes), scenes.records, strict=True)):
        rng = generator(0, ITEM, 2, number)
        said = {phrase for event in record["truth"]["events"] for phrase in event["phrases"]}
        others = [name for name in names if name not in said]
        false = []
        for _ in range(2 if len(heard) > 1 and others else 0):
            changed = list(heard)
            changed[int(rng.integers(len(heard)))] = others[int(rng.integers(len(others)))]
            false.append(listed(changed, rng))
        found.append(false)
    return found
