"""Remove the prior of a prompt from frame scores, and measure calibration where yes is as common as no (FLAM).

The second attempt at the calibration of `frame_language`. There every class is active in about 2% of the frames, and a
model that always answers 2% has a small error too. FLAM removes the prior from its scores at the end (equation 7), so
they answer a question that is true half of the time. Here the frames of a class are weighted so that active and
inactive ones count the same. Towers, scenes and training are those of `frame_language`. Arms:

    contrast    one bias for all prompts
    adjusted    the prior of the prompt as bias, not used in the score
    shuffled    "adjusted", scored against the labels of another scene

The logits of both arms get one constant each, which has the least log loss on training scenes with the same weights. So
the arms differ only in what cosines say about how common a class is.

Tasks, on scenes of held-out clips, one item per class:
    ece-balanced   expected calibration error of trained classes, 15 bins, active and inactive frames weighted alike
    ece-rare       the same for the half of these classes that is active in the fewest training frames
    loss-balanced  log loss of trained classes with these weights
    trained        frame AUROC

Legend: N scenes, T frames, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from aural.reproduce.scene_world import Scenes
from aural.reproduce.studies.frame_language import class_errors, frame_cosines, split, trained
from aural.reproduce.study import Scores, StudyContext

FITTED: Final = 1000
"""Training scenes for the constant."""
LEAST: Final = 10
"""Active frames that a class needs in the test scenes."""


def run(
    context: StudyContext, *, base: Mapping[str, Any], tune: Mapping[str, Any], weight: float, sizes: Mapping[str, Any]
) -> Scores:
    """Return arm -> task -> scores. base, tune: fields of `Training`; weight: of the frame loss."""
    pairs, world, phrases = trained(context, base, tune, weight, sizes, ("contrast", "adjusted"))
    few = Scenes(world.train.frames[:FITTED], world.train.records[:FITTED])
    prompts = phrases.of(world.names[label] for label in world.seen)
    truth, train_truth = (scenes.labels(world.seen).cpu().numpy() for scenes in (world.test, few))
    counted = truth.sum((0, 1)) >= (1 if context.smoke else LEAST)
    share = world.train.labels(world.seen).mean((0, 1)).cpu().numpy()
    rare = counted & (share <= np.median(share[counted]))
    scores: dict[str, dict[str, Any]] = {}
    for arm in ("contrast", "adjusted"):
        pair = pairs[arm]
        scale = float(pair.frame_scale.detach().exp())
        train, test = (scale * frame_cosines(pair, one.frames, prompts)[0] for one in (few, world.test))
        test += best_constant(train, train_truth)
        errors = class_errors(test, truth, 0.5)
        seen = np.ones(len(prompts), bool)
        scores[arm] = {
            "ece-balanced": errors[counted],
            "ece-rare": errors[rare],
            "loss-balanced": balanced_loss(test, truth)[counted],
            "trained": split(test, truth, seen)["trained"],
        }
    scores["shuffled"] = {"trained": split(np.roll(test, 1, axis=0), truth, seen)["trained"]}
    return scores


def balanced_loss(logits: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Return the log loss of each class (C,) that occurs, active and inactive frames weighted alike; else NaN.

    >>> balanced_loss(np.zeros((1, 3, 1)), np.array([[[1], [0], [0]]])).round(4)
    array([0.6931])
    """
    active = truth > 0
    loss = np.logaddexp(0, np.where(active, -logits, logits))
    with np.errstate(invalid="ignore"):
        parts = [(loss * mask).sum((0, 1)) / mask.sum((0, 1)) for mask in (active, ~active)]
    result: NDArray[np.float64] = (parts[0] + parts[1]) / 2
    return result


def best_constant(logits: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the constant whose sum with the logits (N, T, C) has the least balanced log loss, to 0.01."""
    occurring = truth.any((0, 1))
    chosen, labels = torch.from_numpy(logits[..., occurring]), truth[..., occurring] > 0

    def slope(constant: float) -> float:
        """Return the derivative of the loss, which grows with the constant."""
        probability = torch.sigmoid(chosen + constant).numpy()
        error = probability - labels
        return float(sum((error * mask).sum((0, 1)) / mask.sum((0, 1)) for mask in (labels, ~labels)).mean())

    low, high = -30.0, 30.0
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return (low + high) / 2
