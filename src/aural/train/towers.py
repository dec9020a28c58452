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
from aural.core.errors import AuralError, CheckpointError, ConfigError
from aural.encoders.base import build_audio_encoder
from aural.models.clap import AudioTower, Clap
from aural.models.prefix import strip_prefix
from aural.nn.lora import add_low_rank, learn_low_rank
from aural.train.config import ModelConfig, Recipe
from aural.train.loader import Batch
from aural.train.mels import unpack
from aural.train.tasks import Heads, Labels

ENCODER_FILE = "audio_encoder.safetensors"
PACKAGED = "packaged-minilm"


class Towers(nn.Module):
    """A batch to unit embeddings "audio_emb" (B, E), "text_emb" (B K, E), "hard_text_emb" (B, H, E), scale and bias;
    with a teacher also its "teacher_emb" (B, E) of the same sounds."""

    def __init__(
        self,
        clap: Clap,
        locked: Iterable[str] = (),
        calibrated: bool = False,
        teacher: AudioTower | None = None,
    ) -> None:
        super().__init__()
        self.clap, self.calibrated = clap, calibrated
        self.locked = [getattr(clap, name).encoder for name in locked]
        for encoder in self.locked:
            encoder.requires_grad_(False)
            learn_low_rank(encoder)
        self.teacher = (teacher,)  # in a tuple: no part of what is trained, averaged or saved

    def _apply(self, fn: Any, recurse: bool = True) -> Towers:
        """Moves the teacher along."""
        super()._apply(fn, recurse)
        if self.teacher[0] is not None:
            self.teacher[0]._apply(fn)
        return self

    def train(self, mode: bool = True) -> Towers:
        super().train(mode)
        for encoder in self.locked:
            encoder.eval()
        if self.calibrated:
            for norm in norms_of(self):
                norm.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        clap, (teacher,) = self.clap, self.teacher
        whole = log_mel(clap.audio.front_end, batch)
        mel = masked(whole, batch)
        out = {"audio_emb": unit(clap.audio.embed_mel(mel)), "text_emb": unit(clap.text(batch["ids"], batch["mask"]))}
        if teacher is not None:
            with torch.no_grad():
                out["teacher_emb"] = unit(teacher.embed_mel(whole))
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
        self.front_end = LogMel(audio.mel)
        self.encoder = build_audio_encoder(audio.encoder, audio.encoder_options)
        if recipe.model.audio_init:
            load_encoder(self.encoder, recipe.model.audio_init)
        self.heads = Heads(recipe.tasks, labels.classes, self.encoder.dim)
        self.calibrated = recipe.model.batch_norm == "calibrated"

    def train(self, mode: bool = True) -> ManyTasks:
        super().train(mode)
        if self.calibrated:
            for norm in norms_of(self):
                norm.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.heads(self.encoder(masked(log_mel(self.front_end, batch), batch)), batch)
        return found


def log_mel(front_end: LogMel, batch: Mapping[str, Any]) -> Tensor:
    """(B, N, F) from sounds or stored log-mels."""
    wave = batch.get("wave")
    if wave is not None and wave.dtype == torch.int16:
        wave = wave.float() / 32768.0
    mel: Tensor = unpack(batch["mel"], front_end.config) if wave is None else front_end(wave)
    return mel


def masked(mel: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """(B, N, F) with the rectangles that the batch names blanked."""
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
        from aural.models.open import open_checkpoint

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
        load_encoder(clap.audio.encoder, model.audio_init)
    if model.text_init != "random":
        load_text(clap, model.text_init)
    if model.text_lora:
        add_low_rank(clap.text.encoder, model.text_lora)
    return clap


def load_encoder(encoder: nn.Module, name: str) -> None:
    """Take the audio encoder of a stage-1 run or of a model."""
    from aural.models.open import open_checkpoint
    from aural.models.weight_files import read_safetensors

    file = Path(name) / ENCODER_FILE
    if file.is_file():
        found = read_safetensors(file)
    elif Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise CheckpointError(f"model.audio_init: {name} holds no {ENCODER_FILE}; name the folder of a stage-1 run")
    else:
        found = strip_prefix(open_checkpoint(name).tensors, "audio.encoder.")
    try:
        encoder.load_state_dict(found, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{name}: does not fit the recipe's encoder ({reason})") from None


def load_teacher(recipe: Recipe) -> AudioTower | None:
    """The audio tower of the recipe's teacher, frozen."""
    if recipe.distill is None:
        return None
    from aural.models.open import open_checkpoint

    checkpoint, own = open_checkpoint(recipe.distill.teacher), recipe.model.clap
    theirs = checkpoint.config
    if theirs.audio.mel != own.audio.mel or theirs.embed_dim != own.embed_dim:
        raise ConfigError(
            f"distill.teacher: {recipe.distill.teacher} hears another log-mel or has other embedding dimensions than "
            "the recipe's model; give both the same audio.mel and embed_dim"
        )
    tower = AudioTower(theirs.audio, theirs.embed_dim)
    tower.load_state_dict(strip_prefix(checkpoint.tensors, "audio."), strict=True)
    return tower.eval().requires_grad_(False)


def load_text(clap: Clap, name: str) -> None:
    """Pretrained weights of the text tower from a local folder, the hub or a package: every tensor or none."""
    from aural.core.hub import hub_file
    from aural.models.format import is_own
    from aural.models.open import open_checkpoint
    from aural.models.packaged import MINILM
    from aural.models.weight_files import read_safetensors

    if name == PACKAGED:
        clap.text.load_state_dict(strip_prefix(MINILM.tensors(clap.config), "text."))
        return
    if is_own(Path(name)):
        checkpoint = open_checkpoint(name)
        if checkpoint.config.text != clap.config.text:
            raise ConfigError(f"model.text_init: {name} has another text tower than model.clap.text; copy its config")
        clap.text.encoder.load_state_dict(strip_prefix(checkpoint.tensors, "text.encoder."), strict=True)
        return
    folder = Path(name)
    try:
        file = folder / "model.safetensors" if folder.is_dir() else hub_file(name, "model.safetensors")
    except AuralError as error:
        raise CheckpointError(f"model.text_init: {error}") from None
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
