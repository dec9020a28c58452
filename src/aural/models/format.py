"""Our own format: one folder with `config.json`, `model.safetensors`, a model card (`README.md`) and, where the text
tower's tokenizer is not bundled with aural, `tokenizer.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import aural
from aural.core.config import Config, read_mapping
from aural.core.errors import CheckpointError, ConfigError
from aural.encoders.convert.base import check_keys
from aural.models.clap import ClapConfig, layout
from aural.models.packaged import MINILM, PackagedText, check_updates, in_8_bits, is_matrix, is_update, with_updates
from aural.models.sources import Checkpoint, Peer, read_safetensors

__all__ = ["FORMAT", "MINILM", "PackagedText", "open_own", "save_own"]

FORMAT = 1
WEIGHTS = "model.safetensors"


class Header(Config):
    """config.json: the format's number, who wrote it, and the model."""

    aural: int
    written_by: str = ""
    source: str = ""
    peer: Peer = "none"
    text_from: PackagedText | None = None
    int8: bool = False
    """Matrices are rounded to 8 bits by row when the model is opened, so that its int8 form is the same model."""
    clap: ClapConfig


def is_own(folder: Path) -> bool:
    """Whether a folder is of our own format."""
    file = folder / "config.json"
    return file.is_file() and "aural" in read_mapping(file)


def packaged_text(folder: Path) -> tuple[PackagedText | None, dict[str, Tensor]]:
    """The package that holds a folder's text tower, if one does, and the updates in the folder that go on top; none
    where the tower is rounded besides."""
    header = Header.parse(read_mapping(folder / "config.json"), str(folder / "config.json"))
    if header.text_from is None or header.int8:
        return None, {}
    return header.text_from, {k: t for k, t in read_safetensors(folder / WEIGHTS).items() if is_update(k)}


def open_own(folder: Path, values: Mapping[str, Any]) -> Checkpoint:
    """Read a folder in our format; every tensor must be there with its shape, and none besides."""
    header = Header.parse(values, str(folder / "config.json"))
    if header.aural != FORMAT:
        raise CheckpointError(f"{folder}: is of format {header.aural}; this aural reads {FORMAT}, so update aural")
    file = folder / WEIGHTS
    if not file.is_file():
        raise CheckpointError(f"{folder}: {WEIGHTS} is missing; copy the whole folder again")
    tensors = read_safetensors(file)
    if header.text_from is not None:
        tensors |= header.text_from.tensors(header.clap)
    check_updates(tensors)
    check_keys({name: t for name, t in tensors.items() if not is_update(name)}, layout(header.clap), str(file))
    opened = Opened(tensors, header.int8)
    return Checkpoint(header.clap, opened, header.peer, str(folder), folder)


class Opened(Mapping[str, Tensor]):
    """A folder's tensors, made when they are asked for: float32, updates added, matrices rounded. So a tower that
    nobody uses takes no memory."""

    def __init__(self, stored: dict[str, Tensor], int8: bool) -> None:
        self.stored, self.int8 = stored, int8

    def __getitem__(self, name: str) -> Tensor:
        layer = name.removesuffix(".weight")
        own = {key: self.stored[key] for key in (name, f"{layer}.lora_a", f"{layer}.lora_b") if key in self.stored}
        found = with_updates({key: t.float() if t.is_floating_point() else t for key, t in own.items()})[name]
        if self.int8 and is_matrix(name, found.shape):
            return torch.from_numpy(in_8_bits(found.numpy()))
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.stored if not is_update(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def make_folder(folder: str | Path) -> Path:
    """The folder to write a model to, made if it is not there."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; name a folder for the model")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); name another folder") from None
    return folder


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
    int8: bool = False,
) -> Path:
    """Write a folder in our format; `dtype` (float16) halves the weights on disk. Each file appears whole or not.

    With `text_from` the text tower is left out of the folder and read from that package; its low-rank updates, if
    `tensors` has any, are kept. Without it they are added to the matrices. int8: the model is rounded when opened.
    """
    from safetensors.torch import save_file

    folder = make_folder(folder)
    check_keys(with_updates(tensors), layout(config), str(folder))
    if text_from is None:
        tensors = with_updates(tensors)
    packed = {
        name: (t.to(dtype) if dtype and t.is_floating_point() and t.ndim > 1 else t).detach().cpu().contiguous()
        for name, t in tensors.items()
        if text_from is None or not name.startswith("text.encoder.") or is_update(name)
    }
    by = f"aural {aural.__version__}"
    header = Header(aural=FORMAT, written_by=by, source=source, peer=peer, text_from=text_from, int8=int8, clap=config)
    with_name = folder / (WEIGHTS + ".part")
    save_file(packed, with_name, metadata={"format": "pt"})
    with_name.replace(folder / WEIGHTS)
    texts = {"config.json": json.dumps(header.model_dump(mode="json"), indent=2) + "\n", "README.md": card}
    if tokenizer_json is not None:
        texts["tokenizer.json"] = tokenizer_json
    for name, text in texts.items():
        part = folder / (name + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)
    return folder
