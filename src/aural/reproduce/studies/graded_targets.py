"""Compare targets of the contrastive loss that grade how well a caption of the batch fits a clip.

Claims: continuous weights from the similarities of the frozen tower (CWCL, arXiv 2309.14580) give better zero-shot
scores than InfoNCE; weights from the tree of the classes (SPACE-2, arXiv 2209.06638) give a better graded ranking than
flat labels.

An audio encoder from random weights and a head over the vectors of frozen MiniLM are trained by recipe `small_pair`
(see `frozen_text`). Arms differ in the target matrix of `soft_targets` alone:

    info-nce   the matching caption only
    frozen     (1 + cosine) / 2 of the frozen vectors of two captions
    labels     1 for captions of the same class (flat)
    tree       1 for the same class, 1/2 for the same family

Clips without a class are a class of their family. Tasks: those of `frozen_text`, and
    graded     nDCG of all named test clips for the prompt of a class, with the gains 1, 1/2 and 0 of "tree"; one item
               per class

Legend: B clips of a batch, N clips, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.data.manifest import Row
from aural.objectives import SoftTargets
from aural.objectives.targets import frozen_targets, label_targets, tree_similarity, tree_targets
from aural.reproduce.studies.frozen_text import (
    PROMPT,
    SMOKE_CHANGES,
    Data,
    Towers,
    audio_tower,
    embed_clips,
    evaluate,
    load_data,
    match,
    text_table,
)
from aural.reproduce.study import Scores, StudyContext
from aural.train.recipes import load_recipe

Targets: TypeAlias = Callable[[Mapping[str, Tensor], Tensor], Tensor]
"""Of the tensors of a batch and the classes of its clips (B,): the target matrix (B, B)."""
WIDTH: Final = 384


def run(context: StudyContext, *, arms: Sequence[str], changes: Sequence[str] = ()) -> Scores:
    """Return arm -> task -> scores. arms: names of target matrices. changes: of the recipe."""
    data = load_data(context)
    recipe = load_recipe("small_pair", SMOKE_CHANGES if context.smoke else changes)
    table = text_table(context, data, "minilm", 8 if context.smoke else WIDTH)
    label, paths = classes_of(data.train.rows)
    label = label.to(data.device)
    matrices = target_matrices(tree_similarity(paths))
    objective = SoftTargets()
    scores = {}
    for arm in arms:

        def loss(given: Mapping[str, Tensor], chosen: Tensor, targets: Targets = matrices[arm]) -> Tensor:
            return objective({**given, "targets": targets(given, label[chosen])})["loss"]

        towers = Towers(audio_tower(recipe, context.seed), table, context.seed)
        match(towers, data.train, recipe, context.seed, loss)
        scores[arm] = evaluate(towers, data) | {"graded": graded(towers, data)}
    return scores


def target_matrices(similarity: Tensor) -> dict[str, Targets]:
    """Return the target matrix of each arm, from the similarities of the classes (C, C)."""
    return {
        "info-nce": lambda given, label: torch.eye(len(label), device=label.device),
        "frozen": lambda given, label: frozen_targets(given["frozen_emb"]),
        "labels": lambda given, label: label_targets(label),
        "tree": lambda given, label: tree_targets(label, similarity),
    }


def classes_of(rows: Sequence[Row]) -> tuple[Tensor, list[tuple[str, ...]]]:
    """Return the class number of each clip (N,) and the path of each class: family, then name if there is one."""
    of_clip = [tuple(part for part in (row.family or "other", row.class_name) if part) for row in rows]
    paths = sorted(set(of_clip))
    number = {path: i for i, path in enumerate(paths)}
    return torch.tensor([number[path] for path in of_clip]), paths


def graded(towers: Towers, data: Data) -> NDArray[np.float64]:
    """Return nDCG of the named test clips per class of these clips, in the order of the class names."""
    rows = data.test.rows
    named = [i for i, row in enumerate(rows) if row.class_name]
    label, paths = classes_of([rows[i] for i in named])
    place = data.places()
    prompts = torch.tensor([place[PROMPT.format(path[-1])] for path in paths], device=data.device)
    with torch.no_grad():
        text = towers.embed_texts(prompts).double().cpu().numpy()
    similarity = text @ embed_clips(towers, data.test)[named].T
    return ndcg(similarity, tree_similarity(paths)[:, label].double().numpy())


def ndcg(scores: NDArray[np.float64], gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the normalized discounted cumulative gain of each row of scores (Q, N).

    >>> ndcg(np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0]])).round(4)
    array([1.    , 0.6309])

    Source: Jarvelin and Kekalainen 2002 (doi 10.1145/582415.582418).
    """
    discount: Any = 1 / np.log2(np.arange(2, scores.shape[1] + 2))
    ranked = np.take_along_axis(gains, np.argsort(-scores, axis=1, kind="stable"), axis=1)
    ideal = -np.sort(-gains, axis=1)
    result: NDArray[np.float64] = (ranked @ discount) / (ideal @ discount)
    return result
