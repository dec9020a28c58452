"""Train with paraphrases of a caption as further views of the same clip, and ask in words that were never trained.

Claim: with paraphrases as views in a multi-view contrastive loss, text-to-audio retrieval loses less when a query is
paraphrased, and original queries do not suffer. Paper: RobustCLAP (arXiv 2410.16505).

An audio encoder from random weights and a head over the vectors of frozen MiniLM are trained by recipe `small_pair`
(see `frozen_text`). Every clip of the corpus has an original caption ("windmill turning") and paraphrases with other
words ("the creak of a windmill"). All arms take the same clips, masks and number of steps:

    plain       info_nce with the original caption
    repeated    control: the loss of "views", with copies of the original caption as views
    drawn       info_nce with the original caption or one of its paraphrases, drawn in each step: the same data
                without the loss
    views       multi_positive with the original caption and `VIEWS` paraphrases of each clip as views
    per-view    the mean of one info_nce per view, with the views of "views"

Test: clips of the test split whose class has training clips, and their paraphrases that are no caption of any training
clip. One item per clip. A clip of the same class is right. Tasks:
    original        1 if the first clip for the original caption is right (R@1)
    paraphrase      R@1 of the clip's paraphrases, mean over them
    drop            original - paraphrase
    drop-seventy    0.7 times the drop; "views-in-full" and "per-view-in-full" have the complete drop, so that a
                    difference to another arm tests whether the drop is at least 30% smaller

Legend: B clips of a batch, N clips, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.core.errors import DataError
from aural.data.manifest import Row, read_manifest
from aural.nn.functional import unit
from aural.objectives import InfoNCE, MultiPositive
from aural.reproduce.studies.frozen_text import (
    SMOKE_CHANGES,
    Clips,
    Towers,
    captions_of,
    descend,
    embed_clips,
    load_clips,
)
from aural.reproduce.studies.voices import device_of, new_towers
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import corpus_folder
from aural.train.config import Recipe
from aural.train.recipes import load_recipe

Array: TypeAlias = NDArray[np.float64]
VIEWS: Final = 2
MULTI_VIEW: Final = ("views", "per-view")
SEVENTY: Final = 0.7
ARMS: Final = ("plain", "repeated", "drawn", "views")


def run(context: StudyContext, *, changes: Sequence[str] = (), arms: Sequence[str] = ARMS) -> Scores:
    """Return arm -> task -> scores. changes: of the recipe."""
    recipe = load_recipe("small_pair", SMOKE_CHANGES if context.smoke else changes)
    manifest = read_manifest(corpus_folder(context.data, context.out))
    texts = sorted({text for row in manifest for text in (*captions_of(row), *paraphrases(row))})
    device = device_of(context)
    train, test = (load_clips(context, manifest, split, texts, device) for split in ("train", "test"))
    place = {text: i for i, text in enumerate(texts)}
    views = [[place[captions_of(row)[0]], *(place[text] for text in paraphrases(row))] for row in train.rows]
    training = Clips(train.rows, train.mel, views)
    trained = {text for row in train.rows for text in (row.caption_label, *paraphrases(row))}
    queries = queries_of(train.rows, test.rows, place, set() if context.smoke else trained)
    if not queries:
        raise DataError(f"{manifest.folder}: every paraphrase of its test clips is a caption of a training clip")
    scores = {}
    for arm in arms:
        towers = new_towers(context, recipe, training, texts)
        match_views(towers, training, recipe, context.seed, arm)
        scores[arm] = evaluate(towers, test, queries)
        if arm in MULTI_VIEW:
            scores[f"{arm}-in-full"] = {"drop-seventy": scores[arm]["drop"]}
    return scores


def paraphrases(row: Row) -> list[str]:
    """Return the other captions of a clip, in the words of a grammar of captions."""
    return [text for text in dict.fromkeys((row.caption_short, *row.captions)) if text and text != row.caption_label]


def match_views(towers: Towers, train: Clips, recipe: Recipe, seed: int, arm: str) -> None:
    """Train both towers; the captions of a clip are its original and then its paraphrases."""
    info_nce, multi_view = InfoNCE(), MultiPositive()

    def loss_of(chosen: Tensor, mel: Tensor, rng: np.random.Generator) -> Tensor:
        drawn = [draw_views(train.captions[i], arm, rng) for i in chosen.tolist()]
        places = torch.tensor(drawn, device=mel.device)  # (B, views)
        text = towers.embed_texts(places.flatten())
        given = {
            "audio_emb": unit(towers.audio.embed_mel(mel)),
            "text_emb": text,
            "logit_scale": towers.logit_scale.clamp(max=float(np.log(100.0))).exp(),
        }
        if arm == "per-view":
            of_view = text.unflatten(0, places.shape).unbind(1)
            return torch.stack([info_nce({**given, "text_emb": rows})["loss"] for rows in of_view]).mean()
        if places.shape[1] == 1:
            return info_nce(given)["loss"]
        group = torch.arange(len(places), device=mel.device)
        given |= {"audio_group": group, "text_group": group.repeat_interleave(places.shape[1])}
        return multi_view(given)["loss"]

    descend(towers, loss_of, train, recipe, seed)


def draw_views(captions: Sequence[int], arm: str, rng: np.random.Generator) -> list[int]:
    """Return the views of a clip in one step, as places of captions; each arm draws the same random numbers."""
    numbers = rng.random(VIEWS + 1)
    original, others = captions[0], captions[1:] or captions[:1]
    if arm == "plain":
        return [original]
    if arm == "drawn":
        return [captions[int(numbers[0] * len(captions))]]
    if arm == "repeated":
        return [original] * (1 + VIEWS)
    return [original, *(others[int(number * len(others))] for number in numbers[1:])]


def queries_of(
    train: Sequence[Row], test: Sequence[Row], place: Mapping[str, int], trained: Set[str]
) -> list[tuple[int, int, list[int]]]:
    """Return the queries of the test clips that can be asked: number of the clip, original caption, paraphrases.

    The class of the clip has training clips, and its paraphrases are not among the trained texts.
    """
    classes = {class_of(row) for row in train}
    queries = []
    for n, row in enumerate(test):
        unseen = [place[text] for text in paraphrases(row) if text not in trained]
        if class_of(row) in classes and row.caption_label and unseen:
            queries.append((n, place[row.caption_label], unseen))
    return queries


def class_of(row: Row) -> tuple[str, str]:
    """Return what makes two clips equally right: class and language."""
    return row.class_name or row.caption_label, row.language


@torch.no_grad()
def evaluate(towers: Towers, test: Clips, queries: list[tuple[int, int, list[int]]]) -> dict[str, Array]:
    """Return the scores of all tasks, one item per query clip."""
    audio = embed_clips(towers, test)
    classes = [class_of(row) for row in test.rows]
    places = torch.tensor([p for _, original, others in queries for p in (original, *others)])
    text: NDArray[Any] = towers.embed_texts(places.to(towers.vectors.device)).double().cpu().numpy()
    first = (text @ audio.T).argmax(1)
    hits = iter(first.tolist())
    original, paraphrase = [], []
    for n, _, others in queries:
        right = [float(classes[next(hits)] == classes[n]) for _ in range(1 + len(others))]
        original.append(right[0])
        paraphrase.append(float(np.mean(right[1:])))
    drop = np.array(original) - np.array(paraphrase)
    return {
        "original": np.array(original),
        "paraphrase": np.array(paraphrase),
        "drop": drop,
        "drop-seventy": SEVENTY * drop,
    }
