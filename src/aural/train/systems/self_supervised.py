"""An encoder of sounds that learns without labels, by a weighted list of pretext tasks.

Legend: B clips, S samples, N frames, F bands, T tokens, D width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from aural.audio.cochlea import Cochleagram
from aural.audio.mel import LogMel
from aural.core.config import Config
from aural.core.errors import CheckpointError, ConfigError
from aural.encoders.sequence import SequenceConfig, SequenceEncoder
from aural.models.clap import AudioConfig
from aural.nn.gumbel import GumbelQuantizer
from aural.nn.nearest_code import NearestQuantizer
from aural.nn.wave_encoder import WaveEncoder
from aural.train.config import Recipe
from aural.train.inputs import log_mel
from aural.train.selfsupervised import PRETEXTS, Shape, Step
from aural.train.selfsupervised.labeled import Ctc
from aural.train.selfsupervised.tokenizer import TokenizerConfig, Tokenizers
from aural.train.system import SYSTEMS, PartConfig, Plan, System, SystemConfig, build_part

if TYPE_CHECKING:
    from aural.train.loader import Batch, Batches

Front = Literal["log-mel", "wave", "cochlea"]
Count = Annotated[int, Field(ge=1)]
WAVES_AT_ONCE = 64


class QuantizerConfig(Config):
    """A quantizer of the latents that is trained with the encoder."""

    kind: Literal["gumbel", "nearest"] = "gumbel"
    groups: Count = 2
    codes: Count = 32
    """Codes per codebook."""
    temperature: Annotated[float, Field(gt=0)] = 1.0


class SelfSupervisedConfig(SystemConfig):
    """An encoder of sounds and the pretext tasks that train it."""

    audio: AudioConfig
    front: Front = "log-mel"
    """log-mel: the front end of `audio`. wave: learned convolutions of the waveform. cochlea: gammatone bands."""
    pretexts: tuple[PartConfig, ...] = Field(min_length=1)
    quantizer: QuantizerConfig | None = None
    tokenizers: tuple[TokenizerConfig, ...] = ()
    """Frozen tokenizers; the tokens of several ones with equal numbers of codes are joined."""
    discrete: bool = False
    """Whether the context network reads embeddings of the tokens instead of the latents."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Share of the averaged teacher that stays at each step."""
    init: str = ""
    """Folder of a trained model; tensors of equal name and shape are taken. Empty: random."""
    reset_top: Annotated[int, Field(ge=0)] = 0
    """Context layers, counted from the top, that keep their random weights in spite of `init`."""
    locked: bool = False
    """Freeze the encoder and the front end; only the heads of pretext tasks are trained."""
    watch_by: str = ""
    """A fact, such as the language; the loss is also logged for each of its values."""

    @model_validator(mode="after")
    def _complete(self) -> SelfSupervisedConfig:
        if self.audio.encoder != "sequence":
            raise ValueError('audio.encoder must be "sequence"')
        given = {"quantizer": self.quantizer is not None, "tokenizers": bool(self.tokenizers)}
        if self.discrete and not self.tokenizers:
            raise ValueError("discrete: give tokenizers")
        for pretext in self.pretexts:
            for need in wants(pretext):
                if not given.get(need, True):
                    raise ValueError(f'pretext "{pretext.name}" needs system.{need}')
        return self

    @property
    def encoder(self) -> SequenceConfig:
        """The encoder's options."""
        return SequenceConfig.parse(self.audio.encoder_options, "system.audio.encoder_options")

    def plan(self, recipe: Recipe) -> Plan:
        """Return the plan: sounds in, the loss out."""
        fields: dict[str, Mapping[str, Any]] = {"sound": {}}
        for pretext in self.pretexts:
            fields |= PRETEXTS[pretext.name].fields
        if self.watch_by:
            fields["facts"] = {"column": self.watch_by}
        return Plan(fields, gives_loss=True, lists=frozenset({"facts"}), audio=self.audio)


def wants(pretext: PartConfig) -> set[str]:
    """Return what a pretext task with these options needs of the system."""
    kind, options = PRETEXTS[pretext.name], pretext.options
    needs = set(kind.needs)
    if pretext.name == "masked-contrast" and options.get("quantized", True):
        needs.add("quantizer")
    if pretext.name == "next-step" and options.get("quantized", False):
        needs.add("quantizer")
    if pretext.name in ("masked-tokens", "next-token"):
        needs.add("quantizer" if options.get("source") == "quantizer" else "tokenizers")
    return needs


@SYSTEMS.register("self-supervised", architecture="encoder and heads", training="contrastive")
class SelfSupervised(System):
    """A front end, an encoder and pretext tasks. A batch gives "loss" and the scalars of the tasks."""

    config_type = SelfSupervisedConfig
    config: SelfSupervisedConfig

    def __init__(self, config: SelfSupervisedConfig, batches: Batches | None = None) -> None:
        super().__init__(config, batches)
        sizes = config.encoder
        self.front = _front(config)
        self.encoder = SequenceEncoder(sizes)
        self.tokenizer = _tokenizers(config)
        self.quantizer = _quantizer(config.quantizer, sizes.dim) if config.quantizer else None
        tokens: tuple[int, int] = self.tokenizer.size if self.tokenizer else (0, 0)
        codes = (config.quantizer.groups, config.quantizer.codes) if config.quantizer else (0, 0)
        self.inputs = _Embedding(tokens, sizes.dim) if config.discrete else None
        shape = Shape(sizes, sizes.n_mels, tokens, codes)
        self.pretexts = nn.ModuleList(
            build_part(PRETEXTS, pretext, shape, key="system.pretexts") for pretext in config.pretexts
        )
        self.number: Tensor
        self.register_buffer("number", torch.zeros((), dtype=torch.int64))
        self.steps_seen = -1
        """Copy of `number`, the steps of training, on the host; -1: not read yet."""
        if config.init:
            self._load(Path(config.init))
        if config.locked:
            for part in (self.front, self.encoder):
                part.requires_grad_(False)
        if any("teacher" in wants(pretext) for pretext in config.pretexts):
            self.teacher = deepcopy(self.encoder).requires_grad_(False)

    def frames(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the frames (B, N, F) of the batch's sounds."""
        if isinstance(self.front, LogMel):
            mel = log_mel(self.front, batch)
            return mel[:, : mel.shape[1] - 1]  # the last frame is centered on the end
        wave = batch["wave"]
        frames: Tensor = self.front(wave.float() / 32768.0 if wave.dtype == torch.int16 else wave)
        return frames

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        if self.steps_seen < 0:
            self.steps_seen = int(self.number)
        if self.training and self.steps_seen and hasattr(self, "teacher"):
            self._follow()
        step = self.step(batch)
        out: dict[str, Tensor] = {}
        total: Tensor | None = None
        for config, pretext in zip(self.config.pretexts, self.pretexts, strict=True):
            outcome = pretext(step)
            total = config.weight * outcome.loss if total is None else total + config.weight * outcome.loss
            out |= {f"{config.name}.{name}": value.detach() for name, value in (outcome.scalars or {}).items()}
            if len(self.pretexts) > 1:
                out[f"{config.name}.loss"] = outcome.loss.detach()
            if self.config.watch_by and outcome.per_clip is not None:
                out |= _by_fact(config.name, outcome.per_clip.detach(), batch["facts"])
        assert total is not None
        if self.training:
            self.number += 1
            self.steps_seen += 1
        return {"loss": total, **out}

    def step(self, batch: Mapping[str, Any]) -> Step:
        """Return what pretext tasks see of a batch."""
        frames = self.frames(batch)
        teacher = getattr(self, "teacher", None)
        return Step(frames, self.encoder, self.quantizer, self.tokenizer, teacher, self.inputs, batch)

    @torch.no_grad()
    def layers(self, waves: Tensor) -> list[Tensor]:
        """Return the frames (B, N, F), then the latents and the context layers (B, T, D), of waves (B, S)."""
        step = self.step({"wave": waves})
        return [step.frames, step.latents, *step.layers]

    @torch.no_grad()
    def transcribe(self, waves: Tensor) -> list[str]:
        """Return the texts of waves (B, S); the system must have been trained with the pretext task "ctc"."""
        head = next((pretext for pretext in self.pretexts if isinstance(pretext, Ctc)), None)
        if head is None:
            raise ConfigError('the model has no head for transcripts; train it with the pretext task "ctc"')
        return head.texts(self.step({"wave": waves}).layers[-1])

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged teacher towards the encoder."""
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.encoder.parameters()), 1 - self.config.decay)

    def _load(self, folder: Path) -> None:
        """Take the tensors of a trained model that have equal names and shapes."""
        stored = read_tensors(folder)
        wanted = self.state_dict()
        first_kept = self.config.encoder.depth - self.config.reset_top
        kept = tuple(f"encoder.network.layers.{i}." for i in range(first_kept, self.config.encoder.depth))
        taken = {
            n: t for n, t in stored.items() if n in wanted and wanted[n].shape == t.shape and not n.startswith(kept)
        }
        if any(n.startswith("encoder.") and not n.startswith(kept) and n not in taken for n in wanted):
            raise CheckpointError(f"system.init: {folder} does not fit the recipe's encoder; use the sizes it has")
        self.load_state_dict(taken, strict=False)

    def parts(self) -> dict[str, nn.Module]:
        """Return the encoder and the pretext tasks."""
        return {"audio": self.encoder, "pretexts": self.pretexts}

    def train(self, mode: bool = True) -> SelfSupervised:
        super().train(mode)
        if hasattr(self, "teacher"):
            self.teacher.eval()
        return self

    def blank(self, batches: Batches) -> SelfSupervised:
        """Construct a system of the same shape without reading start weights."""
        return SelfSupervised(self.config.model_copy(update={"init": ""}), batches)

    def export(self, folder: Path, recipe: Recipe, state: Mapping[str, Tensor]) -> None:
        """Write the model, which `load_self_supervised` opens, and its encoder, from which other recipes start."""
        from safetensors.torch import save_file

        from aural.core.files import atomic_write
        from aural.models.prefix import strip_prefix
        from aural.models.systems import save_system
        from aural.train.export import card_of
        from aural.train.start import ENCODER_FILE

        options = self.config.model_copy(update={"init": ""}).model_dump(mode="json")
        card = card_of(folder, recipe)
        save_system(folder, "self-supervised", options, state, source=f"recipe: {recipe.command}", card=card)
        with atomic_write(folder / ENCODER_FILE, CheckpointError) as part:
            save_file({k: v.cpu().contiguous() for k, v in strip_prefix(state, "encoder.").items()}, part)


class _Embedding(nn.Module):
    """Sum of the embeddings of the tokens (B, T, G) of all codebooks: (B, T, D)."""

    def __init__(self, tokens: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(tokens[1], dim) for _ in range(tokens[0]))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        total: Tensor = self.norm(torch.stack([table(tokens[..., g]) for g, table in enumerate(self.tables)]).sum(0))
        return total


def load_self_supervised(folder: Path) -> SelfSupervised:
    """Open a folder that `SelfSupervised.export` wrote, in evaluation mode.

    Raises:
        CheckpointError: the folder holds no such model.
    """
    try:
        header = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CheckpointError(f"{folder}: holds no trained model (config.json is missing or damaged)") from None
    if header.get("system") != "self-supervised":
        raise CheckpointError(f'{folder}: holds the system "{header.get("system")}", not "self-supervised"')
    system = SelfSupervised(SelfSupervisedConfig.parse(header["options"], f"{folder}/config.json"))
    system.load_state_dict(read_tensors(folder))
    return system.eval()


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a trained model's folder."""
    from aural.models.systems import WEIGHTS
    from aural.models.weight_files import read_safetensors

    tensors: dict[str, Tensor] = dict(read_safetensors(folder / WEIGHTS))
    return tensors


def _front(config: SelfSupervisedConfig) -> nn.Module:
    bands = config.encoder.n_mels
    if config.front == "wave":
        return WaveEncoder(bands)
    if config.front == "cochlea":
        return Cochleagram(bands, config.audio.sample_rate_hz, config.audio.mel.hop)
    return LogMel(config.audio.mel)


def _tokenizers(config: SelfSupervisedConfig) -> Tokenizers | None:
    sizes = config.encoder
    if not config.tokenizers:
        return None
    return Tokenizers(config.tokenizers, sizes.n_mels, sizes.stride, load_self_supervised)


def _quantizer(config: QuantizerConfig, dim: int) -> nn.Module:
    if config.kind == "nearest":
        return NearestQuantizer(dim, groups=config.groups, codes=config.codes)
    return GumbelQuantizer(dim, dim, groups=config.groups, codes=config.codes, temperature=config.temperature)


def _by_fact(name: str, losses: Tensor, facts: Sequence[str]) -> dict[str, Tensor]:
    """Return the mean loss of the clips with each value of a fact."""
    groups: dict[str, list[int]] = {}
    for place, fact in enumerate(facts):
        groups.setdefault(fact, []).append(place)
    return {f"{name}.loss.{fact}": losses[places].mean() for fact, places in sorted(groups.items())}
