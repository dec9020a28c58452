"""Read the tensors of torch files and safetensors files, mapped from disk."""

from __future__ import annotations

import pickle
from argparse import Namespace
from pathlib import Path, PosixPath
from typing import Any

import torch
from torch import Tensor

from aural.core.config import read_mapping
from aural.core.errors import CheckpointError, one_line

SHARD_INDEX = "model.safetensors.index.json"


def read_pickle(path: Path) -> Any:
    """Read a torch file with `weights_only=True`, so that no code in the file can run.

    Paths and command-line arguments, which some training scripts store next to the weights, are read as plain values.

    Raises CheckpointError when the file is damaged or holds more than tensors and plain values.
    """
    with torch.serialization.safe_globals([PosixPath, Namespace]):
        return _read_pickle(path)


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as first:  # damaged bytes raise almost any type
        error = first
        if "mmap" in str(error):  # files of torch before 1.6 are no zip archives and cannot be mapped
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except Exception as second:
                error = second
        reason = one_line(error, 140)
        if isinstance(error, pickle.UnpicklingError | EOFError | LookupError) or not reason:
            reason = "it is damaged, not a torch file, or holds more than tensors"
        raise CheckpointError(f"{path}: cannot be read as torch weights ({reason}); download it again") from None


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file; CheckpointError when it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error}); download it again") from None


def folder_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder's model.safetensors or of its shards, mapped from disk."""
    index, single = folder / SHARD_INDEX, folder / "model.safetensors"
    if single.is_file():
        return read_safetensors(single)
    if not index.is_file():
        raise CheckpointError(f"{folder}: holds no model.safetensors; download it again")
    shards = sorted(set(read_mapping(index)["weight_map"].values()))
    return {name: tensor for shard in shards for name, tensor in read_safetensors(folder / shard).items()}
