"""Let a bridge and the packed decoder write and score candidate captions, and read them as texts.

A candidate is {"how": greedy, beam or near, "ids": tokens of the whole table without the stop token,
"score": mean log-likelihood per token}; one that is near also has "known", its place among the bundled sentences.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from aural.generate.likelihood import text_log_likelihoods
from aural.generate.search import Limits, Written, beam, greedy
from aural.models.causal import TransformersDecoder
from captioner_arms import ARMS, new_bridge
from captioner_data import Data
from captioner_decoder import open_packed

LONGEST = 20
"""Tokens of a caption."""
WIDTH = 5
NEAR = 10
ROWS = 16
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
def candidates_of(model: Any, bridge: nn.Module, data: Data, part: str, prompts: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the candidates of each clip of a list."""
    decoder, limits = TransformersDecoder(model, None), Limits(max_tokens=LONGEST, stop_ids=(data.stop,))
    sounds = data.sound[part]
    near = data.near(sounds, max(prompts, NEAR), data.left_out.get(part))
    for numbers in torch.arange(len(sounds)).split(ROWS):
        given = [data.prompt(near[int(n)][:prompts]) for n in numbers]
        vectors, mask = prefixes(decoder, bridge(sounds[numbers]).to(next(model.parameters()).dtype), given)
        plain = greedy(decoder, vectors, limits, mask=mask)
        wide = beam(decoder, vectors, limits, width=WIDTH, mask=mask)
        places = [place for n in numbers for place in near[int(n)][:NEAR]]
        tokens = [[*data.tokens[data.known[place]][0], data.stop] for place in places]
        sums = text_log_likelihoods(decoder, vectors, tokens, mask=mask)
        listed = [
            {"how": "near", "ids": [data.kept[i] for i in ids[:-1]], "score": total / len(ids), "known": place}
            for place, ids, total in zip(places, tokens, sums, strict=True)
        ]
        for k in range(len(numbers)):
            entries = [_entry("greedy", one, data) for one in plain[k]] + [_entry("beam", one, data) for one in wide[k]]
            yield entries + listed[k * NEAR : (k + 1) * NEAR]


def write(args: argparse.Namespace) -> None:
    """Write the candidates of saved bridges for the lists in --lists, as `train` does, in float32."""
    folder, result = Path(args.out), Path(args.result)
    model = open_packed(folder, args.device, torch.float32)
    data = Data(folder, args.device, args.most)
    for arm in args.arms.split(","):
        tensors = {name: tensor.float() for name, tensor in load_file(result / f"{arm}.safetensors").items()}
        bridge = new_bridge(ARMS[arm], data.text.shape[1], model.config.hidden_size).to(args.device)
        bridge.load_state_dict(tensors)
        for part in args.lists.split(","):
            start, entries = time.time(), []
            for one in candidates_of(model, bridge, data, part, ARMS[arm].prompts):
                entries.append(one)
                if len(entries) % ROWS == 0 or len(entries) == len(data.rows[part]):
                    (result / f"{arm}-{part}.json").write_text(json.dumps(entries))
                    print(f"{arm}, {part}: {len(entries)} clips, {time.time() - start:.0f} s", flush=True)


def _entry(how: str, one: Written, data: Data) -> dict[str, Any]:
    return {"how": how, "ids": [data.kept[i] for i in one.ids], "score": one.mean_log_likelihood}
