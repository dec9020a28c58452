"""An evaluator that any contrastive recipe can use: clips and captions of its first source find each other.

This measures how far a run has learned what it was shown (or, with a source of split "valid", what it was not); scores
to compare with papers come from aural's evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from aural.audio.io import read  # noqa: F401 - kept beside window, which reads through it
from aural.models.clap import Clap
from aural.train.config import Recipe
from aural.train.draw import ITEM, generator
from aural.train.loader import tokenizer_of
from aural.train.sources import open_source
from aural.train.towers import log_mel, unit

MOST = 1024


def retrieval(recipe: Recipe, most: int = MOST) -> Callable[[Clap], dict[str, float]]:
    """Recall at 1 and 5 in both directions over up to `most` clips; a clip's first caption is its question.

    Clips with the same caption are each other's right answers too.
    """
    data = recipe.data.model_copy(update={"crop": "center"})
    source = open_source(recipe.data.sources[0], data, recipe.model.clap.audio, recipe.seed)
    items = [source.item(i, generator(recipe.seed, ITEM, i)) for i in range(min(most, len(source)))]
    tokens = tokenizer_of(recipe.model.clap)([item.captions[0] for item in items])
    same = same_words([item.captions[0] for item in items])

    @torch.inference_mode()
    def measure(clap: Clap) -> dict[str, float]:
        device = clap.logit_scale.device
        audio, text = [], []
        for at in range(0, len(items), 32):
            some = items[at : at + 32]
            if some[0].mel is not None:
                batch = {"mel": torch.stack([torch.from_numpy(x.mel) for x in some]).to(device)}
            else:
                batch = {"wave": torch.stack([torch.from_numpy(x.wave) for x in some]).to(device)}
            audio.append(unit(clap.audio.embed_mel(log_mel(clap.audio.front_end, batch))))
            text.append(unit(clap.text(tokens.ids[at : at + 32].to(device), tokens.mask[at : at + 32].to(device))))
        scores = (torch.cat(audio) @ torch.cat(text).T).cpu()
        found = {f"text_to_audio_r{k}": recall(scores.T, same, k) for k in (1, 5)}
        return found | {f"audio_to_text_r{k}": recall(scores, same, k) for k in (1, 5)}

    return measure


def recall(scores: Tensor, right: Tensor, k: int) -> float:
    """Share of the rows whose k best columns hold a right one; scores and right are (N, M)."""
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return float(right.gather(1, best).any(1).float().mean())


def same_words(texts: Sequence[str]) -> Tensor:
    """(N, N) bool."""
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    ids = torch.tensor([numbers[text] for text in texts])
    return ids[:, None] == ids[None]
