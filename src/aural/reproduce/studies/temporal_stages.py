"""Teach a pair of towers that knows single sounds first several sounds, then their order (TeminAL, arXiv 2408.09269).

    base     InfoNCE on scenes of one event
    stage A  several sounds: scenes of one to three separate events, captions that list the sounds in a drawn order, and
             lists with a sound that is not there as false captions
    stage B  order: short captions in the order of time; sounds and captions with swapped events as false ones

Arms: base, a (stage A), b (stage B), ab (A, then B), b-long (stage B for the steps of A and B). Controls: text-only, a
scorer of the text alone; unrelated, "ab" scored with the sound of another scene.

Tasks, on scenes of held-out clips, one item per scene:
    order         share of captions with swapped events that are farther from the sound than the true caption
    listed-R@10   retrieval by lists of sounds
    R@1, R@10     retrieval by captions
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
    ScenePair,
    Texts,
    Training,
    captioned,
    fit,
    info_nce,
    shortly,
    smaller,
    subset,
    texts_in,
    tuned,
    with_false,
)
from aural.reproduce.studies.scene_scores import audio_rows, pair_accuracy, retrieval
from aural.reproduce.studies.text_only import text_only
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

KIND: Final = "order"
ABSENT: Final = "absent"
LISTS: Final = 2
"""Lists of the sounds of a scene."""


def run(
    context: StudyContext,
    *,
    base: Mapping[str, Any],
    stage_a: Mapping[str, Any],
    stage_b: Mapping[str, Any],
    sizes: Mapping[str, Any] | None = None,
    few: int | None = None,
) -> Scores:
    """Return arm -> task -> scores.

    base, stage_a, stage_b: fields of `Training`; few: number of scenes of stage B, default all.
    """
    seed = context.seed
    first, a, b = (smaller(Training(**values), context) for values in (base, stage_a, stage_b))
    world = load_scenes(context, Sizes(**(sizes or {})))
    scenes = {"train": shortly(world.train, 0), "test": shortly(world.test, 1)}
    lists = {name: lists_of(one, list(world.names.values()), part) for part, (name, one) in enumerate(scenes.items())}
    extra = [text for one in lists.values() for of_scene in one for pair in of_scene for text in pair]
    texts = Texts([*texts_in(*scenes.values()), *extra], world.train.frames.device)
    train, test = (captioned(scenes[name], texts) for name in ("train", "test"))
    listed_train, listed_test = (
        replace(
            data,
            captions=[[texts.number[true] for true, _ in of_scene] for of_scene in lists[name]],
            false=[[{ABSENT: texts.number[false]} for _, false in of_scene] for of_scene in lists[name]],
        )
        for name, data in (("train", train), ("test", test))
    )
    objective = HardNegatives(HardNegativesConfig(masked=True))
    loss_a = with_false(listed_train, [ABSENT], a.frame_dropout, lambda given: objective(given)["loss"])
    ordered = train if few is None else subset(train, range(min(few, len(train))))
    loss_b = with_false(ordered, [KIND], b.frame_dropout, lambda given: objective(given)["loss"])

    start = ScenePair(world.train.frames.shape[2], texts, seed, moment=True).to(world.train.frames.device)
    single = subset(train, [i for i, of_scene in enumerate(events_of(scenes["train"])) if len(of_scene) == 1])
    fit(start, len(single), info_nce(single, first.frame_dropout), first, seed)
    several = tuned(start, train, loss_a, a, seed + 1000)
    pairs = {
        "base": start,
        "a": several,
        "b": tuned(start, ordered, loss_b, b, seed + 2000),
        "b-long": tuned(start, ordered, loss_b, replace(b, steps=a.steps + b.steps), seed + 2000),
        "ab": tuned(several, ordered, loss_b, b, seed + 2000),
    }
    scores: dict[str, dict[str, Any]] = {}
    for arm, pair in pairs.items():
        audio = audio_rows(pair, test.scenes.frames)
        scores[arm] = {"order": pair_accuracy(audio, pair, test, KIND), **retrieval(audio, pair, test)}
        scores[arm] |= {f"listed-{name}": values for name, values in retrieval(audio, pair, listed_test).items()}
    unrelated = np.roll(audio_rows(pairs["ab"], test.scenes.frames), 1, axis=0)
    scores["unrelated"] = {"order": pair_accuracy(unrelated, pairs["ab"], test, KIND)}
    scores["text-only"] = text_only(train, test, texts, [KIND], replace(b, steps=b.steps // 2), seed)
    return scores


def lists_of(scenes: Scenes, names: list[str], part: int) -> list[list[tuple[str, str]]]:
    """Return for each scene pairs of a list of its sounds and one in which a sound is replaced by an absent one."""
    result = []
    for number, (heard, record) in enumerate(zip(events_of(scenes), scenes.records, strict=True)):
        rng = generator(0, ITEM, 5, part, number)
        said = {phrase for event in record["truth"]["events"] for phrase in event["phrases"]}
        others = [name for name in names if name not in said]
        of_scene = []
        for _ in range(LISTS):
            order = [heard[i] for i in rng.permutation(len(heard))]
            changed = list(order)
            changed[int(rng.integers(len(changed)))] = others[int(rng.integers(len(others)))]
            of_scene.append((joined(order), joined(changed)))
        result.append(of_scene)
    return result


def joined(names: list[str]) -> str:
    """Return names as a list.

    >>> joined(["a bell"]), joined(["a bell", "a dog", "rain"])
    ('a bell', 'a bell, a dog and rain')
    """
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
