"""Plant false captions, reject the ones with the lowest score, and train on the rest (AudioSetCaps, arXiv 2411.18953).

The training scenes are split into two halves. A pair of towers is trained on the first half with true captions; it is
the scorer. In the second half a share of the captions is replaced by that of another scene, which names a sound that is
heard and one that is not. New pairs of towers are trained on the second half, from the same weights and for the same
number of steps:

    unrefined    with all captions
    refined      without the captions of the lowest scores, as many as were planted
    random       without as many captions, drawn at random
    clean        without the planted captions
    text-only    a scorer of the text alone, for the AUROC

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
from aural.reproduce.studies import scene_pair as towers
from aural.reproduce.studies.scene_scores import audio_rows, retrieval, text_rows
from aural.reproduce.studies.text_only import train_scorer
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

KIND: Final = "planted"


def run(
    context: StudyContext,
    *,
    train: Mapping[str, Any],
    planted: float = 0.2,
    sizes: Mapping[str, Any] | None = None,
    same_count: bool = False,
) -> Scores:
    """Return arm -> task -> scores.

    train: fields of `Training`; planted: share of false captions; same_count: a planted caption names as many classes
    as the true one, see `donors`.
    """
    seed, training = context.seed, towers.smaller(towers.Training(**train), context)
    world = load_scenes(context, Sizes(**(sizes or {})))
    texts = towers.Texts(towers.texts_of(world), world.train.frames.device)
    data, test = towers.captioned(world.train, texts), towers.captioned(world.test, texts)
    order = generator(seed, ITEM, 0, 2).permutation(len(data))
    half = len(data) // 2
    first, second = towers.subset(data, order[:half]), towers.subset(data, order[half:])
    noisy, false = plant(second, planted, generator(seed, ITEM, 1, 2), same_count)

    def trained(on: towers.Captioned) -> towers.ScenePair:
        pair = towers.ScenePair(world.train.frames.shape[2], texts, seed).to(world.train.frames.device)
        towers.fit(pair, len(on), towers.info_nce(on, training.frame_dropout), training, seed)
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
        pair = trained(towers.subset(noisy, numbers))
        result[arm] = retrieval(audio_rows(pair, world.test.frames), pair, test)
    for arm in ("refined", "random"):
        rejected = np.setdiff1d(np.arange(len(noisy)), kept[arm])
        result[arm]["precision"] = false[rejected].mean()
    pairs = with_planted(first, generator(seed, ITEM, 3, 2), same_count)
    scorer = train_scorer(pairs, texts, [KIND], replace(training, steps=training.steps // 2), seed)
    result["refined"]["auroc"] = area(scores, false)
    result["text-only"] = {"auroc": area(scorer.score([one[0] for one in noisy.captions]), false)}
    return result


def plant(
    data: towers.Captioned, share: float, rng: np.random.Generator, same_count: bool = False
) -> tuple[towers.Captioned, NDArray[np.bool_]]:
    """Replace the captions of a share of the scenes by a false one; every scene keeps one caption.

    Return the scenes and which of them have a false caption.
    """
    donor = donors(data, rng, same_count)
    can = np.flatnonzero(donor >= 0)
    false = np.zeros(len(data), bool)
    false[rng.permutation(can)[: round(share * len(data))]] = True
    captions = [data.captions[donor[n] if false[n] else n][:1] for n in range(len(data))]
    return replace(data, captions=captions), false


def donors(data: towers.Captioned, rng: np.random.Generator, same_count: bool = False) -> NDArray[np.int64]:
    """Return for each scene another one that shares a class with it and has one that it lacks; -1 where there is none.

    The caption of the other scene names a sound that is heard and one that is not. As it is true elsewhere, its wording
    is that of true captions. But it names two sounds at least, which a reader of the text alone can notice. same_count:
    the other scene has as many classes; where that is one, they have none in common.
    """
    classes = [frozenset(record["truth"]["classes"]) for record in data.scenes.records]
    order = rng.permutation(len(data))
    donor = np.full(len(data), -1, np.int64)
    for n, here in enumerate(classes):
        start = int(rng.integers(len(data)))
        candidates = (int(order[(start + k) % len(data)]) for k in range(len(data)))
        if same_count:
            fits = (m for m in candidates if len(classes[m]) == len(here) and classes[m] != here)
            donor[n] = next((m for m in fits if len(here) == 1 or classes[m] & here), -1)
        else:
            donor[n] = next((m for m in candidates if classes[m] & here and classes[m] - here), -1)
    return donor


def with_planted(data: towers.Captioned, rng: np.random.Generator, same_count: bool = False) -> towers.Captioned:
    """Return the scenes with one caption each and a planted one as its false caption."""
    donor = donors(data, rng, same_count)
    false = [[{KIND: data.captions[m][0]} if m >= 0 else {}] for m in donor]
    return replace(data, captions=[one[:1] for one in data.captions], false=false)


def fit_of(pair: towers.ScenePair, data: towers.Captioned) -> NDArray[np.float64]:
    """Return the cosine of each scene with its caption (N,)."""
    text = text_rows(pair, [one[0] for one in data.captions])
    return (audio_rows(pair, data.scenes.frames) * text).sum(1)


def area(scores: Sequence[float] | NDArray[Any], false: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve of low scores for false captions; 0.5 where all are of one kind."""
    value = auroc(false[:, None].astype(np.uint8), -np.asarray(scores, np.float64)[:, None])[0]
    return 0.5 if np.isnan(value) else float(value)
