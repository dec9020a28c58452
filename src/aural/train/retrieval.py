"""An evaluator for every system with sound and text embeddings: clips and captions of its first source find each other.

It measures how well a run has learned its training clips (or, with a source of split "valid", how well it generalizes).
Scores to compare with papers come from `aural evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.train.config import BatchingConfig, Recipe
from aural.train.draw import ITEM, generator
from aural.train.open_source import open_source
from aural.train.system import Plan, System
from aural.train.tokens import tokenizer_of

MOST = 1024


def retrieval(recipe: Recipe, plan: Plan, most: int = MOST) -> Callable[[System], dict[str, float]]:
    """Return a function that computes recall at 1 and 5 in both directions over up to `most` clips.

    The query of a clip is its first caption. Clips with the same caption are all counted as right answers.
    """
    if plan.audio is None or plan.text is None or not {"audio_emb", "text_emb"} <= plan.rows:
        raise ConfigError(
            'evaluators: "retrieval" needs a system that gives audio_emb and text_emb; take it out of the recipe'
        )
    data = recipe.data.model_copy(update={"crop": "center", "batching": BatchingConfig()})
    source = open_source(recipe.data.sources[0], data, plan.audio, recipe.seed)
    items = [source.item(i, partial(generator, recipe.seed, ITEM, i)) for i in range(min(most, len(source)))]
    tokens = tokenizer_of(plan.text)([item.captions[0] for item in items])
    same = same_words([item.captions[0] for item in items])

    @torch.inference_mode()
    def measure(system: System) -> dict[str, float]:
        device = next(system.parameters()).device
        audio, text = [], []
        for at in range(0, len(items), 32):
            some = items[at : at + 32]
            if some[0].mel is not None:
                batch = {"mel": torch.stack([torch.from_numpy(x.mel) for x in some]).to(device)}
            else:
                batch = {"wave": torch.stack([torch.from_numpy(x.wave) for x in some]).to(device)}
            batch |= {"ids": tokens.ids[at : at + 32].to(device), "mask": tokens.mask[at : at + 32].to(device)}
            out = system(batch)
            audio.append(out["audio_emb"])
            text.append(out["text_emb"])
        scores = (torch.cat(audio) @ torch.cat(text).T).cpu()
        recalls = {f"text_to_audio_r{k}": recall(scores.T, same, k) for k in (1, 5)}
        return recalls | {f"audio_to_text_r{k}": recall(scores, same, k) for k in (1, 5)}

    return measure


def recall(scores: Tensor, right: Tensor, k: int) -> float:
    """Return the share of rows whose k best columns hold a right one; scores and right are (N, M)."""
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return float(right.gather(1, best).any(1).float().mean())


def same_words(texts: Sequence[str]) -> Tensor:
    """Return (N, N) bool: whether two texts are equal."""
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    ids = torch.tensor([numbers[text] for text in texts])
    return ids[:, None] == ids[None]
