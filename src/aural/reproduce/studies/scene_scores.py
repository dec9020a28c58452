"""Score pairs of towers of `scene_pair`: retrieval, true against false captions, and quadruples.

Legend: N scenes, T frames, D columns of a frame, M texts, E joint dimensions, Q quadruples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.evaluate.metrics.ranking import retrieval_arrays
from aural.evaluate.runners.retrieval import relevance
from aural.reproduce.quadruples import quadruple_scores
from aural.reproduce.scene_world import SceneWorld
from aural.reproduce.studies.scene_pair import Captioned, ScenePair

BATCH_OF_TEXTS: Final = 512


@torch.no_grad()
def audio_rows(pair: ScenePair, frames: Tensor) -> NDArray[np.float64]:
    """Return unit rows (N, E) of scenes (N, T, D)."""
    return torch.cat([pair.embed_audio(part) for part in frames.split(512)]).double().cpu().numpy()


@torch.no_grad()
def text_rows(pair: ScenePair, numbers: Sequence[int]) -> NDArray[np.float64]:
    """Return unit rows (M, E) of texts."""
    parts = [pair.embed_texts(numbers[at : at + BATCH_OF_TEXTS]) for at in range(0, len(numbers), BATCH_OF_TEXTS)]
    return torch.cat(parts).double().cpu().numpy()


def retrieval(audio: NDArray[np.float64], pair: ScenePair, data: Captioned) -> dict[str, NDArray[np.float64]]:
    """Return text-to-audio R@1 and R@10 per scene: the mean over its captions as queries."""
    owner = np.array([n for n, of_scene in enumerate(data.captions) for _ in of_scene], np.int64)
    numbers = [i for of_scene in data.captions for i in of_scene]
    text = text_rows(pair, numbers)
    relevant = relevance([pair.texts.texts[i] for i in numbers], owner, len(audio), equal=True)
    first = retrieval_arrays(text @ audio.T, relevant)["first"]
    count = np.bincount(owner)
    return {f"R@{k}": np.bincount(owner, first <= k) / count for k in (1, 10)}


def pairs_of(data: Captioned, kinds: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return (scene, true caption, false caption in the same words) of all captions and kinds."""
    return [
        (n, true, one[kind])
        for n, of_scene in enumerate(data.false)
        for true, one in zip(data.captions[n], of_scene, strict=True)
        for kind in kinds
        if kind in one
    ]


def pair_accuracy(audio: NDArray[np.float64], pair: ScenePair, data: Captioned, kind: str) -> NDArray[np.float64]:
    """Return per scene how often its captions are nearer than the false ones of a kind in the same words."""
    pairs = pairs_of(data, [kind])
    true, false = (text_rows(pair, [one[k] for one in pairs]) for k in (1, 2))
    return per_scene(pairs, ((true - false) * audio[[one[0] for one in pairs]]).sum(1))


def per_scene(pairs: Sequence[tuple[int, int, int]], margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of positive margins per scene that has pairs; a tie counts half.

    >>> per_scene([(0, 1, 2), (0, 3, 4), (5, 6, 7)], np.array([1.0, -1.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    _, scene = np.unique([one[0] for one in pairs], return_inverse=True)
    right = (margin > 0) + 0.5 * (margin == 0)
    return np.bincount(scene, right) / np.bincount(scene)


def quadruple_rows(
    pair: ScenePair, world: SceneWorld, kind: str, captions: Sequence[tuple[str, str]], roll: int = 0
) -> Mapping[str, NDArray[Any]]:
    """Return the text, audio and group scores of the quadruples of a kind, from the two captions of each quadruple.

    roll: take the sounds of the quadruple that is so many places before; 0 for a test, 1 for a control at chance.
    """
    chosen = [n for n, one in enumerate(world.quadruples) if one.kind == kind]
    sounds = audio_rows(pair, world.quadruple_frames).reshape(len(world.quadruples), 2, -1)[chosen]
    numbers = pair.texts.of(text for n in chosen for text in captions[n])
    texts = text_rows(pair, numbers).reshape(len(chosen), 2, -1)
    return quadruple_scores(np.einsum("qae,qte->qat", np.roll(sounds, roll, axis=0), texts))
