"""Measured queries where labels do not determine what is measured: a second attempt at `paralinguistics`.

In the world "speech" emotion determines rate, pitch and level almost completely, so that queries from labels carry the
measured properties too. Here every clip is played louder or quieter and faster or slower by a factor that has nothing
to do with its emotion. Both changes are made on the log-mel: a gain adds decibels, and a rate resamples frames, without
a change of pitch. Truth, measures and queries follow the changed clips. Arms and tasks are those of `paralinguistics`,
without "generic" and "real".

Each step draws one query per clip, so measured queries take steps from labels. With `two_queries` a step has two
queries per clip and the mean of two losses: two from labels in arm "labels", one from labels and one measured in arm
"measured".

Legend: N clips, F mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch

from aural.core.seeds import generator
from aural.data.speech.prosody import EMOTIONS
from aural.data.speech.queries import Terciles, label_queries
from aural.nn.functional import unit
from aural.objectives import InfoNCE
from aural.reproduce.studies.frozen_text import SMOKE_CHANGES, Clips, Towers, descend, match
from aural.reproduce.studies.paralinguistics import PROMPTS, UNNAMED, classify, queries_of, recall, truth_of
from aural.reproduce.studies.voices import FRAMES, Voices, load_voices, new_towers
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import MEL
from aural.train.config import Recipe
from aural.train.mels import steps
from aural.train.recipes import load_recipe

GAIN_DB: Final = 10.0
RATE: Final = 0.4
"""Largest absolute logarithm of the factor of the rate."""
TASKS: Final = {"voice": tuple(PROMPTS), "emotion": ("emotion",), "unnamed": UNNAMED, "varied": ("level", "rate")}


def run(context: StudyContext, *, changes: Sequence[str] = (), two_queries: bool = False) -> Scores:
    """Return arm -> task -> scores. changes: of the recipe; two_queries: two queries per clip in a step."""
    recipe = load_recipe("small_pair", SMOKE_CHANGES if context.smoke else changes)
    train, test = (varied(load_voices(context, split), n) for n, split in enumerate(("train", "test")))
    terciles = Terciles.of(train.measures)
    queries, truth = queries_of(train, terciles), truth_of(test, terciles)
    asked = {text for prompts in PROMPTS.values() for text in prompts}
    place = {text: i for i, text in enumerate(sorted(asked.union(*queries)))}
    labels = len(label_queries(EMOTIONS[0]))
    order = np.random.default_rng(context.seed).permutation(len(queries))
    arms = {"labels": [one[:labels] for one in queries], "measured": queries, "shuffled": [queries[i] for i in order]}
    objective, scores = InfoNCE(), {}
    for arm, captions in arms.items():
        clips = train.clips([[place[text] for text in of_clip] for of_clip in captions])
        towers = new_towers(context, recipe, clips, list(place))
        if two_queries:
            match_two(towers, clips, recipe, context.seed, labels)
        else:
            match(towers, clips, recipe, context.seed, lambda given, _: objective(given)["loss"])
        correct = classify(towers, test.clips([]), PROMPTS, place, truth)
        scores[arm] = {task: recall(correct, truth, names) for task, names in TASKS.items()}
    return scores


def match_two(towers: Towers, train: Clips, recipe: Recipe, seed: int, labels: int) -> None:
    """Train both towers with two queries per clip in a step: one of the first `labels`, one of the others if any."""
    objective = InfoNCE()

    def loss_of(chosen: torch.Tensor, mel: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        audio = unit(towers.audio.embed_mel(mel))
        scale = towers.logit_scale.clamp(max=float(np.log(100.0))).exp()
        losses = []
        for part in (slice(None, labels), slice(labels, None)):
            choices = [train.captions[i][part] or train.captions[i] for i in chosen.tolist()]
            drawn = torch.tensor([one[int(rng.integers(len(one)))] for one in choices], device=mel.device)
            given = {"audio_emb": audio, "text_emb": towers.embed_texts(drawn), "logit_scale": scale}
            losses.append(objective(given)["loss"])
        return torch.stack(losses).mean()

    descend(towers, loss_of, train, recipe, seed)


def varied(voices: Voices, key: int) -> Voices:
    """Return the voices with a level and a rate that are changed independently of everything else."""
    rng = generator(key, len(voices.plans))
    gain_db = rng.uniform(-GAIN_DB, GAIN_DB, len(voices.plans))
    rate = np.exp(rng.uniform(-RATE, RATE, len(voices.plans)))
    mel = torch.stack([changed(*one) for one in zip(voices.mel, gain_db.tolist(), rate.tolist(), strict=True)])
    plans = [
        replace(
            one, prosody=replace(one.prosody, level_dbfs=one.prosody.level_dbfs + gain, rate=one.prosody.rate * factor)
        )
        for one, gain, factor in zip(voices.plans, gain_db, rate, strict=True)
    ]
    measures = [
        replace(one, level_dbfs=one.level_dbfs + gain, syllables_per_s=one.syllables_per_s * factor)
        for one, gain, factor in zip(voices.measures, gain_db, rate, strict=True)
    ]
    return Voices(mel, plans, measures)


def changed(mel: torch.Tensor, gain_db: float, rate: float) -> torch.Tensor:
    """Return a 16-bit log-mel (N, F) that is louder by `gain_db` and faster by the factor `rate`.

    Frames between two frames are interpolated. A clip that becomes too short starts again.
    """
    time = torch.arange(FRAMES, device=mel.device) * rate % (len(mel) - 1)
    first = time.floor().long()
    share = (time - first)[:, None]
    frames = mel[first] * (1 - share) + mel[first + 1] * share + gain_db * steps(MEL)
    return frames.round().clamp(-32768, 32767).to(torch.int16)
