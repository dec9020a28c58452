"""Fine-tune a pair of towers for compositions in two stages (CompA-CLAP, arXiv 2310.08753).

Arms; all but the first are tuned from "base" for the same number of steps on the same scenes and captions:

    base         the pair as trained with InfoNCE
    plain        InfoNCE
    negatives    `hard_negatives` with captions of swapped order and swapped loudness (the paper's stage 2)
    ours         half of the steps as "negatives", half with `modular_contrast` (stage 3): the captions of a scene are
                 its full caption and the names of its events
    twice-base   the scores of "base" times two
    unrelated    "ours", scored with the sounds of another quadruple
    text-only    a scorer that never hears the sound

Tasks, on sounds of held-out clips:
    order-text, order-audio, order-group, attribute-text, ...   scores of quadruples, see `aural.reproduce.quadruples`
    group             order-group and attribute-group of the quadruples together
    order, loudness   pairs of a true and a false caption of the test scenes
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
from aural.reproduce.scene_world import Scenes, Sizes, load_scenes
from aural.reproduce.studies.scene_pair import (
    Captioned,
    Loss,
    ScenePair,
    Texts,
    Training,
    audio_rows,
    base_pair,
    batch_frames,
    captioned,
    draw,
    false_captions,
    info_nce,
    pair_accuracy,
    quadruple_rows,
    ragged,
    retrieval,
    smaller,
    texts_of,
    tuned,
    with_negatives,
)
from aural.reproduce.studies.text_only import text_only
from aural.reproduce.study import Scores, StudyContext

FALSE: tuple[str, ...] = ("order", "loudness")
EVENTS = 3
"""Highest number of events in a scene."""


def run(
    context: StudyContext, *, base: Mapping[str, Any], tune: Mapping[str, Any], sizes: Mapping[str, Any] | None = None
) -> Scores:
    """Return arm -> task -> scores. base, tune: fields of `Training`."""
    first, second = (smaller(Training(**values), context) for values in (base, tune))
    world = load_scenes(context, Sizes(**(sizes or {})))
    events = events_of(world.train)
    texts = Texts([*texts_of(world), *(name for of_scene in events for name in of_scene)], world.train.frames.device)
    train, test = captioned(world.train, texts), captioned(world.test, texts)
    objective = HardNegatives(HardNegativesConfig(masked=True))
    negatives = with_negatives(train, FALSE, second.frame_dropout, lambda given: objective(given)["loss"])
    modules = modular(train, [texts.of(of_scene) for of_scene in events], second.frame_dropout)

    start = base_pair(context, world, texts, train, first)
    half = replace(second, steps=second.steps // 2)
    pairs = {
        "base": start,
        "plain": tuned(start, train, info_nce(train, second.frame_dropout), second, context.seed),
        "negatives": tuned(start, train, negatives, second, context.seed),
        "ours": tuned(tuned(start, train, negatives, half, context.seed), train, modules, half, context.seed + 1000),
    }
    scores: dict[str, dict[str, Any]] = {}
    for arm, pair in pairs.items():
        audio = audio_rows(pair, world.test.frames)
        scores[arm] = composition_scores(pair, world, roll=0) | retrieval(audio, pair, test)
        scores[arm] |= {kind: pair_accuracy(audio, pair, test, kind) for kind in FALSE}
    scores["twice-base"] = {task: 2 * values for task, values in scores["base"].items() if task.endswith("group")}
    scores["unrelated"] = composition_scores(pairs["ours"], world, roll=1)
    scores["text-only"] = text_only(train, test, texts, FALSE, second, context.seed)
    return scores


def composition_scores(pair: ScenePair, world: Any, roll: int) -> dict[str, Any]:
    """Return the scores of the quadruples of both kinds, and the group scores of all of them."""
    of_kind = {kind: quadruple_rows(pair, world, kind, roll=roll) for kind in KINDS}
    scores = {f"{kind}-{name}": values for kind, rows in of_kind.items() for name, values in rows.items()}
    return scores | {"group": np.concatenate([of_kind[kind]["group"] for kind in KINDS])}


def events_of(scenes: Scenes) -> list[list[str]]:
    """Return what the events of each scene are called, in the order of onset."""
    return [[event["phrases"][0] for event in record["truth"]["events"]][:EVENTS] for record in scenes.records]


def modular(data: Captioned, events: Sequence[Sequence[int]], dropout: float) -> Loss:
    """Return the modular loss: full caption and names of events against false captions."""
    objective = ModularContrast()

    def loss(pair: ScenePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        frames = batch_frames(data, numbers, dropout, rng)
        full = draw([data.captions[i] for i in numbers], rng)
        parts = [events[i] if len(events[i]) > 1 else [] for i in numbers]
        positive, exists = ragged(
            pair, [[text, *of_scene] for text, of_scene in zip(full, parts, strict=True)], 1 + EVENTS
        )
        given = {"audio_emb": pair.embed_audio(frames), "logit_scale": pair.scale, "positive_text_emb": positive}
        given |= {"positive_text_mask": exists} | false_captions(pair, data, numbers, FALSE, rng)
        return objective(given)["loss"]

    return loss
