"""Read and write aural's own format.

A model is one folder with `config.json`, `model.safetensors`, a model card (`README.md`) and, where the text tower's
tokenizer is not bundled with aural, `tokenizer.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import aural
from aural.core.config import Config, read_mapping
from aural.core.errors import CheckpointError, ConfigError, one_line
from aural.core.files import atomic_write, check_folder, filled_folder, write_text
from aural.encoders.convert.base import check_keys
from aural.models.checkpoint import Checkpoint, Peer
from aural.models.clap import ClapConfig, layout
from aural.models.low_rank import check_updates, is_update, with_updates
from aural.models.packaged import PackagedBranch, PackagedText
from aural.models.rounding import in_8_bits, is_matrix, with_steps
from aural.models.weight_files import read_safetensors

FORMAT = 1
WEIGHTS = "model.safetensors"


class Header(Config):
    """The content of config.json: the format's version, who wrote it, and the model."""

    aural: int
    system: Literal["clap"] = "clap"
    """The sound-and-text model; folders of other systems are read by `aural.models.systems`."""
    written_by: str = ""
    source: str = ""
    peer: Peer = "none"
    text_from: PackagedText | None = None
    branch_from: PackagedBranch | None = None
    int8: bool = False
    """Round matrices to 8 bits per row when the model is opened, so that it equals its int8 ONNX form."""
    least_cosine: float | None = None
    """Cosine below which a sound does not match a text (`aural.core.scoring.Calibration.matches`)."""
    clap: ClapConfig


def is_own(folder: Path) -> bool:
    """Return whether a folder is in aural's own format."""
    file = folder / "config.json"
    return file.is_file() and "aural" in read_mapping(file)


def packaged_text(folder: Path) -> tuple[PackagedText | None, dict[str, Tensor]]:
    """Return the package that holds a folder's text tower and the low-rank updates stored in the folder.

    Returns (None, {}) when the folder holds the text tower itself, or rounds it to 8 bits.
    """
    header = Header.parse(read_mapping(folder / "config.json"), str(folder / "config.json"))
    if header.text_from is None or header.int8:
        return None, {}
    return header.text_from, {k: t for k, t in read_safetensors(folder / WEIGHTS).items() if is_update(k)}


def open_own(folder: Path, values: Mapping[str, Any]) -> Checkpoint:
    """Open a folder in aural's own format; `values` is the content of its config.json.

    Raises CheckpointError when a tensor is missing, unexpected or misshaped, or the format is newer than this version.
    """
    header = Header.parse(values, str(folder / "config.json"))
    if header.aural != FORMAT:
        raise CheckpointError(f"{folder}: has format {header.aural}, this version reads {FORMAT}; update aural")
    file = folder / WEIGHTS
    if not file.is_file():
        raise CheckpointError(f"{folder}: {WEIGHTS} is missing; copy the whole folder again")
    tensors = read_safetensors(file)
    if header.text_from is not None:
        tensors |= header.text_from.tensors(header.clap)
    if header.branch_from is not None:
        tensors |= header.branch_from.tensors()
    tensors = with_steps(tensors)
    check_updates(tensors)
    try:
        wanted = layout(header.clap)
    except (RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'}: describes no model that can be built ({one_line(error)}); copy the folder again"
        ) from None
    check_keys({name: t for name, t in tensors.items() if not is_update(name)}, wanted, str(file))
    lazy = LazyTensors(tensors, header.int8)
    return Checkpoint(header.clap, lazy, header.peer, str(folder), folder, header.least_cosine)


class LazyTensors(Mapping[str, Tensor]):
    """The tensors of a folder, computed on access: float32, low-rank updates added, matrices rounded.

    A tower that is not used takes no memory.
    """

    def __init__(self, stored: dict[str, Tensor], int8: bool) -> None:
        self.stored, self.int8 = stored, int8

    def __getitem__(self, name: str) -> Tensor:
        layer = name.removesuffix(".weight")
        parts = {key: self.stored[key] for key in (name, f"{layer}.lora_a", f"{layer}.lora_b") if key in self.stored}
        tensor = with_updates({key: t.float() if t.is_floating_point() else t for key, t in parts.items()})[name]
        if self.int8 and is_matrix(name, tensor.shape):
            return torch.from_numpy(in_8_bits(tensor.numpy()))
        return tensor

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.stored if not is_update(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def save_own(
    folder: str | Path,
    config: ClapConfig,
    tensors: Mapping[str, Tensor],
    *,
    peer: Peer = "none",
    source: str = "",
    card: str = "",
    tokenizer_json: str | None = None,
    dtype: torch.dtype | None = None,
    text_from: PackagedText | None = None,
    branch_from: PackagedBranch | None = None,
    int8: bool = False,
    least_cosine: float | None = None,
) -> Path:
    """Write a model to a folder in aural's own format and return the folder.

    peer, source: see `Checkpoint`. card: text of README.md. tokenizer_json: content of tokenizer.json, if written.
    dtype: data type of stored matrices; float16 halves the file. text_from: the package that holds the text tower's
    weights; they are then left out of the folder, and only their low-rank updates are stored. Without it, updates are
    added to the matrices. branch_from: the file of the tagger whose encoder and classes the branch has; they are then
    left out of the folder. int8: round matrices to 8 bits when the model is opened. least_cosine: see
    `Header`.
    """
    from safetensors.torch import save_file

    folder = check_folder(folder, ConfigError)
    check_keys(with_updates(tensors), layout(config), str(folder))
    if text_from is None:
        tensors = with_updates(tensors)
    elsewhere = tuple(
        prefix
        for prefix, place in (
            ("text.encoder.", text_from),
            ("audio.branch.encoder.", branch_from),
            ("audio.branch.classes.", branch_from),
        )
        if place is not None
    )
    packed = {
        name: (t.to(dtype) if dtype and t.is_floating_point() and t.ndim > 1 else t).detach().cpu().contiguous()
        for name, t in tensors.items()
        if not name.startswith(elsewhere) or is_update(name)
    }
    header = Header(
        aural=FORMAT,
        written_by=f"aural {aural.__version__}",
        source=source,
        peer=peer,
        text_from=text_from,
        branch_from=branch_from,
        int8=int8,
        least_cosine=least_cosine,
        clap=config,
    )
    with filled_folder(folder, ConfigError):
        with atomic_write(folder / WEIGHTS, ConfigError) as part:
            save_file(packed, part, metadata={"format": "pt"})
        texts = {"config.json": json.dumps(header.model_dump(mode="json"), indent=2) + "\n", "README.md": card}
        if tokenizer_json is not None:
            texts["tokenizer.json"] = tokenizer_json
        for name, text in texts.items():
            write_text(folder / name, text, ConfigError)
    return folder
