"""aiSFX: the sound-effects encoder of the Python package aisfx 0.1.2 (models/checkpoint.pth), CC-BY-4.0."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from aural.core.errors import CheckpointError
from aural.encoders.cnn9 import Cnn9, Cnn9Config

HEADS = "fc."  # nine class heads for categories of commercial libraries; the file does not name the categories


def read_encoder(path: str | Path) -> dict[str, Tensor]:
    """Read the encoder's tensors from the package's checkpoint, named as in `Cnn9`.

    The file pickles (state dict, {library: (index, classes)}) with numpy integers; apart from tensors, only these
    harmless types are allowed.
    """
    import numpy as np

    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    allowed = [(scalar, "numpy.core.multiarray.scalar"), np.dtype, type(np.dtype(np.int64))]
    with torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, tuple) or len(content) != 2:
        raise CheckpointError(f"{path}: is not the checkpoint of aisfx 0.1.2")
    state = {name: t for name, t in content[0].items() if not name.startswith(HEADS)}
    with torch.device("meta"):
        expected = Cnn9(Cnn9Config()).state_dict()
    names = {f"embedding_net.{name}": name for name in expected}
    if set(state) != set(names):
        odd = sorted(set(state) ^ set(names))[0]
        raise CheckpointError(f'{path}: "{odd}" is missing or unexpected; this is not the checkpoint of aisfx 0.1.2')
    return {names[name]: t for name, t in state.items()}
