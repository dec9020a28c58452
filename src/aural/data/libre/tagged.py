"""Compare the labels of clips with the scores of a tagger: labels that it contradicts, and labels that it adds.

`catalog/datasets/libre/tags.toml` lists the classes of the corpus of which a class of the tagger is true.

Legend: N clips, K listed tags, C all classes of the tagger.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.catalog import package_folder
from aural.core.config import read_mapping
from aural.core.errors import ConfigError, near_miss
from aural.data.libre.cards import taxonomy
from aural.data.libre.show import is_recording
from aural.data.manifest import TRAINING_SPLITS, Row

GENERAL: Final = frozenset(("Music", "Animal", "Vehicle", "Water", "Speech"))
"""Listed tags that say too little for a label."""
CONTRADICTED, AGREED = 0.3, 0.1
"""Least score of a contradicting tag, and the score below which no tag agrees with the label."""
WINDOW_S: Final = 0.975
"""Length of the tagger's window. Shorter clips are padded with silence, and the tagger is often wrong about them."""
PRECISION: Final = 0.95
"""Least precision, on clips whose names say much, of the threshold for pseudo-labels."""
SHARE: Final = 0.25
"""Share of the classes whose names say little: those whose clips are least alike."""
LEAST_CLIPS: Final = 6
"""Classes with fewer clips are not measured."""


@dataclass(frozen=True)
class Scored:
    """Training clips without speech and notes, and the scores of listed tags."""

    rows: list[Row]
    tags: list[str]
    scores: NDArray[Any]
    """(N, K)"""
    true: NDArray[np.bool_]
    """(N, K): whether the tag is true of the clip's class."""
    all_scores: NDArray[Any]
    """(N, C)"""

    def column(self, name: str) -> NDArray[Any]:
        """Return one column of the rows (N,)."""
        return np.array([getattr(row, name) for row in self.rows])


@dataclass(frozen=True)
class Contradiction:
    """A clip whose label the tagger contradicts: the tag with its score, and the best score that agrees."""

    row: Row
    tag: str
    score: float
    agreed: float


@dataclass(frozen=True)
class Threshold:
    """The threshold of pseudo-labels with its precision (right, all) on clips with names that say much.

    It was chosen on one half of the groups; `held_out` counts the other half.
    """

    score: float
    chosen_on: tuple[int, int]
    held_out: tuple[int, int]


def recordings(rows: Iterable[Row]) -> list[Row]:
    """Return the training and validation clips that are recordings without speech."""
    return [row for row in rows if row.split in TRAINING_SPLITS and is_recording(row)]


def scored(rows: Sequence[Row], scores: NDArray[Any], classes: Sequence[str]) -> Scored:
    """Return clips with the scores (N, C) of a tagger's classes.

    Raises:
        ConfigError: tags.toml lists a tag that the tagger lacks, or an unknown class or family.
    """
    table = read_mapping(package_folder("datasets/libre") / "tags.toml")["true_of"]
    families = set(taxonomy().families.values())
    for tag, names in table.items():
        if tag not in classes:
            raise ConfigError(f'tags.toml: the tagger has no class "{tag}"; {near_miss(tag, classes)}')
        for name in names:
            family = name.removeprefix("family:")
            if family == name:
                taxonomy().check(name, f"tags.toml: {tag}")
            elif family not in families:
                raise ConfigError(f'tags.toml: {tag}: unknown family "{family}"; {near_miss(family, families)}')
    tags = list(table)
    true = [[row.class_name in table[tag] or f"family:{row.family}" in table[tag] for tag in tags] for row in rows]
    listed = scores[:, [list(classes).index(tag) for tag in tags]]
    return Scored(list(rows), tags, listed, np.array(true, bool).reshape(len(rows), len(tags)), scores)


def contradictions(clips: Scored) -> list[Contradiction]:
    """Return the clips whose best tag is not true of their class while no other tag agrees, highest scores first."""
    best = clips.scores.argmax(1)
    place = np.arange(len(best)), best
    agreed = np.where(clips.true, clips.scores, 0).max(1, initial=0)
    wrong = (clips.scores[place] >= CONTRADICTED) & ~clips.true[place] & (agreed < AGREED)
    listed = [
        Contradiction(clips.rows[i], clips.tags[best[i]], float(clips.scores[place][i]), float(agreed[i]))
        for i in np.flatnonzero(wrong)
    ]
    return sorted(listed, key=lambda item: (-item.score, item.row.path))


def likeness(clips: Scored) -> dict[str, float]:
    """Return class -> mean cosine of the centered log scores of its clips, over pairs of different groups.

    A name says little if sounds with this name are hardly more alike than any two sounds. Classes with fewer than
    `LEAST_CLIPS` clips or pairs are left out.
    """
    logs = np.log(clips.all_scores.astype(np.float64) + 1e-4)
    logs -= logs.mean(0)
    unit = logs / np.linalg.norm(logs, axis=1, keepdims=True).clip(1e-12)
    names, groups = clips.column("class_name"), clips.column("group")
    means = {}
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        elsewhere = groups[members][:, None] != groups[members][None]
        if len(members) >= LEAST_CLIPS and elsewhere.sum() >= LEAST_CLIPS:
            means[str(name)] = float((unit[members] @ unit[members].T)[elsewhere].mean())
    return means


def vague_classes(clips: Scored) -> set[str]:
    """Return the classes whose names say little: the share `SHARE` of the measured classes with the least likeness."""
    means = likeness(clips)
    limit = np.quantile(list(means.values()), SHARE) if means else 0.0
    return {name for name, mean in means.items() if mean < limit}


def pseudo_labels(clips: Scored) -> tuple[list[Row], Threshold]:
    """Return the rows of clips that get a label from the tagger, and the threshold.

    Only clips of at least `WINDOW_S` whose names say little get one, from a listed tag that is not in `GENERAL` and not
    true of their class anyway. The row gets the tag "pseudo-label", the caption "TAG." among its other captions, and
    the tag with its score in `meta`; its class stays.

    Raises:
        ConfigError: no threshold has the precision `PRECISION` on clips with names that say much.
    """
    specific = np.array([tag not in GENERAL for tag in clips.tags])
    tags = [tag for tag in clips.tags if tag not in GENERAL]
    scores, true = clips.scores[:, specific], clips.true[:, specific]
    best = scores.argmax(1)
    score, right = scores[np.arange(len(best)), best], true[np.arange(len(best)), best]
    long = clips.column("duration_s") >= WINDOW_S
    vague = np.isin(clips.column("class_name"), sorted(vague_classes(clips)))
    half = np.array([hashlib.sha256(row.group.encode()).digest()[0] % 2 for row in clips.rows], bool)
    threshold = _threshold(score[long & ~vague], right[long & ~vague], half[long & ~vague])
    chosen = np.flatnonzero(long & vague & ~right & (score >= threshold.score))
    return [_labeled(clips.rows[i], tags[best[i]], float(score[i])) for i in chosen], threshold


def _threshold(score: NDArray[Any], right: NDArray[np.bool_], half: NDArray[np.bool_]) -> Threshold:
    """Return the least threshold whose precision on one half of the clips is at least `PRECISION`."""
    for least in np.arange(0.2, 1.0, 0.05).round(2):
        counts = []
        for side in (False, True):
            chosen = (score >= least) & (half == side)
            counts.append((int(right[chosen].sum()), int(chosen.sum())))
        if counts[0][1] and counts[0][0] / counts[0][1] >= PRECISION:
            return Threshold(float(least), counts[0], counts[1])
    raise ConfigError(f"no threshold of the tagger has a precision of {PRECISION} on these clips; use a larger corpus")


def _labeled(row: Row, tag: str, score: float) -> Row:
    meta = json.loads(row.meta) if row.meta else {}
    meta["pseudo_label"] = {"tag": tag, "score": round(score, 3), "tagger": "yamnet"}
    text = f"The sound of {tag.split(',')[0].lower()}."
    return dataclasses.replace(
        row, tags=[*row.tags, "pseudo-label"], captions=[*row.captions, text], meta=json.dumps(meta, sort_keys=True)
    )
