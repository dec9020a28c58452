"""The torch model. Windows, batches and texts are handled by its base class in `aural.models.embedding`.

Legend: N items, E joint dimensions, T samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from aural.audio.decode import source_name
from aural.audio.io import as_source
from aural.core.errors import ConfigError, DataError
from aural.core.types import AudioSource, FloatArray
from aural.core.vectors import check_vector
from aural.encoders.mobilenet import Mobilenet
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models import peer as peers
from aural.models.arguments import check_texts
from aural.models.checkpoint import Checkpoint
from aural.models.clap import AudioConfig, AudioTower, Clap, TextTower
from aural.models.device import has_bf16, pick_device
from aural.models.embedding import CPU_BATCH, GPU_BATCH, AudioEmbedding, EmbeddingModel, Precision, checked_texts
from aural.models.frame_calibration import FrameCalibration, read_calibration
from aural.models.frames import FrameLayout
from aural.models.open import open_checkpoint
from aural.models.prefix import strip_prefix
from aural.models.publish import push_to_hub, save_pretrained
from aural.nn.conv import ConvBlock
from aural.nn.functional import unit


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The options of a torch model; `aural.load` explains them."""

    precision: Precision = "fp32"
    compat: Literal["peer"] | None = None
    seed: int = 0
    tokenizer: str | Path | None = None
    offline: bool = False


class Model(EmbeddingModel):
    """A model computed by torch; `aural.load(name, engine="torch")` returns one.

    Attributes: `checkpoint`, the opened weights and configuration; `config`, the configuration; `source`, the path of
    the weights; `device`, `precision` and `compat`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        name: str = "",
        device: str | torch.device = "cpu",
        options: ModelOptions | None = None,
    ) -> None:
        self._options = options or ModelOptions()
        self.precision, self.compat = self._options.precision, self._options.compat
        if self.compat == "peer" and checkpoint.peer == "none":
            raise ConfigError(f'{checkpoint.source}: compat="peer" needs a published checkpoint of another package')
        self.name = name or checkpoint.source
        self.config = checkpoint.config
        self.embed_dim = self.config.embed_dim
        self.source = checkpoint.source
        self.device = torch.device(device)
        self.checkpoint = checkpoint
        if self._options.tokenizer is not None:
            self.tokenizer  # noqa: B018 - refuses a folder without a tokenizer now, not at the first text
        self.windows_a_batch = CPU_BATCH if self.device.type == "cpu" else GPU_BATCH

    @property
    def audio_input(self) -> AudioConfig:
        return self.config.audio

    @property
    def logit_scale(self) -> float:
        return float(self.checkpoint.tensors["logit_scale"].float().exp())

    @property
    def logit_bias(self) -> float | None:
        bias = self.checkpoint.tensors.get("logit_bias")
        return None if bias is None else float(bias)

    @property
    def least_cosine(self) -> float | None:
        return self.checkpoint.least_cosine

    # Towers are built from the mapped tensors on first use: a program that embeds only sounds does not read the text
    # tower's weights and does not import transformers.

    @cached_property
    def audio_tower(self) -> AudioTower:
        with torch.device("meta"):
            tower = AudioTower(self.config.audio, self.embed_dim)
        tower = self._fill(tower, "audio.")
        for block in tower.modules():
            if isinstance(block, ConvBlock | Mobilenet) and self.device.type == "cpu":
                block.fold()
        return tower

    @cached_property
    def text_tower(self) -> TextTower:
        with torch.device("meta"):
            tower = TextTower(self.config.text, self.config.text_projection, self.embed_dim)
        tower.encoder.restore_buffers()
        return self._fill(tower, "text.")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        text, folder = self.config.text, self._options.tokenizer
        if folder is None and self.checkpoint.folder is not None:
            names = ("tokenizer.json", "vocab.json")
            if any((self.checkpoint.folder / name).is_file() for name in names):
                folder = self.checkpoint.folder
        return Tokenizer(
            load_backend(text.tokenizer, folder, offline=self._options.offline),
            special=text.special_tokens,
            max_tokens=text.max_tokens,
            pad_id=text.pad_id,
            suffix=text.suffix,
        )

    def _fill(self, tower: Any, prefix: str) -> Any:
        state = strip_prefix(self.checkpoint.tensors, prefix)
        if prefix == "text.":
            state = {name: tensor.float() for name, tensor in state.items()}
        tower.load_state_dict(state, strict=True, assign=True)
        return tower.requires_grad_(False).eval().to(self.device)

    def clap(self) -> Clap:
        """Return a trainable copy of the whole model in float32."""
        clap = Clap(self.config)
        clap.load_state_dict(self.checkpoint.tensors, strict=True)
        return clap.to(self.device)

    @property
    def computes(self) -> Precision:
        """The precision in use: fp32 where the device has no bfloat16 arithmetic, which would be slower."""
        return "bf16" if self.precision == "bf16" and has_bf16(self.device) else "fp32"

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.computes == "bf16" else nullcontext()

    def save_pretrained(self, folder: str | Path, *, half: bool = False) -> Path:
        """Write the model to a folder in aural's own format; `half` stores matrices as float16."""
        return save_pretrained(self, folder, half=half)

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the model in aural's own format to a hub repository and return its address."""
        return push_to_hub(self, repository, private=private, token=token)

    @staticmethod
    def from_pretrained(
        name_or_path: str | Path,
        *,
        offline: bool = False,
        device: str | torch.device | None = None,
        precision: Precision = "fp32",
        compat: Literal["peer"] | None = None,
        seed: int = 0,
        tokenizer: str | Path | None = None,
    ) -> Model:
        """Load a model on torch; the options are those of `aural.load`."""
        where = pick_device(device)
        checkpoint = open_checkpoint(name_or_path, offline=offline)
        options = ModelOptions(precision=precision, compat=compat, seed=seed, tokenizer=tokenizer, offline=offline)
        return Model(checkpoint, name=str(name_or_path), device=where, options=options)

    # Sound ---------------------------------------------------------------------------------------------------------

    def _reference_results(self, clips: Sequence[AudioSource]) -> Iterable[AudioEmbedding] | None:
        """Embed all clips in one call as the reference package does, which has no options, with compat="peer"."""
        if self.compat != "peer":
            return None
        rows = self._embed_peer([as_source(clip) for clip in clips])
        return [AudioEmbedding(index, embedding=row) for index, row in enumerate(rows)]

    def embed_waves(self, waves: FloatArray | Tensor) -> FloatArray:
        """Embed waveforms (N, T), mono at the model's rate and of the window's length, to unit rows (N, E)."""
        wave = torch.as_tensor(waves, device=self.device)
        length = round(self.config.audio.window_s * self.sample_rate_hz)
        if wave.ndim != 2 or wave.shape[1] != length:
            raise DataError(f"waves of shape {tuple(wave.shape)}; give (N, {length}), or sounds to embed_audio")
        with torch.inference_mode(), self._autocast():
            vectors = self.audio_tower(wave).float()
        return unit(vectors).cpu().numpy()

    @cached_property
    def frame_layout(self) -> FrameLayout | None:  # type: ignore[override]
        return self.audio_tower.frame_layout()

    @cached_property
    def frame_calibration(self) -> FrameCalibration | None:  # type: ignore[override]
        return read_calibration(self.checkpoint.folder)

    def frames_of_waves(self, waves: FloatArray) -> FloatArray:
        with torch.inference_mode(), self._autocast():
            rows = self.audio_tower.frames(torch.as_tensor(waves, device=self.device)).float()
        return unit(rows).cpu().numpy()

    def _embed_peer(self, clips: Sequence[AudioSource]) -> FloatArray:
        if not clips:
            return np.empty((0, self.embed_dim), np.float32)
        tower = self.audio_tower
        with torch.inference_mode(), self._autocast():
            front_end = tower.front_end
            mel, longer = peers.audio_inputs(
                self.checkpoint.peer, self.config.audio, front_end, clips, self._options.seed
            )
            vectors = tower.embed_mel(mel.to(self.device), None if longer is None else longer.to(self.device)).float()
        rows: FloatArray = unit(vectors).cpu().numpy()
        for clip, row in zip(clips, rows, strict=True):
            check_vector(row, source_name(clip))
        return rows

    # Text ----------------------------------------------------------------------------------------------------------

    def embed_text(self, texts: Sequence[str], *, batch_size: int = 64) -> FloatArray:
        """Embed texts as `EmbeddingModel.embed_text` does, or with compat="peer" as the reference package does."""
        if self.compat != "peer":
            return super().embed_text(texts, batch_size=batch_size)
        texts = check_texts(texts)
        if not texts:
            return np.empty((0, self.embed_dim), np.float32)
        inputs = peers.text_inputs(self.checkpoint.peer, self.tokenizer, texts, self.config.text.max_tokens)
        self._check_positions(inputs.tokens.ids)
        return checked_texts(self._embed_ids(inputs.tokens.ids, inputs.tokens.mask, inputs.last), self.name)

    def embed_texts(self, texts: list[str]) -> FloatArray:
        tokens = self.tokenizer(texts)
        return self._embed_ids(tokens.ids, tokens.mask)

    def _check_positions(self, ids: Tensor) -> None:
        if ids.shape[1] > self.config.text.positions:
            raise DataError(
                f"a text of {ids.shape[1]} tokens; the tower reads {self.config.text.positions}: shorten it"
            )

    def _embed_ids(self, ids: Tensor, mask: Tensor, last: Tensor | None = None) -> FloatArray:
        ids, mask = ids.to(self.device), mask.to(self.device)
        with torch.inference_mode(), self._autocast():
            vectors = self.text_tower(ids, mask, None if last is None else last.to(self.device)).float()
        return unit(vectors).cpu().numpy()
