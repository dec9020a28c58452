"""Train on queries that are generated from measured pitch, level and rate of voices, and on queries from labels alone.

Claim: with queries generated from measured properties of the voice, zero-shot classification of voices is better than
with queries from labels, and than with a model of general sounds. Paper: ParaCLAP (arXiv 2406.07203).

An audio encoder from random weights and a head over the vectors of frozen MiniLM are trained by recipe `small_pair`
(see `frozen_text`) on spoken sentences with planted emotion (see `voices`). Arms differ in their queries alone:

    generic    clips and captions of the corpus instead of the spoken sentences
    labels     queries that name the emotion
    measured   the same, and queries for the thirds of measured pitch, level and rate
    shuffled   control: the queries of "measured", of other clips

Test voices and sentences are in no training clip, and no prompt is a training query. Scores are unweighted average
recall: the mean over classes of the share of a class that is classified correctly. Tasks:
    voice      mean over the seven classifications of `PROMPTS`
    emotion    the classification that labels name
    unnamed    arousal, valence and sex, whose prompts share no word with any query but "speaking" and "voice"
    real       pitch and level of real clips of speech of the corpus, above or below their medians

One item per clip: the sum of its correct classifications, each weighted so that the mean over clips is the unweighted
average recall. True pitch is measured; level and rate are those that were planted.

Legend: N clips, C classes, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from aural.data.manifest import read_manifest
from aural.data.speech.prosody import EMOTIONS
from aural.data.speech.queries import Terciles, label_queries, measured_queries
from aural.data.worlds import real_speech
from aural.objectives import InfoNCE
from aural.reproduce.shared import shared_arrays
from aural.reproduce.studies.frozen_text import SMOKE_CHANGES, Clips, Towers, embed_clips, load_data, match
from aural.reproduce.studies.voices import (
    MEASURES,
    Voices,
    device_of,
    load_voices,
    new_towers,
    pack_clips,
    unpack_clips,
)
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import corpus_folder
from aural.train.recipes import load_recipe

Array: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]
PROMPTS: Final = {
    "emotion": tuple(f"a person who sounds {name}" for name in EMOTIONS),
    "pitch": ("the pitch is low", "the pitch is medium", "the pitch is high"),
    "level": ("a soft voice", "a voice of normal loudness", "a loud voice"),
    "rate": ("slow talking", "talking at a normal speed", "fast talking"),
    "arousal": ("a sleepy speaker", "an excited speaker"),
    "valence": ("an upset speaker", "a pleased speaker"),
    "sex": ("a man is talking", "a woman is talking"),
}
"""Classification -> the prompts of its classes in order."""
UNNAMED: Final = ("arousal", "valence", "sex")
REAL: Final = {"pitch": ("the pitch is low", "the pitch is high"), "level": ("a soft voice", "a loud voice")}
CLEAR: Final = 0.3
"""Clips with a smaller absolute arousal or valence belong to no class of that classification."""
NONE: Final = -1


def run(context: StudyContext, *, changes: Sequence[str] = ()) -> Scores:
    """Return arm -> task -> scores. changes: of the recipe."""
    recipe = load_recipe("small_pair", SMOKE_CHANGES if context.smoke else changes)
    train, test, general = load_voices(context, "train"), load_voices(context, "test"), load_data(context)
    terciles = Terciles.of(train.measures)
    queries = queries_of(train, terciles)
    texts = sorted(
        {text for of_clip in queries for text in of_clip}
        | {text for prompts in (*PROMPTS.values(), *REAL.values()) for text in prompts}
        | set(general.texts)
    )
    place = {text: i for i, text in enumerate(texts)}
    labels = len(label_queries(EMOTIONS[0]))
    order = np.random.default_rng(context.seed).permutation(len(queries))
    captions = {
        "labels": [of_clip[:labels] for of_clip in queries],
        "measured": queries,
        "shuffled": [queries[i] for i in order],
    }
    clips = {arm: train.clips([[place[text] for text in of_clip] for of_clip in c]) for arm, c in captions.items()}
    general_captions = [[place[general.texts[i]] for i in of_clip] for of_clip in general.train.captions]
    clips["generic"] = Clips(general.train.rows, general.train.mel, general_captions)
    truth = truth_of(test, terciles)
    real, real_truth = load_real(context)
    objective = InfoNCE()
    scores = {}
    for arm, training in clips.items():
        towers = new_towers(context, recipe, training, texts)
        match(towers, training, recipe, context.seed, lambda given, _: objective(given)["loss"])
        correct = classify(towers, test.clips([]), PROMPTS, place, truth)
        scores[arm] = {
            "voice": recall(correct, truth, tuple(PROMPTS)),
            "emotion": recall(correct, truth, ("emotion",)),
            "unnamed": recall(correct, truth, UNNAMED),
            "real": recall(classify(towers, real, REAL, place, real_truth), real_truth, tuple(REAL)),
        }
    return scores


def queries_of(voices: Voices, terciles: Terciles) -> list[list[str]]:
    """Return the queries of each clip: those from its label, then those from its measured properties."""
    third = terciles.places(voices.measures)
    return [
        [*label_queries(emotion), *measured_queries(*(int(third[name][n]) for name in ("pitch", "level", "rate")))]
        for n, emotion in enumerate(voices.emotions)
    ]


def truth_of(voices: Voices, terciles: Terciles) -> dict[str, Labels]:
    """Return classification -> the class of each clip (N,), `NONE` where it has none."""
    level = np.array([one.prosody.level_dbfs for one in voices.plans])
    rate = np.array([one.prosody.rate for one in voices.plans])
    valence, arousal = voices.plane.T
    return {
        "emotion": np.array([EMOTIONS.index(name) for name in voices.emotions]),
        "pitch": terciles.places(voices.measures)["pitch"],
        "level": np.searchsorted(np.quantile(level, [1 / 3, 2 / 3]), level, side="right"),
        "rate": np.searchsorted(np.quantile(rate, [1 / 3, 2 / 3]), rate, side="right"),
        "arousal": np.where(np.abs(arousal) > CLEAR, arousal > 0, NONE),
        "valence": np.where(np.abs(valence) > CLEAR, valence > 0, NONE),
        "sex": voices.female,
    }


def load_real(context: StudyContext) -> tuple[Clips, dict[str, Labels]]:
    """Return the clips of speech of the corpus, and whether their measured pitch and level are above the median."""
    manifest = read_manifest(corpus_folder(context.data, context.out))
    rows = [row for row in manifest if row.language]

    def compute() -> dict[str, NDArray[Any]]:
        items = [real_speech(manifest, row, "") for row in rows]
        return pack_clips([item.wave for item in items if item.wave is not None])

    key = repr(("real", MEASURES, [(row.path, row.sha256) for row in rows]))
    stored = shared_arrays(context, "speech-real", key, compute)
    f0_hz, level_dbfs = stored["measures"][:, 0], stored["measures"][:, 1]
    voiced = f0_hz > 0
    truth = {
        "pitch": np.where(voiced, f0_hz > np.median(f0_hz[voiced]) if voiced.any() else 0, NONE),
        "level": (level_dbfs > np.median(level_dbfs)).astype(np.int64),
    }
    return Clips(rows, unpack_clips(stored, device_of(context)), []), truth


@torch.no_grad()
def classify(
    towers: Towers,
    clips: Clips,
    prompts: Mapping[str, Sequence[str]],
    place: Mapping[str, int],
    truth: Mapping[str, Labels],
) -> dict[str, NDArray[np.bool_]]:
    """Return classification -> whether the prompt of its class is the nearest one of each clip (N,)."""
    audio = embed_clips(towers, clips)
    correct = {}
    for task, texts in prompts.items():
        places = torch.tensor([place[text] for text in texts], device=towers.vectors.device)
        text = towers.embed_texts(places).double().cpu().numpy()
        correct[task] = (audio @ text.T).argmax(1) == truth[task]
    return correct


def recall(correct: Mapping[str, NDArray[np.bool_]], truth: Mapping[str, Labels], tasks: Sequence[str]) -> Array:
    """Return one score per clip (N,) whose mean is the unweighted average recall, averaged over the tasks.

    >>> truth = {"sex": np.array([0, 0, 0, 1])}
    >>> recall({"sex": np.array([True, True, True, False])}, truth, ("sex",)).mean()  # recalls 1 and 0
    0.5
    """
    count = len(truth[tasks[0]])
    total: Array = np.zeros(count)
    for task in tasks:
        classes, sizes = np.unique(truth[task][truth[task] != NONE], return_counts=True)
        for one, size in zip(classes, sizes, strict=True):
            total += correct[task] * (truth[task] == one) * count / (len(tasks) * len(classes) * size)
    return total
