"""Plant false captions, reject the ones with the lowest score, and train on the rest (AudioSetCaps, arXiv 2411.18953).

The training scenes are split into two halves. A pair of towers is trained on the first half with true captions; it is
the scorer. In the second half a share of the captions is replaced by a false one that names a sound which is not there.
New pairs of towers are trained on the second half, from the same weights and for the same number of steps:

    unrefined    with all captions
    refined      without the captions of the lowest scores, as many as were planted
    random       without as many captions, drawn at random
    clean        without the planted captions
    text-only    the scores of a scorer that never hears the sound, for the AUROC

Tasks:
    auroc        how well the score separates true from planted captions of the second half; one number
    precision    share of the rejected captions that were planted; one number
    R@1, R@10    text-to-audio retrieval of scenes of held-out clips, one item per scene
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.data.refine import refined
from aural.evaluate.metrics.labels import auroc
from aural.reproduce.scene_world import Sizes, load_scenes
from aural.reproduce.studies.scene_pair import (
    Captioned,
    ScenePair,
    Texts,
    Training,
    audio_rows,
    captioned,
    fit,
    info_nce,
    retrieval,
    smaller,
    subset,
    text_rows,
    texts_of,
)
from aural.reproduce.studies.text_only import train_scorer
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

KIND: Final = "absent"


def run(
    context: StudyContext, *, train: Mapping[str, Any], planted: float = 0.2, sizes: Mapping[str, Any] | None = None
) -> Scores:
    """Return arm -> task -> scores. train: fields of `Training`; planted: share of false captions."""
    seed, training = context.seed, smaller(Training(**train), context)
    world = load_scenes(context, Sizes(**(sizes or {})))
    texts = Texts(texts_of(world), world.train.frames.device)
    data, test = captioned(world.train, texts), captioned(world.test, texts)
    order = generator(seed, ITEM, 0, 2).permutation(len(data))
    half = len(data) // 2
    first, second = subset(data, order[:half]), subset(data, order[half:])
    noisy, false = plant(second, planted, generator(seed, ITEM, 1, 2))

    def trained(on: Captioned) -> ScenePair:
        pair = ScenePair(world.train.frames.shape[2], texts, seed).to(world.train.frames.device)
        fit(pair, len(on), info_nce(on, training.frame_dropout), training, seed)
        return pair

    scores = fit_of(trained(first), noisy)
    kept = {
        "unrefined": np.arange(len(noisy)),
        "refined": refined(scores, share=1 - planted),
        "random": np.sort(generator(seed, ITEM, 2, 2).permutation(len(noisy))[: round((1 - planted) * len(noisy))]),
        "clean": np.flatnonzero(~false),
    }
    result: dict[str, dict[str, Any]] = {}
    for arm, numbers in kept.items():
        pair = trained(subset(noisy, numbers))
        result[arm] = retrieval(audio_rows(pair, world.test.frames), pair, test)
    for arm in ("refined", "random"):
        rejected = np.setdiff1d(np.arange(len(noisy)), kept[arm])
        result[arm]["precision"] = false[rejected].mean()
    scorer = train_scorer(first, texts, [KIND], training, seed)
    result["refined"]["auroc"] = area(scores, false)
    result["text-only"] = {"auroc": area(scorer.score([one[0] for one in noisy.captions]), false)}
    return result


def plant(data: Captioned, share: float, rng: np.random.Generator) -> tuple[Captioned, NDArray[np.bool_]]:
    """Replace the captions of a share of the scenes by a false one; every scene keeps one caption.

    Return the scenes and which of them have a false caption.
    """
    can = np.array([n for n, of_kind in enumerate(data.negatives) if KIND in of_kind])
    false = np.zeros(len(data), bool)
    false[rng.permutation(can)[: round(share * len(data))]] = True
    captions = [[data.negatives[n][KIND][0]] if false[n] else data.captions[n][:1] for n in range(len(data))]
    return replace(data, captions=captions), false


def fit_of(pair: ScenePair, data: Captioned) -> NDArray[np.float64]:
    """Return the cosine of each scene with its caption (N,)."""
    text = text_rows(pair, [one[0] for one in data.captions])
    return (audio_rows(pair, data.scenes.frames) * text).sum(1)


def area(scores: Sequence[float] | NDArray[Any], false: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve of low scores for false captions; 0.5 where all are of one kind."""
    value = auroc(false[:, None].astype(np.uint8), -np.asarray(scores, np.float64)[:, None])[0]
    return 0.5 if np.isnan(value) else float(value)
