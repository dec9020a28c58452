"""Train on noisy pairs: filter captions, distill concepts, and weigh hard negatives (DiHT).

Claim: with many captions that describe no sound, a filter of captions, distillation of concepts from a model of sounds
alone, and importance-sampled negatives each raise zero-shot accuracy; a few-shot probe that starts from the vectors of
prompts is better than one that starts from zero. Paper: DiHT (arXiv 2301.02280).

Recordings of the corpus; the captions of some training clips are replaced by names of files, devices and licenses, a
few of which contain a word for a sound. The teacher of concepts is YAMNet, which never saw a caption. Arms:

    base        `info_nce` on all pairs
    filter      on the pairs whose caption passes `aural.data.describes.names_sound`
    concepts    "base", and a linear head predicts the classes of YAMNet
    hard        `importance_nce` on all pairs
    diht        all three
    clean       `info_nce` on the true captions: what a perfect filter and restoration would give
    shuffled    control: "diht" with the captions and concepts of other clips

Tasks of `frozen_text`, and
    precision   share of the pairs that the filter keeps that are true (arm "filter"; arm "base": without a filter)
    recall      share of the true pairs that are kept
    few-shot    1 if a probe on four clips per family is right: `from-text` and `from-zero` are its arms, on "diht"

Legend: N clips, B clips of a batch, C concepts, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import aural
from aural.data.describes import names_sound
from aural.data.manifest import Row, read_manifest
from aural.encoders.vit import VitConfig
from aural.objectives import ImportanceNCE
from aural.reproduce.shared import resumed, shared_arrays
from aural.reproduce.studies.clip_pair import (
    ENCODER,
    WIDTH,
    ClipPair,
    batch_mel,
    batch_texts,
    half_decibels,
    scores_of,
    smaller,
)
from aural.reproduce.studies.frozen_text import PROMPT, Data, load_data, reduced, text_vectors
from aural.reproduce.studies.scene_pair import Training, fit
from aural.reproduce.studies.small_encoders import embedded
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import MEL, RATE_HZ, corpus_folder, corpus_wave

Array: TypeAlias = NDArray[np.float64]
TRAINING: Final = Training(steps=200, batch=96, lr=1e-3)
SMALLER: Final = ENCODER.model_copy(
    update={
        "patch_frames": 50, "stride_frames": 50, "patch_mels": MEL.n_mels, "stride_mels": MEL.n_mels,
        "dim": 96, "depth": 2,
    }
)  # fmt: skip
"""Five patches of a second, so that a seed takes minutes on one core."""
LARGER: Final = Training(steps=500, batch=128, lr=1e-3)
"""Of option `larger`, with the encoder of `clip_pair`."""
NOISE: Final = 0.5
"""Share of the training clips whose captions describe no sound."""
CONCEPTS: Final = 0.1
"""Weight of the distillation."""
SHOTS: Final = 4
PULL: Final = 3.0
"""Weight of the pull of a probe toward its start."""
STARTS: Final = {"from-text": 1.0, "from-zero": 0.0}
"""Start of a few-shot probe -> factor of the vectors of the prompts."""
ARMS: Final = ("base", "filter", "concepts", "hard", "diht", "clean", "shuffled")
NOISE_FORMS: Final = (
    "IMG_{n:04d} uploaded on Sunday", "Zoom H{d}n, 44.1 kHz, 24 bit, stereo", "Free to use under CC0, please credit",
    "take {d}, final version {n}", "ZOOM{n:04d}.WAV", "part {d} of my archive, see my profile for more",
    "recorded in Berlin in 20{d}1", "file {n} of the pack, thanks for the comments", "session {n}, mix {d}, no effects",
    "made with Audacity, normalized to minus {d} dB", "more rain and thunder in my other packs, number {n}",
    "used in my film, request {n}", "copyright 20{d}2, all rights reserved", "version {d}, loop point at {n} ms",
)  # fmt: skip


class ConceptPair(nn.Module):
    """A pair of towers with a linear head of concepts."""

    def __init__(self, vectors: Tensor, seed: int, concepts: int, encoder: VitConfig = SMALLER) -> None:
        super().__init__()
        self.pair = ClipPair(vectors, seed, encoder)
        self.concepts = nn.Linear(self.pair.encoder.dim, concepts).to(vectors.device)


def run(context: StudyContext, *, larger: bool = False) -> Scores:
    """Return arm -> task -> scores. larger: the encoder of `clip_pair` with more steps, for a GPU."""
    data = half_decibels(load_data(context))
    forms = [form.format(n=n * 37 % 9973, d=n % 9 + 1) for n in range(12) for form in NOISE_FORMS]
    junk = sorted(set(forms))
    texts = [*data.texts, *junk]
    place = {text: i for i, text in enumerate(texts)}
    table = torch.cat([text_vectors(context, part, "minilm") for part in (data.texts, junk)])
    used = sorted({i for of_clip in data.train.captions for i in of_clip})
    vectors = reduced(table, used, 8 if context.smoke else WIDTH).to(data.device)
    data = replace(data, texts=texts)
    concepts = torch.from_numpy(concepts_of(context, data.train.rows)).to(data.device)
    rng = np.random.default_rng(context.seed)
    false = rng.random(len(data.train.rows)) < NOISE
    noisy = [
        [place[junk[int(rng.integers(len(junk)))]]] if false[n] else of for n, of in enumerate(data.train.captions)
    ]
    kept = [[i for i in of if names_sound(texts[i])] for of in noisy]
    order = rng.permutation(len(noisy))
    scores: dict[str, dict[str, Any]] = {}
    for arm in ARMS:
        captions = {"clean": data.train.captions, "filter": kept, "diht": kept}.get(arm, noisy)
        captions, targets = ([kept[i] for i in order], concepts[order]) if arm == "shuffled" else (captions, concepts)
        given = replace(data, train=replace(data.train, captions=captions))
        measured = resumed(context, arm, partial(score_arm, arm, given, vectors, targets, context, larger=larger))
        for start in STARTS:
            if start in measured:
                scores[start] = {"few-shot": measured.pop(start)}
        scores[arm] = dict(measured)
    passed = np.array([bool(of) for of in kept])
    scores["filter"] |= {"precision": (~false)[passed].mean(), "recall": passed[~false].mean()}
    scores["base"] |= {"precision": (~false).mean(), "recall": 1.0}
    return scores


def score_arm(
    arm: str, given: Data, vectors: Tensor, concepts: Tensor, context: StudyContext, *, larger: bool
) -> dict[str, Array]:
    """Train an arm and return its scores; those of few-shot probes are named by the start of their weights."""
    clips = [n for n, of_clip in enumerate(given.train.captions) if of_clip]
    model = ConceptPair(vectors, context.seed, concepts.shape[1], ENCODER if larger else SMALLER)
    training = smaller(LARGER if larger else TRAINING, context)
    fit(model, len(clips), loss_of(arm, given, concepts, clips), training, context.seed)
    scores = scores_of(model.eval().pair, given)
    return scores | few_shot(model.pair, given, context) if arm == "diht" else scores


def concepts_of(context: StudyContext, rows: Sequence[Row]) -> NDArray[np.float32]:
    """Return the probabilities of YAMNet's classes (N, C) of clips, the mean over their windows."""
    if context.smoke:
        return np.random.default_rng(0).random((len(rows), 5)).astype(np.float32)
    manifest = read_manifest(corpus_folder(context.data, context.out))

    def compute() -> dict[str, NDArray[Any]]:
        tagger: Any = aural.load("yamnet", engine="torch", device="cpu")
        size = round(tagger.config.window_s * RATE_HZ)
        means = []
        for row in rows:
            wave = corpus_wave(manifest, row)[: 5 * RATE_HZ]
            windows = np.resize(wave, (max(1, len(wave) // size), size))
            means.append(tagger.outputs(windows).scores.mean(0))
        return {"concepts": np.rint(255 * np.stack(means)).astype(np.uint8)}

    stored = shared_arrays(context, "yamnet", repr([(row.path, row.sha256) for row in rows]), compute)
    return (stored["concepts"] / 255).astype(np.float32)


def loss_of(
    arm: str, data: Data, concepts: Tensor, clips: Sequence[int]
) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return the loss of an arm; numbers of the batch are places in `clips`."""
    hard = ImportanceNCE()
    sharp, distilled = (arm in (part, "diht", "shuffled") for part in ("hard", "concepts"))

    def loss(model: ConceptPair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        pair, chosen = model.pair, [clips[n] for n in numbers]
        pooled = pair.encoder(batch_mel(data, chosen, rng)).pooled
        audio = nn.functional.normalize(pair.projection(pooled), dim=1)
        text = pair.embed_texts(batch_texts(data, chosen, rng))
        given = {"audio_emb": audio, "text_emb": text, "logit_scale": pair.scale}
        total = hard(given)["loss"] if sharp else pair.matched(audio, text)
        if distilled:
            each = nn.functional.binary_cross_entropy_with_logits(model.concepts(pooled), concepts[chosen])
            total = total + CONCEPTS * concepts.shape[1] * each
        return total

    return loss


def few_shot(pair: ClipPair, data: Data, context: StudyContext) -> dict[str, Array]:
    """Return whether a probe of families on a few training clips is right, by the start of its weights."""
    train, test = (embedded(pair, pair.embed_mel, part.mel) for part in (data.train, data.test))
    names = sorted({row.family for row in data.train.rows} & {row.family for row in data.test.rows})
    families = [np.array([row.family for row in part.rows]) for part in (data.train, data.test)]
    rng = np.random.default_rng(context.seed)
    shots = np.concatenate([rng.permutation(np.flatnonzero(families[0] == name))[:SHOTS] for name in names])
    places = torch.tensor([data.places()[PROMPT.format(name)] for name in names], device=data.device)
    with torch.no_grad():
        prompts = pair.embed_texts(places).double().cpu().numpy()
    targets = (families[0][shots, None] == np.array(names)).astype(np.float64)
    tested = np.isin(families[1], names)
    scores = {}
    for start, scale in STARTS.items():
        solved = pulled_probe(train[shots], targets, scale * prompts.T, PULL)
        correct = np.array(names)[(test[tested] @ solved).argmax(1)] == families[1][tested]
        scores[start] = correct.astype(np.float64)
    return scores


def pulled_probe(rows: Array, targets: Array, start: Array, pull: float) -> Array:
    """Return the weights W (E, C) that minimize |rows W - targets|^2 + pull |W - start|^2.

    >>> pulled_probe(np.eye(2), np.eye(2), np.zeros((2, 2)), 1.0).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    left = rows.T @ rows + pull * np.eye(rows.shape[1])
    return np.asarray(np.linalg.solve(left, rows.T @ targets + pull * start), np.float64)
