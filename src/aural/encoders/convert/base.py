"""Translate the state dict of another package to aural's, with every key and shape checked.

A `Publisher` describes a file: the name that it gives each of aural's tensors, the tensors that aural does not use
(such as class heads; they must still be present with the expected shape), and the constants whose values can be
checked. Leftovers of old library versions are optional.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from aural.core.errors import CheckpointError, near_miss

Shape = tuple[int, ...]
# Buffers that old versions of transformers wrote. They hold nothing learned and are the only unexpected keys allowed.
LEFTOVERS = re.compile(r"(^|\.)(h\.\d+\.attn\.(bias|masked_bias)|embeddings\.(position_ids|token_type_ids))$")


class Piece(NamedTuple):
    """The origin of one tensor: the publisher's tensor names with their shapes, and the function that joins them."""

    parts: dict[str, Shape]
    join: Callable[[list[Tensor]], Tensor] = lambda tensors: tensors[0]


@dataclass(frozen=True)
class Publisher:
    """The description of a publisher's file; `piece(name, shape)` returns the origin of aural's tensor `name`."""

    piece: Callable[[str, Shape], Piece]
    unused: Mapping[str, Shape] = field(default_factory=dict)
    constants: Mapping[str, Tensor] = field(default_factory=dict)


def stacked(names: list[str], shape: Shape) -> Piece:
    """Return the origin of a tensor stored as equal parts along the first dimension (query, key, value)."""
    part = (shape[0] // len(names), *shape[1:])
    return Piece(dict.fromkeys(names, part), lambda tensors: torch.cat(tensors))


def translate(
    state: Mapping[str, Tensor], ours: Mapping[str, Shape], publisher: Publisher, where: str
) -> dict[str, Tensor]:
    """Return aural's tensors from a publisher's state dict.

    ours: name and shape of every tensor to return. where: path for error messages. Raises CheckpointError with the
    first keys that are missing, unexpected or misshaped, and with constants that differ.
    """
    pieces = {name: publisher.piece(name, shape) for name, shape in ours.items()}
    expected: dict[str, Shape] = dict(publisher.unused)
    expected |= {name: tuple(tensor.shape) for name, tensor in publisher.constants.items()}
    for piece in pieces.values():
        expected |= piece.parts
    check_keys(state, expected, where)
    for name, constant in publisher.constants.items():
        if not torch.equal(state[name].to(constant.dtype), constant):
            raise CheckpointError(f'{where}: "{name}" differs from the value that its architecture fixes')
    return {name: piece.join([state[part] for part in piece.parts]) for name, piece in pieces.items()}


def check_keys(state: Mapping[str, Tensor], expected: Mapping[str, Shape], where: str) -> None:
    """Raise CheckpointError unless the keys and shapes are the expected ones; known leftovers are allowed."""
    missing = [key for key in expected if key not in state]
    if missing:
        raise CheckpointError(f"{where}: {_few(missing)} missing; the file is not the checkpoint it claims to be")
    extra = [key for key in state if key not in expected and not LEFTOVERS.search(key)]
    if extra:
        raise CheckpointError(f"{where}: {_few(extra)} not part of this architecture ({near_miss(extra[0], expected)})")
    for key, shape in expected.items():
        if tuple(state[key].shape) != shape:
            raise CheckpointError(f'{where}: "{key}" has shape {tuple(state[key].shape)}, expected {shape}')


def _few(keys: list[str]) -> str:
    shown = ", ".join(f'"{key}"' for key in keys[:3])
    verb = "is" if len(keys) == 1 else "are"
    return f"{shown}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''} {verb}"


def htsat_constants(prefix: str, depths: tuple[int, ...], window: int, side: int, masks: bool) -> dict[str, Tensor]:
    """Return the index tables and shift masks that publishers store with their window attention."""
    from aural.nn.window import relative_position_index, shift_mask

    constants: dict[str, Tensor] = {}
    for stage, depth in enumerate(depths):
        grid = side // 2**stage
        for block in range(depth):
            at = f"{prefix}layers.{stage}.blocks.{block}."
            if not masks:
                constants[f"{at}attention.self.relative_position_index"] = relative_position_index(window)
                continue
            constants[f"{at}attn.relative_position_index"] = relative_position_index(window)
            if block % 2 and grid > window:
                constants[f"{at}attn_mask"] = shift_mask(grid, grid, window, window // 2)
    return constants
