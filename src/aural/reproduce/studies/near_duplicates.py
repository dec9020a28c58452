"""Compare InfoNCE with continuous weights where captions of a batch are near-duplicates, and where none are.

Claim: continuous weights (CWCL, arXiv 2309.14580) help because captions of a batch that say nearly the same are no
plain negatives; without such captions there is nothing to gain. The second attempt at `continuous-weights`: there the
vectors of captions are centered, so that a target (1 + cosine) / 2 gives an unrelated caption half of the weight of the
matching one, and the 127 other captions of a batch together over 98% of the target. Here unrelated
captions have nearly none.

Everything but the target and the clips of a batch is as in `graded_targets`. Arms:

    info-nce            the matching caption only
    positive            max(0, cosine)^2 of the frozen vectors of two captions
    info-nce-distinct   info-nce on the first clip of each class in a batch
    info-nce-apart      info-nce on clips whose captions are not similar: none has a cosine of `APART` or more with one
                        that is kept before it
    positive-apart      positive on the same clips
    positive-distinct   positive on the same clips

Legend: B clips of a batch, D width of the vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from aural.nn.functional import unit
from aural.objectives import SoftTargets
from aural.reproduce.studies.frozen_text import (
    SMOKE_CHANGES,
    Towers,
    audio_tower,
    evaluate,
    load_data,
    match,
    text_table,
)
from aural.reproduce.studies.graded_targets import WIDTH, classes_of, graded
from aural.reproduce.study import Scores, StudyContext
from aural.train.recipes import load_recipe

APART: Final = 0.3
BATCH_TENSORS: Final = ("audio_emb", "text_emb", "frozen_emb")
TARGETS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "info-nce": lambda frozen_emb: torch.eye(len(frozen_emb), device=frozen_emb.device),
    "positive": lambda frozen_emb: positive_targets(frozen_emb),
}


def run(
    context: StudyContext, *, changes: Sequence[str] = (), batches: Sequence[str] = ("complete", "distinct")
) -> Scores:
    """Return arm -> task -> scores. changes: of the recipe; batches: which clips of a batch are used."""
    data = load_data(context)
    recipe = load_recipe("small_pair", SMOKE_CHANGES if context.smoke else changes)
    table = text_table(context, data, "minilm", 8 if context.smoke else WIDTH)
    label = classes_of(data.train.rows)[0].to(data.device)
    objective = SoftTargets()
    scores = {}
    for name, targets in TARGETS.items():
        for kind in batches:

            def loss(
                given: Mapping[str, Tensor],
                chosen: Tensor,
                targets: Callable[[Tensor], Tensor] = targets,
                kind: str = kind,
            ) -> Tensor:
                kept = torch.arange(len(chosen), device=chosen.device)
                if kind == "distinct":
                    kept = first_of_each(label[chosen])
                elif kind == "apart":
                    kept = not_similar(given["frozen_emb"])
                rows = {**given, **{tensor: given[tensor][kept] for tensor in BATCH_TENSORS}}
                return objective({**rows, "targets": targets(rows["frozen_emb"])})["loss"]

            towers = Towers(audio_tower(recipe, context.seed), table, context.seed)
            match(towers, data.train, recipe, context.seed, loss)
            arm = name if kind == "complete" else f"{name}-{kind}"
            scores[arm] = evaluate(towers, data) | {"graded": graded(towers, data)}
    return scores


def positive_targets(frozen_emb: Tensor) -> Tensor:
    """Return (B, B): max(0, cosine)^2 of two rows of (B, D), so that chance similarities hardly count.

    >>> positive_targets(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [3.0, 0.0]]))
    tensor([[1., 0., 1.],
            [0., 1., 0.],
            [1., 0., 1.]])
    """
    rows = unit(frozen_emb)
    return (rows @ rows.T).clamp(min=0).square()


def not_similar(frozen_emb: Tensor) -> Tensor:
    """Return the places of rows (B, D) without those whose cosine with a row that is kept before is `APART` or more.

    >>> not_similar(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    tensor([0, 2])
    """
    rows = unit(frozen_emb)
    near = (rows @ rows.T >= APART).cpu().numpy()
    kept: list[int] = []
    for i in range(len(rows)):
        if not near[i, kept].any():
            kept.append(i)
    return torch.tensor(kept, device=rows.device)


def first_of_each(label: Tensor) -> Tensor:
    """Return the places of the first item of each label (B,), in order.

    >>> first_of_each(torch.tensor([4, 2, 4, 7, 2]))
    tensor([0, 1, 3])
    """
    same = label[:, None] == label[None, :]
    return (same.int().argmax(1) == torch.arange(len(label), device=label.device)).nonzero().flatten()
