"""Group the sounds of a map by place, and name each group with everyday words.

Groups are k-means clusters of positions (scikit-learn). A group's words are those whose vectors are nearer to its
sounds than to all sounds of the map, because a model is near to some words wherever it is asked. Legend: F files, E
joint dimensions, G groups, L words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray
from aural.search.filters import FIRST_WINDOWS, all_of, one_of
from aural.search.lance import vectors_of
from aural.search.library import Library
from aural.search.sound_map import SoundMap

MOST_GROUPS: Final = 12
FILES_PER_GROUP: Final = 25
"""About as many files as a group has at least."""
SAMPLE: Final = 60
"""Files of a group whose vectors name it, the nearest to its center."""
WORDS_PER_NAME: Final = 2
SECOND: Final = 0.7
"""The second word is left out if its advantage is less than this part of the first one's."""
WORDS: Final = (
    *("speech", "singing", "choir", "laughter", "crying", "screaming", "breathing", "crowd", "applause", "footsteps"),
    *("dog", "cat", "birds", "rooster", "insects", "frog", "horse", "cow", "sheep", "monster", "wings"),
    *("rain", "thunder", "wind", "sea waves", "stream", "dripping water", "splash", "fire", "ice"),
    *("engine", "car", "train", "aeroplane", "helicopter", "boat", "horn", "siren", "alarm", "machine", "drill", "saw"),
    *("hammer", "door", "clock", "keyboard typing", "button click", "beep", "telephone", "robot", "laser", "whoosh"),
    *("gunshot", "explosion", "sword", "arrow", "punch", "metal", "wood", "glass", "stone", "paper", "cloth", "coins"),
    *("drum", "snare drum", "cymbal", "bell", "marimba", "piano", "organ", "guitar", "bass guitar", "harp", "violin"),
    *("cello", "flute", "clarinet", "saxophone", "trumpet", "tuba", "accordion", "synthesizer", "music", "noise"),
)
"""Words that groups are named with."""


@dataclass(frozen=True, slots=True)
class MapGroups:
    """The groups of a map: the group of each file (F,), and the names (G,), largest group first."""

    of_file: NDArray[np.int64]
    names: list[str]


def group(library: Library, drawn: SoundMap, word_vectors: FloatArray, words: Sequence[str] = WORDS) -> MapGroups:
    """Return the groups of a map. word_vectors: (L, E) unit rows of `words`."""
    of_file = _clusters(drawn.xy)
    sampled = [_nearest(drawn.xy, of_file, number) for number in range(int(of_file.max()) + 1)]
    files = [drawn.files[i] for part in sampled for i in part]
    table = library.store.rows(["file", "vector"], all_of(FIRST_WINDOWS, one_of("file", files)))
    vectors = dict(zip(table["file"].to_pylist(), vectors_of(table, library.card.embed_dim), strict=True))
    cosines = [np.stack([vectors[drawn.files[i]] for i in part]) @ word_vectors.T for part in sampled]
    sizes = np.bincount(of_file)
    everywhere = np.average([part.mean(axis=0) for part in cosines], axis=0, weights=sizes)
    return MapGroups(of_file, _names([part.mean(axis=0) - everywhere for part in cosines], words))


def _clusters(xy: FloatArray) -> NDArray[np.int64]:
    """Return the cluster of each position (F,), numbered from the largest one."""
    count = max(1, min(MOST_GROUPS, len(xy) // FILES_PER_GROUP))
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        count = 1
    if count == 1:
        return np.zeros(len(xy), np.int64)
    labels = KMeans(count, n_init=4, random_state=0).fit_predict(xy)
    order = np.argsort(-np.bincount(labels, minlength=count), kind="stable")
    return np.asarray(np.argsort(order)[labels], np.int64)


def _nearest(xy: FloatArray, of_file: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    members = np.flatnonzero(of_file == number)
    distances = np.linalg.norm(xy[members] - xy[members].mean(axis=0), axis=1)
    return members[np.argsort(distances, kind="stable")[:SAMPLE]]


def _names(advantages: Sequence[FloatArray], words: Sequence[str]) -> list[str]:
    """Return one or two words per group; a name that another group has gets a number."""
    names: list[str] = []
    for advantage in advantages:
        best = np.argsort(-advantage, kind="stable")[:WORDS_PER_NAME]
        kept = [words[i] for i in best if advantage[i] >= SECOND * advantage[best[0]] or i == best[0]]
        name = ", ".join(kept)
        same = sum(other.rstrip(" 0123456789") == name for other in names)
        names.append(f"{name} {same + 1}" if same else name)
    return names
