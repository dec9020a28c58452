"""Towers that meet in one space: sound and text, two texts, two sounds, or one tower with itself.

Legend: B clips, K captions per clip, H false captions per clip, N tokens of an encoder, E joint dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from aural.core.config import Config
from aural.core.errors import ConfigError, near_miss
from aural.encoders.base import AudioFeatures
from aural.encoders.builtin import AUDIO_ENCODERS
from aural.encoders.packed import Packed
from aural.encoders.text import TextConfig, TextFeatures
from aural.models.clap import AudioConfig, AudioTower, Clap, TextTower
from aural.models.pair import PairShape, TowerShape, build_tower
from aural.nn.lora import add_low_rank, learn_low_rank
from aural.train.config import Recipe
from aural.train.inputs import log_mel, masked, unit, viewed
from aural.train.start import load_encoder, load_text
from aural.train.system import SYSTEMS, Plan, System, SystemConfig

if TYPE_CHECKING:
    from aural.train.loader import Batch, Batches

HIGHEST_SCALE = 100.0  # of the logits, as published


class TowerConfig(TowerShape):
    """One tower, where its first weights come from, and what of it is trained."""

    init: str = "random"
    """Start weights of the encoder. audio: the folder of a stage-1 run, or a model by name or folder. text:
    "packaged-minilm" (from an installed package), a folder in our own format, or a local folder or hub name of
    pretrained weights of its architecture."""
    locked: bool = False
    """Freeze the encoder; its projection is trained."""
    lora: Annotated[int, Field(ge=0)] = 0
    """Rank of the low-rank updates (LoRA) that are trained on a locked text encoder; 0: none."""


class EmbeddingConfig(Config):
    """One output: the unit rows that a tower gives for one view of its input."""

    tower: str
    view: Annotated[int, Field(ge=0)] = 0
    """View of the `sound` or `text` field."""
    draw: Annotated[int, Field(ge=0)] = 0
    """Dropout draw. Outputs with the same tower, view and draw share one forward pass."""
    tokens: bool = False
    """Give one row per token instead of one per clip or caption: (B, N, E) of a sound encoder, in order of time, or
    (B K, L, E) of a text encoder, whose padding is where the batch's `mask` is 0."""
    predict: bool = False
    """Pass the row through the predictor (see `predictor`)."""


class PairConfig(PairShape, SystemConfig):
    """Towers, and the outputs that they give."""

    towers: dict[str, TowerConfig] = Field(min_length=1)  # type: ignore[assignment]
    embeddings: dict[str, EmbeddingConfig] = Field(default_factory=dict)
    """Outputs by name; empty: one per tower, named `TOWER_emb`."""
    predictor: Annotated[int, Field(ge=0)] = 0
    """Width of the hidden layer of the predictor, a perceptron over embeddings; 0: none."""
    init: str = ""
    """A sound-and-text model by name or folder to start from."""
    init_temperature: Annotated[float, Field(gt=0)] = 0.07
    int8: bool = False
    """Store that the matrices are rounded to 8 bits per row when the model is opened."""

    @model_validator(mode="after")
    def _consistent(self) -> PairConfig:
        for name, tower in self.towers.items():
            if tower.lora and (tower.text is None or not tower.locked):
                raise ValueError(f"towers.{name}: lora is for a locked text tower")
        for name, output in self.outputs().items():
            if output.tower not in self.towers:
                hint = near_miss(output.tower, self.towers)
                raise ValueError(f'embeddings.{name}: no tower "{output.tower}"; {hint}')
            if output.predict and not self.predictor:
                raise ValueError(f"embeddings.{name}: predict needs `predictor`, the width of its hidden layer")
        return self

    def outputs(self) -> dict[str, EmbeddingConfig]:
        """Return the outputs by name."""
        return self.embeddings or {f"{name}_emb": EmbeddingConfig(tower=name) for name in self.towers}

    def plan(self, recipe: Recipe) -> Plan:
        """Return the plan: `sound` and `text` fields with as many views as the outputs use."""
        fields: dict[str, dict[str, Any]] = {}
        for kind, field in (("audio", "sound"), ("text", "text")):
            views = [out.view for out in self.outputs().values() if out.tower in self.of_kind(kind)]
            if views:
                fields[field] = {"views": max(views) + 1}
        ragged = {name for name, out in self.outputs().items() if out.tokens and out.tower in self.of_kind("text")}
        if ragged and recipe.data.pack_text:
            raise ConfigError("data.pack_text gives no tokens of a single caption; set it to 0 or leave tokens out")
        rows, once = set(self.outputs()) - ragged, {"logit_scale"} | ({"logit_bias"} if self.logit_bias else set())
        if recipe.data.negatives:
            if not self.of_kind("text"):
                raise ConfigError("data.negatives needs a text tower; set it to 0")
            fields["negatives"] = {}
            rows.add("hard_text_emb")
        if recipe.data.batching.name == "lengths":
            self._check_lengths()
        return Plan(
            fields,
            frozenset(rows),
            frozenset(once),
            frozenset(ragged),
            audio=self._audio(),
            text=self._text(),
            lengths=True,
        )

    def _check_lengths(self) -> None:
        """Raise ConfigError unless every sound tower can read a padded batch."""
        for name in self.of_kind("audio"):
            audio = self.towers[name].audio
            if audio is not None and not AUDIO_ENCODERS[audio.encoder].masks_padding:
                able = ", ".join(key for key in AUDIO_ENCODERS if AUDIO_ENCODERS[key].masks_padding)
                raise ConfigError(
                    f'data.batching: the sound encoder "{audio.encoder}" does not mask padding ({able} does); choose '
                    'another or set data.batching to "windows"'
                )
        if any(out.tokens and out.tower in self.of_kind("audio") for out in self.outputs().values()):
            raise ConfigError('data.batching "lengths" gives clips of unequal length; leave tokens of sounds out')

    def _audio(self) -> AudioConfig | None:
        configs = [tower.audio for tower in self.towers.values() if tower.audio is not None]
        if any((c.sample_rate_hz, c.window_s, c.mel) != _window(configs[0]) for c in configs):
            raise ConfigError("towers: sound towers must share sample_rate_hz, window_s and mel")
        if any(config.branch is not None for config in configs):
            raise ConfigError("towers: a sound tower with a second branch is for inference; leave branch out")
        if any(config.moment for config in configs):
            raise ConfigError("towers: the residual on the moment is trained by tools/tune_order.py; leave moment out")
        return configs[0] if configs else None

    def _text(self) -> TextConfig | None:
        configs = [tower.text for tower in self.towers.values() if tower.text is not None]
        if any(c.tokenizer != configs[0].tokenizer or c.max_tokens != configs[0].max_tokens for c in configs):
            raise ConfigError("towers: text towers must share tokenizer and max_tokens")
        return configs[0] if configs else None


def _window(config: AudioConfig) -> tuple[Any, ...]:
    return config.sample_rate_hz, config.window_s, config.mel


@SYSTEMS.register("pair", architecture="two towers", training="contrastive")
class Pair(System):
    """Towers by name, the learned temperature and, if `logit_bias`, the bias of the sigmoid loss.

    A batch gives unit rows (B, E) of each output (B K, E for texts), "hard_text_emb" (B, H, E) for false captions,
    "logit_scale" and "logit_bias".
    """

    config_type = PairConfig
    config: PairConfig

    def __init__(self, config: PairConfig, batches: Batches | None = None) -> None:
        super().__init__(config, batches)
        for name, tower in config.towers.items():
            self.add_module(name, build_tower(tower, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        if config.logit_bias:
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))
        if config.predictor:
            width, hidden = config.embed_dim, config.predictor
            self.predictor = nn.Sequential(nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.ReLU(),
                                           nn.Linear(hidden, width))  # fmt: skip
        self._start()
        self.locked = [self._tower(name).encoder for name, tower in config.towers.items() if tower.locked]
        for encoder in self.locked:
            encoder.requires_grad_(False)
            learn_low_rank(encoder)

    def _start(self) -> None:
        """Load the start weights that the config names."""
        config = self.config
        if config.init:
            from aural.models.open import open_checkpoint

            checkpoint = open_checkpoint(config.init)
            if checkpoint.config != config.clap():
                raise ConfigError(f"model.init: {config.init} is a model of another shape; leave model.clap out")
            self.load_state_dict(dict(checkpoint.tensors), strict=True)
            return
        with torch.no_grad():
            self.logit_scale.fill_(math.log(1 / config.init_temperature))
        for name, shape in config.towers.items():
            tower = self._tower(name)
            if shape.init != "random":
                if isinstance(tower, AudioTower):
                    load_encoder(tower.encoder, shape.init)
                else:
                    assert shape.text is not None
                    load_text(tower, shape.text, shape.init)
            if shape.lora:
                add_low_rank(tower.encoder, shape.lora)

    def _tower(self, name: str) -> AudioTower | TextTower:
        tower = getattr(self, name)
        assert isinstance(tower, AudioTower | TextTower)
        return tower

    def train(self, mode: bool = True) -> Pair:
        super().train(mode)
        for encoder in self.locked:
            encoder.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        passes: dict[tuple[str, int, int], AudioFeatures | TextFeatures] = {}
        projected: dict[tuple[str, int, int, bool], Tensor] = {}
        out: dict[str, Tensor] = {}
        for name, output in self.config.outputs().items():
            key = (output.tower, output.view, output.draw)
            if key not in passes:
                passes[key] = self._features(output, batch)
            if (*key, output.tokens) not in projected:
                features = passes[key].tokens if output.tokens else passes[key].pooled
                projected[*key, output.tokens] = self._tower(output.tower).projection(features)
            rows = projected[*key, output.tokens]
            out[name] = unit(self.predictor(rows) if output.predict else rows)
        if "hard_ids" in batch:
            tower = self._tower(self.config.of_kind("text")[0])
            hard = unit(tower(batch["hard_ids"], batch["hard_mask"]))
            out["hard_text_emb"] = hard.view(len(batch["hard_text_mask"]), -1, hard.shape[-1])
        out["logit_scale"] = self.logit_scale.clamp(max=math.log(HIGHEST_SCALE)).exp()
        return out | ({"logit_bias": self.logit_bias} if self.config.logit_bias else {})

    def _features(self, output: EmbeddingConfig, batch: Batch) -> AudioFeatures | TextFeatures:
        tower = self._tower(output.tower)
        if isinstance(tower, TextTower):
            ids = batch[viewed("ids", output.view)]
            if viewed("starts", output.view) in batch:
                packed = Packed(*(batch[viewed(name, output.view)] for name in Packed._fields))
                texts: TextFeatures = tower.encoder(ids, packed=packed)
            else:
                texts = tower.encoder(ids, batch[viewed("mask", output.view)])
            return texts
        frames = viewed("frames", output.view)
        options = {"frames": batch[frames]} if frames in batch else {}
        mel = masked(log_mel(tower.front_end, batch, output.view), batch, output.view)
        sounds: AudioFeatures = tower.encoder(mel, **options)
        return sounds

    def parts(self) -> dict[str, nn.Module]:
        """Return each tower's encoder."""
        return {name: self._tower(name).encoder for name in self.config.towers}

    def watch(self) -> dict[str, Tensor]:
        """Return the multiplier of the cosines."""
        return {"logit_scale": self.logit_scale.detach().exp()}

    def model(self) -> Clap | None:
        """Return the two-tower model that shares this system's weights, or None for other pairs."""
        config = self.config.clap()
        if config is None:
            return None
        with torch.device("meta"):
            clap = Clap(config)
        for name, module in self.named_children():
            if name in ("audio", "text"):
                clap.add_module(name, module)
        clap.logit_scale = self.logit_scale
        if self.config.logit_bias:
            clap.logit_bias = self.logit_bias
        return clap.train(self.training)

    def blank(self, batches: Batches) -> Pair:
        """Construct a pair of the same shape without reading start weights."""
        towers = {name: tower.model_copy(update={"init": "random"}) for name, tower in self.config.towers.items()}
        return Pair(self.config.model_copy(update={"towers": towers, "init": ""}), batches)

    def export(self, folder: Path, recipe: Recipe, state: Mapping[str, Tensor]) -> None:
        """Write a folder that `aural.load` opens."""
        from aural.train.export import write_pair

        write_pair(folder, self.config, recipe, state)
