"""Match sounds of a minute with texts of several sentences (CoLLAP, arXiv 2410.02271).

A long sound is `SEGMENTS` scenes one after the other (61 s); its text describes some of them, a sentence each, in the
order of time. Segment embeddings and sentence embeddings come from the same pair of towers, which is tuned from the
same base (InfoNCE on single scenes) with the same long sounds:

    base         not tuned, mean over segments and mean over sentences
    mean         tuned by InfoNCE between the mean over segments and the mean over sentences
    ours         tuned by `segment_contrast`, scored with the attention of sentences to segments
    ours-mean    "ours", scored by means
    base-attention   "base", scored with the attention
    unrelated    "ours", sentences of another long sound

Tasks, on long sounds of scenes of held-out clips:
    R@1, R@10   text-to-audio retrieval among all long sounds, one item per text
    peak        share of the sentences of a text whose attention is highest on the described segment

Legend: B long sounds, S segments, K sentences, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.evaluate.metrics.ranking import retrieval_arrays
from aural.nn.functional import unit
from aural.nn.sequences import attention_of_texts
from aural.objectives import InfoNCE, SegmentContrast, SegmentContrastConfig, long_similarity
from aural.reproduce.scene_world import Sizes, load_scenes
from aural.reproduce.studies import scene_pair as towers
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

SEGMENTS: Final = 12
SENTENCES: Final = 4


@dataclass(frozen=True)
class LongSounds:
    """Long sounds: the scenes of their segments (B, S), and which segments are described (B, K) by which captions."""

    scenes: NDArray[np.int64]
    described: NDArray[np.int64]
    sentences: NDArray[np.int64]


def run(
    context: StudyContext,
    *,
    base: Mapping[str, Any],
    tune: Mapping[str, Any],
    temperature: float,
    tests: int,
    sizes: Mapping[str, Any] | None = None,
) -> Scores:
    """Return arm -> task -> scores. base, tune: fields of `Training`; a batch of `tune` counts long sounds."""
    first, second = (towers.smaller(towers.Training(**values), context) for values in (base, tune))
    world = load_scenes(context, Sizes(**(sizes or {})))
    texts = towers.Texts(towers.texts_of(world), world.train.frames.device)
    train, test = towers.captioned(world.train, texts), towers.captioned(world.test, texts)
    start = towers.base_pair(context, world.train.frames.shape[2], texts, train, first)
    objective = SegmentContrast(SegmentContrastConfig(temperature=temperature))
    drawn = long_sounds(test, 4 if context.smoke else tests, generator(0, ITEM, 0))
    pairs = {
        "base": start,
        "mean": towers.tuned(start, train, long_loss(train, None), second, context.seed),
        "ours": towers.tuned(start, train, long_loss(train, objective), second, context.seed),
    }
    scores: dict[str, dict[str, Any]] = {}
    for arm, pair in pairs.items():
        segments, sentences = embed(pair, test, drawn)
        means = mean_unit(segments) @ mean_unit(sentences).T
        mask = torch.ones(sentences.shape[:2], device=sentences.device)
        attended = long_similarity(segments, sentences, mask, temperature)
        scores[arm] = recall(attended if arm == "ours" else means)
        scores["ours-mean" if arm == "ours" else f"{arm}-attention"] = recall(means if arm == "ours" else attended)
        scores[arm] |= {"peak": peaks(segments, sentences, drawn, temperature)}
        if arm == "ours":
            scores["unrelated"] = recall(attended.roll(1, dims=1))
            scores["unrelated"] |= {"peak": peaks(segments, sentences.roll(1, dims=0), drawn, temperature)}
    return scores


def long_sounds(data: towers.Captioned, count: int, rng: np.random.Generator) -> LongSounds:
    """Draw long sounds of different scenes, and what their texts describe."""
    size = min(SEGMENTS, len(data))
    scenes = np.stack([rng.choice(len(data), size, replace=False) for _ in range(count)])
    described = np.stack([np.sort(rng.choice(size, min(SENTENCES, size), replace=False)) for _ in range(count)])
    chosen = np.take_along_axis(scenes, described, axis=1)
    sentences = np.array([towers.draw([data.captions[i] for i in row], rng) for row in chosen])
    return LongSounds(scenes, described, sentences)


def long_loss(data: towers.Captioned, objective: SegmentContrast | None) -> towers.Loss:
    """Return the loss of newly drawn long sounds; without an objective InfoNCE between means."""
    plain = InfoNCE()

    def loss(pair: towers.ScenePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        segments, sentences = embed(pair, data, long_sounds(data, len(numbers), rng))
        if objective is None:
            given = {"audio_emb": mean_unit(segments), "text_emb": mean_unit(sentences), "logit_scale": pair.scale}
            return plain(given)["loss"]
        mask = torch.ones(sentences.shape[:2], device=sentences.device)
        given = {"segment_emb": segments, "sentence_emb": sentences, "sentence_mask": mask, "logit_scale": pair.scale}
        return objective(given)["loss"]

    return loss


def embed(pair: towers.ScenePair, data: towers.Captioned, sounds: LongSounds) -> tuple[Tensor, Tensor]:
    """Return the unit rows of segments (B, S, E) and sentences (B, K, E)."""
    with torch.set_grad_enabled(pair.training):
        index = torch.from_numpy(sounds.scenes.ravel()).to(data.scenes.frames.device)
        segments = pair.embed_audio(data.scenes.frames[index]).unflatten(0, sounds.scenes.shape)
        return segments, pair.embed_texts(sounds.sentences.ravel()).unflatten(0, sounds.sentences.shape)


def mean_unit(rows: Tensor) -> Tensor:
    """Return the unit mean (B, E) of rows (B, N, E)."""
    return unit(rows.mean(1))


def recall(similarity: Tensor) -> dict[str, NDArray[np.float64]]:
    """Return text-to-audio R@1 and R@10 from similarities of sounds and texts (B, B)."""
    first = retrieval_arrays(similarity.T.double().cpu().numpy(), np.eye(len(similarity), dtype=bool))["first"]
    return {f"R@{k}": (first <= k).astype(np.float64) for k in (1, 10)}


def peaks(segments: Tensor, sentences: Tensor, sounds: LongSounds, temperature: float) -> NDArray[np.float64]:
    """Return the share of the sentences of each text whose attention is highest on the described segment (B,)."""
    highest = [
        attention_of_texts(segments[i, None], sentences[i], temperature)[1][0].argmax(1) for i in range(len(segments))
    ]
    return (torch.stack(highest).cpu().numpy() == sounds.described).mean(1)
