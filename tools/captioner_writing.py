"""Let a bridge and the packed decoder write and score candidate captions, and read them as texts.

A candidate is {"how": greedy, beam or near, "ids": tokens of the whole table without the stop token,
"score": mean log-likelihood per token}; one that is near also has "known", its place among the bundled sentences.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aural.generate.likelihood import text_log_likelihoods
from aural.generate.search import Limits, Written, beam, greedy
from aural.models.causal import TransformersDecoder
from captioner_data import Data

LONGEST = 20
"""Tokens of a caption."""
WIDTH = 5
NEAR = 20
ROWS = 64
"""Clips that are described at once."""


def prefixes(decoder: TransformersDecoder, prefix: Tensor, prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Return vectors (N, P + L, W) of prefixes and prompts, padded on the left, and their mask."""
    width = max(len(one) for one in prompts)
    vectors = prefix.new_zeros(len(prompts), prefix.shape[1] + width, prefix.shape[2])
    mask = torch.zeros(vectors.shape[:2], dtype=torch.long, device=prefix.device)
    for n, ids in enumerate(prompts):
        rows = torch.cat([prefix[n], decoder.embed(torch.tensor([ids], device=prefix.device))[0].to(prefix.dtype)])
        vectors[n, -len(rows) :], mask[n, -len(rows) :] = rows, 1
    return vectors, mask


@torch.inference_mode()
def candidates_of(model: Any, bridge: nn.Module, data: Data, part: str, prompts: int) -> list[list[dict[str, Any]]]:
    """Return the candidates per clip of a list."""
    decoder, limits = TransformersDecoder(model, None), Limits(max_tokens=LONGEST, stop_ids=(data.stop,))
    sounds = data.sound[part]
    near = data.near(sounds, max(prompts, NEAR), data.left_out.get(part))
    result: list[list[dict[str, Any]]] = []
    for numbers in torch.arange(len(sounds)).split(ROWS):
        given = [data.prompt(near[int(n)][:prompts]) for n in numbers]
        vectors, mask = prefixes(decoder, bridge(sounds[numbers]).to(next(model.parameters()).dtype), given)
        plain = greedy(decoder, vectors, limits, mask=mask)
        wide = beam(decoder, vectors, limits, width=WIDTH, mask=mask)
        for k, n in enumerate(numbers):
            places = near[int(n)][:NEAR]
            tokens = [[*data.tokens[data.known[place]][0], data.stop] for place in places]
            start = vectors[k : k + 1, -int(mask[k].sum()) :]
            sums = text_log_likelihoods(decoder, start, tokens)
            entries = [_entry("greedy", one, data) for one in plain[k]] + [_entry("beam", one, data) for one in wide[k]]
            for place, ids, total in zip(places, tokens, sums, strict=True):
                whole = [data.kept[i] for i in ids[:-1]]
                entries.append({"how": "near", "ids": whole, "score": total / len(ids), "known": place})
            result.append(entries)
    return result


def _entry(how: str, one: Written, data: Data) -> dict[str, Any]:
    return {"how": how, "ids": [data.kept[i] for i in one.ids], "score": one.mean_log_likelihood}
