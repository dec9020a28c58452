"""Sounds as keys and values inside the layers of a frozen decoder, in place of a prefix.

PAL (row 53): the tokens of a sound are only attended to. They pass no query, no output
projection and no perceptron of the decoder ("attention-only"), and they may start at a later layer ("delayed").
With one vector per layer it is prefix tuning of every layer (Li and Liang 2021, arXiv 2101.00190).

Legend: R rows, A positions of the sound, L new positions, D width, H heads, S all positions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from aural.core.errors import ConfigError
from aural.nn.decoder import Decoder, KeysValues, Layer


def injected(decoder: Decoder, sounds: Tensor | Sequence[Tensor], *, first_layer: int = 0) -> KeysValues:
    """Return the cache of a decoder that has heard a sound: keys and values from `first_layer` on.

    sounds: vectors (R, A, D) for all layers, or one such tensor per layer. Layers before `first_layer` have no position
    of the sound. Pass the cache to `Decoder.forward` or `Decoder.read` with a mask (R, A + L).

    Raises ConfigError when no layer is left or the number of tensors is not that of the layers.
    """
    layers = [layer for layer in decoder.layers if isinstance(layer, Layer)]
    rows = [sounds] * len(layers) if isinstance(sounds, Tensor) else list(sounds)
    if len(rows) != len(layers):
        raise ConfigError(f"{len(rows)} tensors for {len(layers)} layers; give one tensor per layer")
    if not 0 <= first_layer < len(layers):
        raise ConfigError(f"first_layer {first_layer} is not from 0 to {len(layers) - 1}")
    heard = []
    for number, (layer, row) in enumerate(zip(layers, rows, strict=True)):
        kept = row[:, :0] if number < first_layer else row
        _, keys, values = layer.projected(kept)
        heard.append((keys, values))
    return KeysValues(tuple(heard))


def multiplications(dim: int, depth: int, *, attention_only: bool, first_layer: int = 0) -> int:
    """Return the multiplications with weights that a position of the sound costs in a decoder.

    A prefix passes 12 D^2 weights per layer (GPT-2: 4 D^2 of attention, 8 D^2 of the perceptron), an injected position
    only those of its key and value, 2 D^2, in the layers that hear it.

    >>> multiplications(4, 2, attention_only=False), multiplications(4, 2, attention_only=True, first_layer=1)
    (384, 32)
    """
    return (2 if attention_only else 12) * dim * dim * (depth - first_layer)
