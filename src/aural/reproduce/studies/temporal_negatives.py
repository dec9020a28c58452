"""Fine-tune a pair of towers with false captions in which two events change places (T-CLAP, arXiv 2404.17806).

Arms, all tuned from the same base with the same scenes and captions:

    plain       InfoNCE
    ours        InfoNCE + 0.5 * `temporal_focus` (the paper's loss)
    columns     `hard_negatives`: the same false captions in the denominator of the batch loss
    text-only   a scorer that never hears the sound, trained on the same true and false captions
    unrelated   "ours", scored with the sound of another scene

Tasks, on scenes of held-out clips, one item per scene:
    order       share of captions with swapped events that are farther from the sound than the true caption
    R@1, R@10   text-to-audio retrieval
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from aural.objectives import HardNegatives, HardNegativesConfig, InfoNCE, TemporalFocus, TemporalFocusConfig
from aural.reproduce.scene_world import Sizes, load_scenes
from aural.reproduce.studies.scene_pair import (
    Texts,
    Training,
    audio_rows,
    base_pair,
    captioned,
    info_nce,
    pair_accuracy,
    retrieval,
    smaller,
    texts_of,
    tuned,
    with_negatives,
)
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
    texts = Texts(texts_of(world), world.train.frames.device)
    train, test = captioned(world.train, texts), captioned(world.test, texts)
    start = base_pair(context, world, texts, train, first)
    plain, temporal = InfoNCE(), TemporalFocus(TemporalFocusConfig(masked=True))
    columns = HardNegatives(HardNegativesConfig(masked=True))

    def ours(given: Mapping[str, Tensor]) -> Tensor:
        return plain(given)["loss"] + weight * temporal(given)["loss"]

    losses = {
        "plain": info_nce(train, second.frame_dropout),
        "ours": with_negatives(train, [KIND], second.frame_dropout, ours),
        "columns": with_negatives(train, [KIND], second.frame_dropout, lambda given: columns(given)["loss"]),
    }
    scores: dict[str, dict[str, Any]] = {}
    for arm, loss in losses.items():
        pair = tuned(start, train, loss, second, context.seed)
        audio = audio_rows(pair, world.test.frames)
        scores[arm] = {"order": pair_accuracy(audio, pair, test, KIND), **retrieval(audio, pair, test)}
        if arm == "ours":
            scores["unrelated"] = {"order": pair_accuracy(np.roll(audio, 1, axis=0), pair, test, KIND)}
    scores["text-only"] = {"order": text_only(train, test, texts, [KIND], second, context.seed)[KIND]}
    return scores
