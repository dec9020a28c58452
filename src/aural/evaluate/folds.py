"""Folds for data sets that publish none: every class spread over all folds, no recording on both sides of one.

Legend: N clips, K classes.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from aural.core.errors import DataError
from aural.evaluate.truth import Examples

FOLDS: Final = 5


def drawn_folds(found: Examples, seed: int, folds: int = FOLDS) -> tuple[str, ...]:
    """(N,) names "1" to "5".

    The clips of one group (the manifest's column `group`: one recording, one speaker) share a fold. A class that has
    only one group is cut by clips instead, since no fold could else train on it and test it. Groups are dealt to the
    folds that have fewest clips of their class, largest class first, in an order drawn from the seed.
    Raises DataError where no class has two clips.
    """
    assert found.targets is not None
    rows, first = found.rows, found.targets.argmax(axis=1)
    sizes = found.targets.sum(axis=0)
    if (sizes < 2).all():
        raise DataError(f"{found.corpus.folder}: no class of this task has two clips, so no probe can be trained")
    names = [(one.source, one.group or one.path) for one in rows]
    groups_of = {int(k): {names[n] for n in np.flatnonzero(first == k)} for k in np.unique(first)}
    members: dict[tuple[str, ...], list[int]] = {}
    for n, (name, k) in enumerate(zip(names, first, strict=True)):
        unit: tuple[str, ...] = name if len(groups_of[int(k)]) > 1 else (*name, rows[n].path, f"{rows[n].start_s:g}")
        members.setdefault(unit, []).append(n)

    def order(unit: tuple[str, ...]) -> tuple[int, str]:
        key = hashlib.sha256("\0".join((str(seed), *unit)).encode()).hexdigest()
        return -int(sizes[first[members[unit][0]]]), key

    counts, total = np.zeros((folds, found.targets.shape[1])), np.zeros(folds)
    chosen = np.zeros(len(rows), np.int64)
    for unit in sorted(members, key=order):
        clips = members[unit]
        held = counts[:, first[clips]].sum(axis=1)
        fold = int(np.lexsort((total, held))[0])
        chosen[clips] = fold
        counts[fold] += found.targets[clips].sum(axis=0)
        total[fold] += len(clips)
    return tuple(str(fold + 1) for fold in chosen)


def lonely(found: Examples) -> int:
    """Clips of classes with one clip only: whichever fold they fall in, no probe was trained on their class."""
    assert found.targets is not None
    sizes = found.targets.sum(axis=0)
    return int(((found.targets * (sizes == 1)).sum(axis=1) > 0).sum())
