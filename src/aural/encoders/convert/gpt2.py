"""GPT-2 with its output layer, as transformers names it, to the tensors of `aural.nn.decoder`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from aural.core.errors import CheckpointError
from aural.encoders.convert.base import Piece, Publisher, Shape, translate
from aural.nn.decoder import Decoder, DecoderConfig

_PARTS = {
    "norm1": "ln_1",
    "norm2": "ln_2",
    "qkv": "attn.c_attn",
    "out": "attn.c_proj",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
}
_TOP = {"tokens": "wte", "places": "wpe", "norm": "ln_f"}
HEAD = "lm_head.weight"


def from_gpt2(state: Mapping[str, Tensor], config: DecoderConfig, where: str, *, prefix: str = "") -> dict[str, Tensor]:
    """Return the decoder's tensors from those whose names start with `prefix`.

    Raises CheckpointError for tensors that are missing, unexpected or misshaped, and for an output layer that differs
    from the table of tokens, which GPT-2 shares.
    """

    def piece(name: str, shape: Shape) -> Piece:
        *place, part, kind = name.split(".")
        if not place:
            return Piece({f"{prefix}transformer.{_TOP[part]}.{kind}": shape})
        published = f"{prefix}transformer.h.{place[1]}.{_PARTS[part]}.{kind}"
        if len(shape) == 1:
            return Piece({published: shape})
        return Piece({published: shape[::-1]}, lambda tensors: tensors[0].T.contiguous())  # stored as (in, out)

    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Decoder(config).state_dict().items()}
    used = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    head = f"{prefix}{HEAD}"
    publisher = Publisher(piece, {head: shapes["tokens.weight"]})
    tensors = translate(used, shapes, publisher, where)
    if not torch.equal(state[head], tensors["tokens.weight"]):
        raise CheckpointError(f'{where}: "{head}" differs from the table of tokens, which GPT-2 shares')
    return tensors
