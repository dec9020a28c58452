"""Cross two audio encoders with two pretrained language models, and compare zero-shot scores and retrieval.

Claim: an audio encoder pretrained on many tasks and a decoder-only text encoder give better zero-shot scores than one
pretrained on sound events only and a bidirectional text encoder. Papers: CLAP 2022 (arXiv 2206.04769) and CLAP 2023
(arXiv 2309.05767). The card `two-stages` does the same with text encoders from random weights.

Stage 1, per seed: the audio encoder of recipe `small_stage1` learns, from the same first weights, clips, order and
number of steps, either the class names ("events") or the mean of six tasks ("many"): class name, family, source of the
recording, language, pitch of notes, and the words of the caption.

Stage 2, recipe `small_pair`: the audio encoder is tuned with a head per side, by InfoNCE, on clips with one of their
captions. The language model is MiniLM ("bidirectional", mean over tokens) or SmolLM2 ("decoder", last token). Tasks and
what the arms of a seed share: see `frozen_text`.

Legend: N clips, C classes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from aural.data.manifest import Row
from aural.objectives import InfoNCE
from aural.reproduce.studies.frozen_text import (
    SMOKE_CHANGES,
    Clips,
    Towers,
    audio_tower,
    descend,
    evaluate,
    load_data,
    match,
    text_table,
)
from aural.reproduce.study import Scores, StudyContext
from aural.train.config import Recipe
from aural.train.recipes import load_recipe

TEXT: Final = {"bidirectional": "minilm", "decoder": "smollm2"}
STAGE_1: Final = {"events": ("names",), "many": ("names", "families", "sources", "languages", "pitches", "words")}
IGNORED: Final = -100


@dataclass(frozen=True)
class Sizes:
    """Sizes of the study; the rest comes from the recipes."""

    width: int = 384
    """Principal axes of the vectors of captions, at most their dimension."""
    word_clips: int = 10
    """Training clips that a word of the task "words" occurs in, at least."""
    semitones: int = 6
    """Width of a class of the task "pitches"."""
    changes: tuple[str, ...] = ()
    """Changes of both recipes."""


SMOKE: Final = Sizes(width=8, word_clips=3, changes=SMOKE_CHANGES)


@dataclass(frozen=True)
class Target:
    """The answers of one task: class numbers (N,), `IGNORED` for none, or 0 and 1 per class (N, C)."""

    answers: Tensor
    classes: int


def run(context: StudyContext, **options: Any) -> Scores:
    """Return arm -> task -> scores; `options` are fields of `Sizes`."""
    sizes = SMOKE if context.smoke else Sizes(**options)
    seed, objective = context.seed, InfoNCE()
    data = load_data(context)
    targets = targets_of(data.train.rows, sizes, data.device)
    stage_1, stage_2 = (load_recipe(name, sizes.changes) for name in ("small_stage1", "small_pair"))
    vectors = {name: text_table(context, data, model, sizes.width) for name, model in TEXT.items()}

    def loss(given: Mapping[str, Tensor], chosen: Tensor) -> Tensor:
        return objective(given)["loss"]

    scores = {}
    for stage, tasks in STAGE_1.items():
        audio = audio_tower(stage_2, seed)
        of_stage = {name: targets[name] for name in tasks}
        audio.encoder.load_state_dict(pretrain(audio.encoder, of_stage, data.train, stage_1, seed).state_dict())
        for name, table in vectors.items():
            towers = Towers(audio, table, seed)
            match(towers, data.train, stage_2, seed, loss)
            scores[f"{stage}-{name}"] = evaluate(towers, data)
    return scores


def targets_of(rows: Sequence[Row], sizes: Sizes, device: torch.device) -> dict[str, Target]:
    """Return the answers of all tasks of stage 1."""
    keys = [json.loads(row.meta).get("key") if row.meta else None for row in rows]
    return {
        "names": _choices((row.class_name for row in rows), device),
        "families": _choices((row.family for row in rows), device),
        "sources": _choices((row.source for row in rows), device),
        "languages": _choices((row.language or "none" for row in rows), device),
        "pitches": _choices(("" if key is None else str(key // sizes.semitones) for key in keys), device),
        "words": _words([words_of(row.caption_detailed) for row in rows], sizes.word_clips, device),
    }


def words_of(caption: str) -> set[str]:
    """Return the words of a caption.

    >>> sorted(words_of("Deep, decaying: a note."))
    ['a', 'decaying', 'deep', 'note']
    """
    return {word.strip(".,:;").lower() for word in caption.split()}


def _choices(values: Iterable[str], device: torch.device) -> Target:
    """Number the values; empty ones have no answer."""
    values = list(values)
    number = {value: i for i, value in enumerate(sorted({value for value in values if value}))}
    return Target(torch.tensor([number.get(value, IGNORED) for value in values], device=device), max(1, len(number)))


def _words(captions: Sequence[set[str]], clips: int, device: torch.device) -> Target:
    counts = Counter(word for caption in captions for word in caption)
    words = sorted(word for word, count in counts.items() if count >= clips)
    answers = [[float(word in caption) for word in words] for caption in captions]
    return Target(torch.tensor(answers, device=device), len(words))


def pretrain(first: nn.Module, targets: dict[str, Target], train: Clips, recipe: Recipe, seed: int) -> nn.Module:
    """Return a copy of the audio encoder that has learned the tasks, each with a separate linear head."""
    device = train.mel.device
    torch.manual_seed(seed)
    encoder: Any = deepcopy(first)
    heads = nn.ModuleDict({name: nn.Linear(encoder.dim, target.classes) for name, target in targets.items()})
    module = nn.ModuleDict({"encoder": encoder, "heads": heads}).to(device)

    def loss_of(chosen: Tensor, mel: Tensor, rng: np.random.Generator) -> Tensor:
        pooled = encoder(mel).pooled
        losses = [task_loss(heads[name](pooled), target.answers[chosen]) for name, target in targets.items()]
        return torch.stack(losses).mean()

    descend(module, loss_of, train, recipe, seed)
    return encoder


def task_loss(logits: Tensor, answers: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (N, C) over the clips with an answer (else 0), or over all words."""
    if answers.dim() == 2:
        return nn.functional.binary_cross_entropy_with_logits(logits, answers)
    total = nn.functional.cross_entropy(logits, answers, ignore_index=IGNORED, reduction="sum")
    return total / (answers != IGNORED).sum().clamp_min(1)
