"""Folders of trained systems other than the sound-and-text model: write them, and open them by the system's name.

A folder holds `config.json` (the key "system" names the system) and `model.safetensors`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import aural
from aural.core.config import read_mapping
from aural.core.errors import AuralError, CheckpointError, ConfigError
from aural.core.files import atomic_write, filled_folder, write_text
from aural.core.registry import Registry
from aural.models.embedding import EmbeddingModel, Precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FORMAT = 1
WEIGHTS = "model.safetensors"
CLAP = "clap"

# Opens a folder: (folder, options of the system, device, precision).
Opener: TypeAlias = "Callable[[Path, Mapping[str, Any], str | torch.device | None, Precision], EmbeddingModel]"
OPENERS: Registry[Opener] = Registry("model system")


def save_system(
    folder: Path,
    system: str,
    options: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    card: str,
    weights: str = WEIGHTS,
) -> Path:
    """Write a system's options and tensors to a folder and return it. `weights` names the file of the tensors."""
    from safetensors.torch import save_file

    with filled_folder(folder, CheckpointError):
        with atomic_write(folder / weights, CheckpointError) as part:
            save_file(
                {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, part, metadata={"format": "pt"}
            )
        header = {"aural": FORMAT, "system": system, "written_by": f"aural {aural.__version__}", "source": source}
        write_text(folder / "config.json", json.dumps(header | {"options": dict(options)}, indent=2) + "\n")
        write_text(folder / "README.md", card)
    return folder


def system_of(folder: str | Path) -> str:
    """Return the name of the system that a folder in aural's own format holds, "" if it is no such folder."""
    try:
        file = Path(os.path.expanduser(folder)) / "config.json"
        values = read_mapping(file) if file.is_file() else {}
    except (AuralError, OSError, ValueError, TypeError):
        return ""
    return str(values.get("system", CLAP)) if "aural" in values else ""


def open_system(folder: str | Path, device: str | torch.device | None, precision: Precision) -> EmbeddingModel:
    """Open the folder of a system other than the sound-and-text model.

    Raises:
        CheckpointError: the system gives no embeddings, or the folder was written by a newer version.
        ConfigError: no installed package knows the system.
    """
    path = Path(os.path.expanduser(folder))
    values = read_mapping(path / "config.json")
    if values["aural"] != FORMAT:
        raise CheckpointError(f"{path}: has format {values['aural']}, this version reads {FORMAT}; update aural")
    name = str(values["system"])
    if name in ("heads", "frames"):
        raise CheckpointError(
            f'{path}: holds a model of system "{name}", which gives no embeddings; start a recipe from its encoder '
            "(model.audio_init)"
        )
    try:
        opener = OPENERS[name]
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return opener(path, values.get("options", {}), device, precision)
