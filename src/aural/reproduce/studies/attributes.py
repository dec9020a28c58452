"""Learn which of two sounds is loud from quadruples of training clips: second attempt at the attribute of CompA.

In `compositions` no arm learned loudness. There, few scenes of a batch have a caption with "loud" or "quiet", and no
sound with exchanged levels is heard. Here every training sound is one of a quadruple (`aural.reproduce.quadruples`)
of order or of level, with both of its sounds rendered. All arms are trained on the same sounds and captions:

    base        InfoNCE, single sounds of quadruples
    plain       "base", tuned further in the same way
    captions    "base", tuned with InfoNCE and the other caption of the quadruple as a false one
    ours        "base", tuned with InfoNCE on complete quadruples, and with the other caption and the other sound of the
                quadruple as false ones
    twice-base  the scores of "base" times two
    unrelated   "ours", scored with the sounds of another quadruple
    exchanged   the same, with the two captions of each quadruple exchanged

Each caption is true of one sound and false of another one, so a scorer of the text alone is at chance. The chance of
1/6 of a group score holds for four independent similarities. Where both sounds and both captions differ in one
direction only, all four comparisons have the same sign, and chance is 1/2; so "unrelated" must equal "exchanged".

Tasks, on sounds of held-out clips:
    order-text, order-audio, order-group, attribute-text, ...   scores of quadruples
    group       order-group and attribute-group of the quadruples together
    R@1, R@10   text-to-audio retrieval of test scenes of one to three sounds

Legend: P quadruples, B sounds of a batch, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from torch import Tensor

from aural.objectives import InfoNCE, TemporalFocus
from aural.reproduce.quadruples import Quadruple
from aural.reproduce.scene_world import Scenes, Sizes, load_scenes
from aural.reproduce.short_captions import quadruple_captions
from aural.reproduce.studies import scene_pair as towers
from aural.reproduce.studies.compositions import composition_scores
from aural.reproduce.studies.scene_scores import audio_rows, retrieval
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

FORMS: Final = 3
"""Captions per training sound, in different forms of sentence."""


def run(
    context: StudyContext, *, base: Mapping[str, Any], tune: Mapping[str, Any], weight: float, sizes: Mapping[str, Any]
) -> Scores:
    """Return arm -> task -> scores. base, tune: fields of `Training`; weight: of the losses within a quadruple."""
    first, second = (towers.smaller(towers.Training(**values), context) for values in (base, tune))
    world = load_scenes(context, Sizes(**sizes))
    tested = [text for n, one in enumerate(world.quadruples) for text in captions_of(one, 0, n)]
    written = [captions_of(one, 1 + form, n) for n, one in enumerate(world.pairs) for form in range(FORMS)]
    test_scenes = towers.shortly(world.test, 1)
    texts = towers.Texts(
        [*tested, *(text for pair in written for text in pair), *towers.texts_in(test_scenes)], world.pair_frames.device
    )
    train = paired_sounds(Scenes(world.pair_frames, []), written, texts)
    test = towers.captioned(test_scenes, texts)

    start = towers.ScenePair(world.pair_frames.shape[2], texts, context.seed, moment=True).to(world.pair_frames.device)
    towers.fit(start, len(train), towers.info_nce(train, first.frame_dropout), first, context.seed)
    seed, alone = context.seed + 1000, with_partner(train, second.frame_dropout, weight, sounds=False)
    pairs = {
        "base": start,
        "plain": towers.tuned(start, train, towers.info_nce(train, second.frame_dropout), second, seed),
        "captions": towers.tuned(start, train, alone, second, seed),
        "ours": _tuned_on_quadruples(start, train, weight, second, seed),
    }
    quadruples = [(tested[2 * n], tested[2 * n + 1]) for n in range(len(world.quadruples))]
    scores: dict[str, dict[str, Any]] = {}
    for arm, pair in pairs.items():
        audio = audio_rows(pair, test.scenes.frames)
        scores[arm] = composition_scores(pair, world, quadruples, roll=0) | retrieval(audio, pair, test)
    scores["twice-base"] = {task: 2 * values for task, values in scores["base"].items() if task.endswith("group")}
    scores["unrelated"] = composition_scores(pairs["ours"], world, quadruples, roll=1)
    exchanged = [pair[::-1] for pair in quadruples]
    scores["exchanged"] = composition_scores(pairs["ours"], world, exchanged, roll=1)
    return scores


def captions_of(one: Quadruple, form: int, number: int) -> tuple[str, str]:
    """Return the captions of the two sounds of a quadruple in one of the forms of sentence."""
    return quadruple_captions(one.kind, one.truths, generator(0, ITEM, 6, form, number))


def paired_sounds(sounds: Scenes, written: Sequence[tuple[str, str]], texts: towers.Texts) -> towers.Captioned:
    """Return the sounds (2 P) with their captions; the other sound of number n is n ^ 1, with the same forms."""
    captions = [
        [texts.number[pair[side]] for pair in written[at : at + FORMS]]
        for at in range(0, len(written), FORMS)
        for side in (0, 1)
    ]
    return towers.Captioned(sounds, captions, [])


def _tuned_on_quadruples(
    start: towers.ScenePair, train: towers.Captioned, weight: float, training: towers.Training, seed: int
) -> towers.ScenePair:
    """Return a copy of `start` that was tuned on quadruples, of which a batch holds both sounds."""
    loss = with_partner(train, training.frame_dropout, weight, sounds=True)
    half = replace(training, batch=training.batch // 2)

    def complete(pair: towers.ScenePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        return loss(pair, [sound for n in numbers for sound in (2 * n, 2 * n + 1)], rng)

    return towers.tuned(start, replace(train, captions=train.captions[::2]), complete, half, seed)


def with_partner(data: towers.Captioned, dropout: float, weight: float, *, sounds: bool) -> towers.Loss:
    """Return InfoNCE plus `weight` times the loss of the caption against the other caption of the quadruple.

    sounds: a batch holds quadruples, both sounds of one in a row; add the loss of the sound against the other sound.
    """
    plain, focus = InfoNCE(), TemporalFocus()

    def loss(pair: towers.ScenePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        form = rng.integers(FORMS, size=len(numbers))
        form = np.repeat(form[::2], 2) if sounds else form
        true, false = (
            pair.embed_texts([data.captions[n ^ other][k] for n, k in zip(numbers, form, strict=True)])
            for other in (0, 1)
        )
        audio = pair.embed_audio(towers.batch_frames(data, numbers, dropout, rng))
        given = {"audio_emb": audio, "text_emb": true, "logit_scale": pair.scale}
        total = plain(given)["loss"] + weight * focus(given | {"hard_text_emb": false[:, None]})["loss"]
        if not sounds:
            return total
        other = audio.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        turned = {"audio_emb": true, "text_emb": audio, "hard_text_emb": other[:, None], "logit_scale": pair.scale}
        return total + weight * focus(turned)["loss"]

    return loss
