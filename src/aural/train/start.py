"""Start weights of towers: from a stage-1 run, a model in our own format, the hub, or an installed package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from aural.core.errors import AuralError, CheckpointError, ConfigError
from aural.encoders.text import TextConfig
from aural.models.clap import TextTower
from aural.models.prefix import strip_prefix

ENCODER_FILE = "audio_encoder.safetensors"
PACKAGED = "packaged-minilm"


def load_encoder(encoder: nn.Module, name: str) -> None:
    """Load the audio encoder of a stage-1 run or of a model.

    Raises:
        CheckpointError: the folder holds no such encoder, or its tensors do not fit.
    """
    from aural.models.open import open_checkpoint
    from aural.models.weight_files import read_safetensors

    file = Path(name) / ENCODER_FILE
    if file.is_file():
        tensors = read_safetensors(file)
    elif Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise CheckpointError(f"model.audio_init: {name} holds no {ENCODER_FILE}; name the folder of a stage-1 run")
    else:
        tensors = strip_prefix(open_checkpoint(name).tensors, "audio.encoder.")
    try:
        encoder.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{name}: does not fit the recipe's encoder ({reason})") from None


def load_text(tower: TextTower, config: TextConfig, name: str) -> None:
    """Load pretrained weights of a text tower from a local folder, the hub or a package: every tensor or none.

    Raises:
        CheckpointError: a tensor is missing or has another shape, or the file cannot be had.
        ConfigError: the folder holds a model with another text tower.
    """
    from aural.core.hub import hub_file
    from aural.models.format import is_own
    from aural.models.open import open_checkpoint
    from aural.models.packaged import MINILM
    from aural.models.weight_files import read_safetensors

    if name == PACKAGED:
        holder: Any = SimpleNamespace(text=config)
        tower.load_state_dict(strip_prefix(MINILM.tensors(holder), "text."))
        return
    if is_own(Path(name)):
        checkpoint = open_checkpoint(name)
        if checkpoint.config.text != config:
            raise ConfigError(f"model.text_init: {name} has another text tower than model.clap.text; copy its config")
        tower.encoder.load_state_dict(strip_prefix(checkpoint.tensors, "text.encoder."), strict=True)
        return
    folder = Path(name)
    try:
        file = folder / "model.safetensors" if folder.is_dir() else hub_file(name, "model.safetensors")
    except AuralError as error:
        raise CheckpointError(f"model.text_init: {error}") from None
    if not file.is_file():
        raise CheckpointError(f"model.text_init: {folder} holds no model.safetensors")
    model = tower.encoder.model
    wanted = model.state_dict()
    tensors = _bare_names(read_safetensors(file))
    missing = [key for key in wanted if key not in tensors and not key.startswith("pooler")]
    if missing:
        raise CheckpointError(f"{file}: lacks {len(missing)} tensors of the text tower, first {missing[0]}")
    wrong = [key for key, tensor in wanted.items() if key in tensors and tensors[key].shape != tensor.shape]
    if wrong:
        raise CheckpointError(f"{file}: {wrong[0]} has another shape than the recipe's text tower")
    model.load_state_dict({key: tensors.get(key, tensor) for key, tensor in wanted.items()})


def _bare_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in float32, without the prefix of their model class and with present names of layer norms."""
    tensors = {}
    for key, tensor in state.items():
        prefix, _, rest = key.partition(".")
        name = rest if prefix in ("bert", "roberta", "transformer") else key
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors
