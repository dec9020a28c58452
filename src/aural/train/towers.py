"""What is trained: both towers as one module from a batch to named tensors, or the audio encoder with its task heads.

Legend: B clips, N frames, F mel bands, K captions a clip, H wrong captions, E joint dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aural.audio.augment import apply_masks
from aural.audio.mel import LogMel
from aural.core.errors import CheckpointError, ConfigError
from aural.encoders.base import AUDIO_ENCODERS
from aural.models.clap import Clap
from aural.train.config import ModelConfig, Recipe
from aural.train.loader import Batch
from aural.train.mels import unpack
from aural.train.tasks import Heads, Labels

ENCODER_FILE = "audio_encoder.safetensors"
PACKAGED = "packaged-minilm"


class Towers(nn.Module):
    """A batch to unit embeddings "audio_emb" (B, E), "text_emb" (B K, E), "hard_text_emb" (B, H, E), scale and bias."""

    def __init__(self, clap: Clap, locked: Iterable[str] = (), calibrated: bool = False) -> None:
        super().__init__()
        self.clap, self.calibrated = clap, calibrated
        self.locked = [getattr(clap, name).encoder for name in locked]
        for encoder in self.locked:
            encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> Towers:
        super().train(mode)
        for encoder in self.locked:
            encoder.eval()
        if self.calibrated:
            for norm in norms_of(self):
                norm.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        clap = self.clap
        mel = log_mel(clap.audio.front_end, batch)
        out = {"audio_emb": unit(clap.audio.embed_mel(mel)), "text_emb": unit(clap.text(batch["ids"], batch["mask"]))}
        if "hard_ids" in batch:
            hard = unit(clap.text(batch["hard_ids"], batch["hard_mask"]))
            out["hard_text_emb"] = hard.view(len(mel), -1, hard.shape[-1])
        out["logit_scale"] = clap.logit_scale.clamp(max=math.log(100.0)).exp()  # at most 100, as published
        return out | ({"logit_bias": clap.logit_bias} if clap.config.logit_bias else {})


class ManyTasks(nn.Module):
    """A batch to the loss over all its tasks."""

    def __init__(self, recipe: Recipe, labels: Labels) -> None:
        super().__init__()
        audio = recipe.model.clap.audio
        entry = AUDIO_ENCODERS[audio.encoder]
        self.front_end = LogMel(audio.mel)
        self.encoder = entry.build(entry.config.parse(audio.encoder_options, f"encoder {audio.encoder}"))
        self.heads = Heads(recipe.tasks, labels.classes, self.encoder.dim)
        self.calibrated = recipe.model.batch_norm == "calibrated"

    def train(self, mode: bool = True) -> ManyTasks:
        super().train(mode)
        if self.calibrated:
            for norm in norms_of(self):
                norm.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.heads(self.encoder(log_mel(self.front_end, batch)), batch)
        return found


def log_mel(front_end: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """(B, N, F) from sounds or stored log-mels, masked where the batch says so."""
    wave = batch.get("wave")
    if wave is not None and wave.dtype == torch.int16:
        wave = wave.float() / 32768.0
    mel: Tensor = unpack(batch["mel"]) if wave is None else front_end(wave)
    return apply_masks(mel, batch["rectangles"]) if "rectangles" in batch else mel


def unit(x: Tensor) -> Tensor:
    """Rows of length 1, float32."""
    return nn.functional.normalize(x.float(), dim=-1)


def norms_of(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def calibrate(module: nn.Module, batches: Iterable[Batch]) -> None:
    """Set every BatchNorm to the plain mean of the statistics of these batches."""
    norms = norms_of(module)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in batches:
            module(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def build_clap(model: ModelConfig) -> Clap:
    """The model with its first weights; random ones come from the generator that is set."""
    if model.init:
        from aural.models.load import open_checkpoint

        checkpoint = open_checkpoint(model.init)
        if checkpoint.config != model.clap:
            raise ConfigError(f"model.init: {model.init} is a model of another shape than model.clap; copy its config")
        clap = Clap(model.clap)
        clap.load_state_dict(checkpoint.tensors, strict=True)
        return clap
    clap = Clap(model.clap)
    with torch.no_grad():
        clap.logit_scale.fill_(math.log(1 / model.init_temperature))
    if model.audio_init:
        load_encoder(clap, Path(model.audio_init))
    if model.text_init != "random":
        load_text(clap, model.text_init)
    return clap


def load_encoder(clap: Clap, folder: Path) -> None:
    """Take the audio encoder of a stage-1 run."""
    from aural.models.sources import read_safetensors

    file = folder / ENCODER_FILE
    if not file.is_file():
        raise CheckpointError(f"model.audio_init: {folder} holds no {ENCODER_FILE}; name the folder of a stage-1 run")
    try:
        clap.audio.encoder.load_state_dict(read_safetensors(file), strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{file}: does not fit the recipe's encoder ({' '.join(str(error).split())[:160]})"
        ) from None


def load_text(clap: Clap, name: str) -> None:
    """Pretrained weights of the text tower from a local folder, the hub or a package: every tensor or none."""
    from aural.core.hub import hub_file
    from aural.models.format import MINILM
    from aural.models.sources import read_safetensors

    if name == PACKAGED:
        clap.text.load_state_dict({k.removeprefix("text."): t for k, t in MINILM.tensors(clap.config).items()})
        return
    folder = Path(name)
    file = folder / "model.safetensors" if folder.is_dir() else hub_file(name, "model.safetensors")
    if not file.is_file():
        raise CheckpointError(f"model.text_init: {folder} holds no model.safetensors")
    wanted = clap.text.encoder.model.state_dict()
    found = {}
    for key, tensor in read_safetensors(file).items():
        bare = key.split(".", 1)[1] if key.split(".", 1)[0] in ("bert", "roberta", "transformer") else key
        bare = bare.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        found[bare] = tensor.float() if tensor.is_floating_point() else tensor
    missing = [key for key in wanted if key not in found and not key.startswith("pooler")]
    if missing:
        raise CheckpointError(f"{file}: lacks {len(missing)} tensors of the text tower, first {missing[0]}")
    wrong = [key for key, tensor in wanted.items() if key in found and found[key].shape != tensor.shape]
    if wrong:
        raise CheckpointError(f"{file}: {wrong[0]} has another shape than the recipe's text tower")
    clap.text.encoder.model.load_state_dict({key: found.get(key, tensor) for key, tensor in wanted.items()})
