"""Fine-tune a pair of towers for compositions in two stages (CompA-CLAP, arXiv 2310.08753).

Scenes of separate events with short captions; half of the captions of two sounds of clearly different level say which
one is loud. Arms; all but the first are tuned from "base" for the same number of steps on the same scenes and captions:

    base         the pair as trained with InfoNCE
    plain        InfoNCE
    negatives    `hard_negatives` with captions of swapped order and swapped loudness, and with sounds of swapped order
                 (the paper's stage 2)
    ours         half of the steps as "negatives", half with `modular_contrast` (stage 3): the captions of a scene are
                 its full caption and the names of its events
    twice-base   the scores of "base" times two
    unrelated    "ours", scored with the sounds of another quadruple
    text-only    a scorer of the text alone

Tasks, on sounds of held-out clips:
    order-text, order-audio, order-group, attribute-text, ...   scores of quadruples, see `aural.reproduce.quadruples`
    group             order-group and attribute-group of the quadruples together
    order, loudness   true and false captions of the test scenes
    R@1, R@10         text-to-audio retrieval of the test scenes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from aural.objectives import HardNegatives, HardNegativesConfig, ModularContrast
from aural.reproduce.quadruples import KINDS
from aural.reproduce.scene_world import Scenes, SceneWorld, Sizes, load_scenes
from aural.reproduce.short_captions import in_order, quadruple_captions
from aural.reproduce.studies.scene_pair import (
    Captioned,
    Loss,
    ScenePair,
    Texts,
    Training,
    base_pair,
    batch_frames,
    captioned,
    info_nce,
    ragged,
    shortly,
    smaller,
    texts_in,
    tuned,
    with_false,
)
from aural.reproduce.studies.scene_scores import audio_rows, pair_accuracy, quadruple_rows, retrieval
from aural.reproduce.studies.text_only import text_only
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

FALSE: tuple[str, ...] = ("order", "loudness")
EVENTS = 3
"""Highest number of events in a scene."""


def run(
    context: StudyContext, *, base: Mapping[str, Any], tune: Mapping[str, Any], sizes: Mapping[str, Any] | None = None
) -> Scores:
    """Return arm -> task -> scores. base, tune: fields of `Training`."""
    first, second = (smaller(Training(**values), context) for values in (base, tune))
    world = load_scenes(context, Sizes(**(sizes or {})))
    train_scenes, test_scenes = shortly(world.train, 0, loudness=True), shortly(world.test, 1, loudness=True)
    pairs = [
        quadruple_captions(one.kind, one.truths, generator(0, ITEM, 4, n)) for n, one in enumerate(world.quadruples)
    ]
    events = events_of(train_scenes)
    extra = [*(text for one in pairs for text in one), *(name for of_scene in events for name in of_scene)]
    texts = Texts([*texts_in(train_scenes, test_scenes), *extra], world.train.frames.device)
    train, test = captioned(train_scenes, texts), captioned(test_scenes, texts)
    objective = HardNegatives(HardNegativesConfig(masked=True))
    negatives = with_false(train, FALSE, second.frame_dropout, lambda given: objective(given)["loss"])
    modules = modular(train, [texts.of(of_scene) for of_scene in events], second.frame_dropout)

    start = base_pair(context, world.train.frames.shape[2], texts, train, first, moment=True)
    seed, half = context.seed + 1000, replace(second, steps=second.steps // 2)
    towers = {
        "base": start,
        "plain": tuned(start, train, info_nce(train, second.frame_dropout), second, seed),
        "negatives": tuned(start, train, negatives, second, seed),
        "ours": tuned(tuned(start, train, negatives, half, seed), train, modules, half, seed + 1000),
    }
    scores: dict[str, dict[str, Any]] = {}
    for arm, pair in towers.items():
        audio = audio_rows(pair, test.scenes.frames)
        scores[arm] = composition_scores(pair, world, pairs, roll=0) | retrieval(audio, pair, test)
        scores[arm] |= {kind: pair_accuracy(audio, pair, test, kind) for kind in FALSE}
    scores["twice-base"] = {task: 2 * values for task, values in scores["base"].items() if task.endswith("group")}
    scores["unrelated"] = composition_scores(towers["ours"], world, pairs, roll=1)
    scores["text-only"] = text_only(train, test, texts, FALSE, half, context.seed)
    return scores


def composition_scores(
    pair: ScenePair, world: SceneWorld, captions: Sequence[tuple[str, str]], roll: int
) -> dict[str, Any]:
    """Return the scores of the quadruples of both kinds, and the group scores of all of them."""
    of_kind = {kind: quadruple_rows(pair, world, kind, captions, roll=roll) for kind in KINDS}
    scores = {f"{kind}-{name}": values for kind, rows in of_kind.items() for name, values in rows.items()}
    return scores | {"group": np.concatenate([of_kind[kind]["group"] for kind in KINDS])}


def events_of(scenes: Scenes) -> list[list[str]]:
    """Return what the events of each scene are called, in the order of onset."""
    return [[event["phrases"][0] for event in in_order(record["truth"])][:EVENTS] for record in scenes.records]


def modular(data: Captioned, events: Sequence[Sequence[int]], dropout: float) -> Loss:
    """Return the modular loss: full caption and names of events against false captions in the words of the full one."""
    objective = ModularContrast()

    def loss(pair: ScenePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        which = [int(rng.integers(len(data.captions[i]))) for i in numbers]
        rows = [
            [data.captions[i][k], *(events[i] if len(events[i]) > 1 else ())]
            for i, k in zip(numbers, which, strict=True)
        ]
        false = [list(data.false[i][k].values()) for i, k in zip(numbers, which, strict=True)]
        positive, exists = ragged(pair, rows, 1 + EVENTS)
        hard, wrong = ragged(pair, false, len(FALSE))
        frames = batch_frames(data, numbers, dropout, rng)
        given = {"audio_emb": pair.embed_audio(frames), "logit_scale": pair.scale, "hard_text_emb": hard}
        given |= {"positive_text_emb": positive, "positive_text_mask": exists, "hard_text_mask": wrong}
        return objective(given)["loss"]

    return loss
