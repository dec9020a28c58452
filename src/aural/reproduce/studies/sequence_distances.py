"""Retrieve sounds that differ only in the order of their events, by distances of sequences (SCAV, arXiv 2407.05782).

The query is the sequence of the phrases of a scene, in the order of time; each phrase is a vector of a text tower. The
sound is the sequence of its frame embeddings. All arms start from the same weights and see the same scenes:

    mean-pool      InfoNCE between the mean over frames and the mean over phrases
    caption        InfoNCE between the mean over frames and the full caption, read by the text tower as one text
    interpolated   `sequence_contrast` with the interpolated distance, which is also used for retrieval
    warped         the same model as "interpolated", retrieval by dynamic time warping
    unrelated      "interpolated", phrases of another scene

Tasks, on sounds of held-out clips:
    order-R@1    the right one of the six orders of three events is the nearest; ties count 1 / number (chance 1/6)
    R@1          the right one among all sounds of all scenes is the nearest
    microseconds    time per pair of embedded sequences on one thread of the CPU; one number

Legend: B scenes, T frames, M phrases, E joint dimensions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.nn.functional import unit
from aural.nn.sequences import interpolated_distance, resampled, warped_distance
from aural.objectives import InfoNCE, SequenceContrast, SequenceContrastConfig
from aural.reproduce.scene_world import FRAMES, ORDERS, SceneWorld, Sizes, load_scenes
from aural.reproduce.studies.compositions import events_of
from aural.reproduce.studies.scene_pair import (
    Captioned,
    Loss,
    ScenePair,
    Texts,
    Training,
    batch_frames,
    captioned,
    copy_of,
    draw,
    fit,
    ragged,
    smaller,
    texts_of,
)
from aural.reproduce.study import Scores, StudyContext

MOST: Final = 3
"""Highest number of events in a scene."""
ROUNDS: Final = 3
"""Repetitions of a timing; the shortest counts."""
TIMED: Final = 60
"""Queries and sounds of a timing."""


def run(context: StudyContext, *, train: Mapping[str, Any], sizes: Mapping[str, Any]) -> Scores:
    """Return arm -> task -> scores. train: fields of `Training`."""
    training = smaller(Training(**train), context)
    world = load_scenes(context, Sizes(**sizes))
    captions = [caption_of(names, order) for names in events_of(world.orders)[:: len(ORDERS)] for order in ORDERS]
    names = [*events_of(world.train), *events_of(world.orders)]
    texts = Texts([*texts_of(world), *captions, *(n for one in names for n in one)], world.train.frames.device)
    data = captioned(world.train, texts)
    phrases = [texts.of(one) for one in events_of(world.train)]
    start = ScenePair(world.train.frames.shape[2], texts, context.seed).to(world.train.frames.device)
    losses = {
        "mean-pool": pooled_loss(data, phrases, training.frame_dropout),
        "caption": pooled_loss(data, None, training.frame_dropout),
        "interpolated": sequence_loss(data, phrases, training.frame_dropout),
    }
    pairs = {}
    for arm, loss in losses.items():
        pairs[arm] = copy_of(start)
        fit(pairs[arm], len(data), loss, training, context.seed)
    return scores_of(pairs, world, [texts.of(one) for one in events_of(world.orders)], texts.of(captions))


def caption_of(names: Sequence[str], order: Sequence[int]) -> str:
    """Return the names in an order as a caption: "First a, then b, and finally c."."""
    first, *middle, last = (names[i] for i in order)
    return ", then ".join([f"First {first}", *middle]) + f", and finally {last}."


def frames_of(pair: ScenePair, frames: Tensor) -> Tensor:
    """Return the unit rows (B, T, E) of frames."""
    return unit(pair.audio_projection(pair.audio(frames)))


def pooled_loss(data: Captioned, phrases: Sequence[Sequence[int]] | None, dropout: float) -> Loss:
    """Return InfoNCE between the mean over frames and the mean over phrases, or without phrases one full caption."""
    objective = InfoNCE()

    def loss(pair: ScenePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        audio = unit(frames_of(pair, batch_frames(data, numbers, dropout, rng)).mean(1))
        if phrases is None:
            text = pair.embed_texts(draw([data.captions[i] for i in numbers], rng))
        else:
            text = pooled_phrases(pair, [phrases[i] for i in numbers])
        return objective({"audio_emb": audio, "text_emb": text, "logit_scale": pair.scale})["loss"]

    return loss


def pooled_phrases(pair: ScenePair, phrases: Sequence[Sequence[int]]) -> Tensor:
    """Return the unit mean over phrases (B, E)."""
    rows, mask = ragged(pair, phrases, MOST)
    return unit((rows * mask[..., None]).sum(1))


def sequence_loss(data: Captioned, phrases: Sequence[Sequence[int]], dropout: float) -> Loss:
    """Return `sequence_contrast` between frames and phrases."""
    objective = SequenceContrast(SequenceContrastConfig(points=FRAMES))

    def loss(pair: ScenePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        audio = frames_of(pair, batch_frames(data, numbers, dropout, rng))
        rows, mask = ragged(pair, [phrases[i] for i in numbers], MOST)
        lengths = torch.full((len(audio),), audio.shape[1], device=audio.device)
        given = {"audio_seq": audio, "audio_length": lengths, "text_seq": rows, "text_length": mask.sum(1)}
        return objective(given | {"logit_scale": pair.scale})["loss"]

    return loss


@torch.no_grad()
def scores_of(
    pairs: Mapping[str, ScenePair], world: SceneWorld, phrases: Sequence[Sequence[int]], captions: Sequence[int]
) -> Scores:
    """Return the scores of all arms; sounds and queries are in the order of the scenes and of `ORDERS`."""
    frames = world.orders.frames
    pooled = {arm: unit(frames_of(pairs[arm], frames).mean(1)) for arm in ("mean-pool", "caption")}
    pair = pairs["interpolated"]
    audio, (text, _) = frames_of(pair, frames), ragged(pair, phrases, MOST)
    lengths = [torch.full((len(x),), x.shape[1], device=x.device) for x in (text, audio)]
    points = resampled(text, lengths[0], FRAMES)
    distances: dict[str, Callable[[], Tensor]] = {
        "mean-pool": lambda: -pooled_phrases(pairs["mean-pool"], phrases) @ pooled["mean-pool"].T,
        "caption": lambda: -pairs["caption"].embed_texts(captions) @ pooled["caption"].T,
        "interpolated": lambda: interpolated_distance(points, audio),
        "warped": lambda: warped_distance(text, audio, *lengths),
    }
    scores: dict[str, dict[str, Any]] = {}
    for arm, distance in distances.items():
        scores[arm] = recall(distance().double().cpu().numpy())
    few = slice(0, TIMED)
    slow = [tensor[few].cpu() for tensor in (text, audio, points, *lengths)]
    scores["warped"]["microseconds"] = timed(
        lambda: warped_distance(slow[0], slow[1], slow[3], slow[4]), len(slow[0]) * len(slow[1])
    )
    scores["interpolated"]["microseconds"] = timed(
        lambda: interpolated_distance(slow[2], slow[1]), len(slow[0]) * len(slow[1])
    )
    means = [unit(tensor.mean(1)) for tensor in (slow[0], slow[1])]
    scores["mean-pool"]["microseconds"] = timed(lambda: means[0] @ means[1].T, len(slow[0]) * len(slow[1]))
    scores["unrelated"] = recall(distances["interpolated"]().roll(len(ORDERS) + 1, dims=1).double().cpu().numpy())
    return scores


def recall(distance: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return both recalls per query from distances of queries and sounds (N, N). Equal distances share the place.

    >>> recall(np.zeros((6, 6)))["order-R@1"].round(3).tolist()
    [0.167, 0.167, 0.167, 0.167, 0.167, 0.167]
    """
    rows = np.arange(len(distance))
    group = rows // len(ORDERS)
    same = group[:, None] == group[None]
    return {
        "order-R@1": nearest(np.where(same, distance, np.inf), rows),
        "R@1": nearest(distance, rows),
    }


def nearest(distance: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 1 / (number of nearest sounds) where the right one is among them, else 0."""
    least = np.abs(distance - distance.min(1, keepdims=True)) < 1e-6
    return least[np.arange(len(distance)), truth] / least.sum(1)


def timed(compute: Callable[[], Tensor], pairs: int) -> float:
    """Return the microseconds per pair of the fastest of some repetitions."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        compute()
        seconds.append(time.perf_counter() - began)
    return 1e6 * min(seconds) / pairs
