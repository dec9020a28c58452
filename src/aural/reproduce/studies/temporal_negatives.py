"""Fine-tune a pair of towers with sounds and captions in which two events change places (T-CLAP, arXiv 2404.17806).

Scenes of separate events with short captions. Arms, all tuned from the same base with the same scenes and captions:

    plain       InfoNCE
    ours        InfoNCE + weight * `temporal_focus` (the paper's loss), also for sounds with swapped events
    columns     `hard_negatives`: the same sounds and false captions in the denominator of the batch loss
    text-only   a scorer of the text alone, trained on the same true and false captions
    unrelated   "ours", scored with the sound of another scene

Tasks, on scenes of held-out clips, one item per scene:
    order       share of captions with swapped events that are farther from the sound than the true caption
    R@1, R@10   text-to-audio retrieval
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from aural.objectives import HardNegatives, HardNegativesConfig, InfoNCE, TemporalFocus, TemporalFocusConfig
from aural.reproduce.scene_world import Sizes, load_scenes
from aural.reproduce.studies.scene_pair import (
    Texts,
    Training,
    base_pair,
    captioned,
    info_nce,
    shortly,
    smaller,
    texts_in,
    tuned,
    with_false,
)
from aural.reproduce.studies.scene_scores import audio_rows, pair_accuracy, retrieval
from aural.reproduce.studies.text_only import text_only
from aural.reproduce.study import Scores, StudyContext

KIND = "order"


def run(
    context: StudyContext,
    *,
    base: Mapping[str, Any],
    tune: Mapping[str, Any],
    weight: float = 0.5,
    sizes: Mapping[str, Any] | None = None,
) -> Scores:
    """Return arm -> task -> scores. base, tune: fields of `Training`; weight: of the temporal loss."""
    first, second = (smaller(Training(**values), context) for values in (base, tune))
    world = load_scenes(context, Sizes(**(sizes or {})))
    train_scenes, test_scenes = shortly(world.train, 0), shortly(world.test, 1)
    texts = Texts(texts_in(train_scenes, test_scenes), world.train.frames.device)
    train, test = captioned(train_scenes, texts), captioned(test_scenes, texts)
    start = base_pair(context, world.train.frames.shape[2], texts, train, first, moment=True)
    plain, temporal = InfoNCE(), TemporalFocus(TemporalFocusConfig(masked=True))
    columns = HardNegatives(HardNegativesConfig(masked=True))

    def ours(given: Mapping[str, Tensor]) -> Tensor:
        return plain(given)["loss"] + weight * temporal(given)["loss"]

    losses = {
        "plain": info_nce(train, second.frame_dropout),
        "ours": with_false(train, [KIND], second.frame_dropout, ours),
        "columns": with_false(train, [KIND], second.frame_dropout, lambda given: columns(given)["loss"]),
    }
    scores: dict[str, dict[str, Any]] = {}
    for arm, loss in losses.items():
        pair = tuned(start, train, loss, second, context.seed + 1000)
        audio = audio_rows(pair, test.scenes.frames)
        scores[arm] = {"order": pair_accuracy(audio, pair, test, KIND), **retrieval(audio, pair, test)}
        if arm == "ours":
            scores["unrelated"] = {"order": pair_accuracy(np.roll(audio, 1, axis=0), pair, test, KIND)}
    scorer = replace(second, steps=second.steps // 2)
    scores["text-only"] = {"order": text_only(train, test, texts, [KIND], scorer, context.seed)[KIND]}
    return scores
