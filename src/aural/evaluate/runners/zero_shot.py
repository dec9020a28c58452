"""Zero-shot classification: the class whose prompt is nearest, or each class against the neutral prompt.

Legend: N clips, K classes, E joint dimensions.
"""

from __future__ import annotations

import numpy as np

from aural.core.scoring import Calibration
from aural.core.vectors import unit_rows
from aural.evaluate.examples import Examples, LoadedTask
from aural.evaluate.kinds import KINDS
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import Context, Outcome, space_of
from aural.evaluate.runners.label_outcome import label_outcome, neutral_vector, prompts

PROMPTS = (  # templates of the prompt study of CLAP 2022 (section 5), scored in addition to the card's own
    "{}",
    "i can hear {}",
    "this is an audio of {}",
    "this is {}",
    "this is a sound of {}",
)


@KINDS["zero-shot-single-label"].runner("zero-shot")
@KINDS["zero-shot-multi-label"].runner("zero-shot")
def zero_shot(context: Context, task: LoadedTask) -> Outcome:
    """Score clips by their cosines with the prompts; further templates show how much the wording matters."""
    card = task.card
    clips, audio = context.readable(task.test)
    text = context.cache.texts(prompts(card, clips.classes, card.prompt))
    calibration = Calibration.of(context.embedder)
    threshold = calibration.threshold(audio @ neutral_vector(context, card.prompt))
    outcome = label_outcome(task, clips, audio @ text.T, threshold)
    metric = METRICS[card.metric]
    templates = tuple(dict.fromkeys((card.prompt, *(card.prompts or PROMPTS))))
    text_sum = np.zeros_like(text)
    neutral_sum = np.zeros(text.shape[1], np.float32)
    for template in templates:
        vectors = context.cache.texts(prompts(card, clips.classes, template))
        neutral = neutral_vector(context, template)
        threshold = calibration.threshold(audio @ neutral)
        variant = label_outcome(task, clips, audio @ vectors.T, threshold, details=False)
        outcome.prompts[template] = metric(variant.arrays, None)
        text_sum += vectors
        neutral_sum = neutral_sum + neutral
    threshold = calibration.threshold(audio @ unit_rows(neutral_sum))
    ensemble = label_outcome(task, clips, audio @ unit_rows(text_sum).T, threshold, details=False)
    outcome.prompts[f"mean of {len(templates)}"] = metric(ensemble.arrays, None)
    pairs = np.argwhere(clips.labels)
    outcome.space = space_of(audio, text, pairs, [*_names(clips), *clips.classes])
    return outcome


def _names(clips: Examples) -> list[str]:
    """Return the first class of each clip, or an empty string."""
    return [clips.classes[int(row.argmax())] if row.any() else "" for row in clips.labels]
