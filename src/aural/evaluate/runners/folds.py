"""Training and test clips of probes: the card's training splits, published folds, or folds drawn here.

Folds that are drawn here spread every class over all folds and keep each recording in one fold.

Legend: N clips, K classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import numpy as np

from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.evaluate.examples import Examples, LoadedTask
from aural.evaluate.outcome import Context, Outcome

FOLDS: Final = 5


def train_and_test(context: Context, task: LoadedTask) -> Iterator[tuple[Examples, Examples]]:
    """Yield (train, test): once for a card with a training split, otherwise once per fold."""
    test = task.test
    if task.train is not None:
        classes = tuple(dict.fromkeys((*task.train.classes, *test.classes)))
        yield _with_classes(task.train, classes), _with_classes(test, classes)
        return
    folds = np.array(test.folds or drawn_folds(test, context.seed))
    if len(set(folds.tolist())) < 2:
        raise DataError(f"{task.card.name}: has neither a training split nor two folds, so no probe can be trained")
    clips = Examples(test.corpus, test.numbers, test.classes, test.targets, tuple(folds.tolist()))
    for fold in np.unique(folds):
        yield clips.subset(folds != fold), clips.subset(folds == fold)


def embedded_folds(context: Context, task: LoadedTask) -> Iterator[tuple[Examples, FloatArray, Examples, FloatArray]]:
    """Yield (train, its embeddings, test, its embeddings) of the readable clips, as `train_and_test` splits them."""
    for train, test in train_and_test(context, task):
        train_clips, train_audio = context.readable(train)
        test_clips, test_audio = context.readable(test)
        yield train_clips, train_audio, test_clips, test_audio


def join_folds(tests: list[Examples], scores: list[FloatArray]) -> tuple[Examples, FloatArray]:
    """Return the test clips of all folds as one, and their scores (N, K)."""
    first = tests[0]
    clips = Examples(
        first.corpus,
        np.concatenate([t.numbers for t in tests]),
        first.classes,
        np.concatenate([t.labels for t in tests]),
        tuple(fold for t in tests for fold in t.folds),
    )
    return clips, np.concatenate(scores)


def note_drawn_folds(outcome: Outcome, task: LoadedTask) -> Outcome:
    """Add a note to the outcome if its folds were drawn here."""
    clips = task.test
    if task.train is None and not clips.folds:
        outcome.notes.append(f"trained and tested on {FOLDS} folds of the task's own clips, drawn here")
        if single := clips_without_peer(clips):
            outcome.notes.append(f"{single} of {len(clips.numbers)} clips are the only one of their class: never right")
    return outcome


def drawn_folds(clips: Examples, seed: int, folds: int = FOLDS) -> tuple[str, ...]:
    """Return the fold of each clip, (N,) names "1" to "5".

    The clips of one group (the manifest's column `group`: one recording, one speaker) share a fold. A class with only
    one group is divided by clips, because otherwise no fold could both train on it and test it. Groups are assigned to
    the folds with the fewest clips of their class, largest class first, in an order drawn from the seed.
    Raises DataError if no class has two clips.
    """
    targets = clips.labels
    rows, first = clips.rows, targets.argmax(axis=1)
    sizes = targets.sum(axis=0)
    if (sizes < 2).all():
        raise DataError(f"{clips.corpus.folder}: no class of this task has two clips, so no probe can be trained")
    names = [(one.source, one.group or one.path) for one in rows]
    groups_of = {int(k): {names[n] for n in np.flatnonzero(first == k)} for k in np.unique(first)}
    members: dict[tuple[str, ...], list[int]] = {}
    for n, (name, k) in enumerate(zip(names, first, strict=True)):
        unit: tuple[str, ...] = name if len(groups_of[int(k)]) > 1 else (*name, rows[n].path, f"{rows[n].start_s:g}")
        members.setdefault(unit, []).append(n)

    def order(unit: tuple[str, ...]) -> tuple[int, str]:
        key = hashlib.sha256("\0".join((str(seed), *unit)).encode()).hexdigest()
        return -int(sizes[first[members[unit][0]]]), key

    counts, total = np.zeros((folds, targets.shape[1])), np.zeros(folds)
    chosen = np.zeros(len(rows), np.int64)
    for unit in sorted(members, key=order):
        numbers = members[unit]
        held = counts[:, first[numbers]].sum(axis=1)
        fold = int(np.lexsort((total, held))[0])
        chosen[numbers] = fold
        counts[fold] += targets[numbers].sum(axis=0)
        total[fold] += len(numbers)
    return tuple(str(fold + 1) for fold in chosen)


def clips_without_peer(clips: Examples) -> int:
    """Count the clips that are the only one of their class: no probe is trained on the class of such a clip."""
    targets = clips.labels
    sizes = targets.sum(axis=0)
    return int(((targets * (sizes == 1)).sum(axis=1) > 0).sum())


def _with_classes(clips: Examples, classes: tuple[str, ...]) -> Examples:
    """Return the same clips with targets in the order of the given classes."""
    targets = np.zeros((len(clips.numbers), len(classes)), np.uint8)
    targets[:, [classes.index(name) for name in clips.classes]] = clips.labels
    return Examples(clips.corpus, clips.numbers, classes, targets, clips.folds)
