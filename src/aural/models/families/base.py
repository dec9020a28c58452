"""The interface of model families that are not a `Clap`: how a folder or file is recognized, and a torch base class.

Legend: N items, E joint dimensions, T samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from aural.audio.length import Shorter
from aural.core.errors import CheckpointError, ConfigError
from aural.core.registry import Registry
from aural.core.types import FloatArray
from aural.encoders.convert.base import Publisher, check_keys, translate
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models.device import has_bf16, pick_device
from aural.models.embedding import EmbeddingModel, Precision
from aural.models.prefix import strip_prefix
from aural.nn.functional import unit

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class OpenOptions:
    """The options of `aural.load` with which a model of a family is opened."""

    name: str
    device: str | torch.device | None = None
    precision: Precision = "fp32"
    tokenizer: str | Path | None = None
    offline: bool = False
    compat: Literal["peer"] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Traits:
    """The properties of a model that its interface returns.

    window_s: longer sounds are split into windows of this length. shorter: how a shorter sound is filled; None keeps
    its length.
    """

    embed_dim: int
    sample_rate_hz: int
    window_s: float
    shorter: Shorter | None = None
    logit_scale: float = 1.0
    logit_bias: float | None = None


# Opens a folder: (folder, content of its config.json, options).
FolderOpener = Callable[[Path, Mapping[str, Any], OpenOptions], EmbeddingModel]
FOLDERS: Registry[FolderOpener] = Registry("model type")
"""By the key "model_type" of config.json."""

# Opens a weight file: (its tensors, its path, options).
FileOpener = Callable[[Mapping[str, Tensor], Path, OpenOptions], EmbeddingModel]
FILES: Registry[FileOpener] = Registry("weight file")
"""By the name of a tensor that only files of this family hold."""


class FamilyModel(EmbeddingModel):
    """A model computed by torch whose sounds may differ in length within a batch.

    Subclasses define `audio_rows` and `text_rows`, which return vectors that need not have unit length.
    """

    reproduces_peer: ClassVar[bool] = False
    """Whether the family has the preprocessing of its package too (compat="peer")."""

    def __init__(self, traits: Traits, options: OpenOptions) -> None:
        self.traits, self.options = traits, options
        self.name, self.embed_dim = options.name, traits.embed_dim
        self.device = pick_device(options.device)
        self.precision = options.precision
        self.windows_a_batch = 4 if self.device.type == "cpu" else 16

    @property
    def audio_input(self) -> Traits:
        return self.traits

    @property
    def logit_scale(self) -> float:
        return self.traits.logit_scale

    @property
    def logit_bias(self) -> float | None:
        return self.traits.logit_bias

    @abstractmethod
    def audio_rows(self, waves: Tensor) -> Tensor:
        """Return the vectors (N, E) of waveforms (N, T) of one length."""

    @abstractmethod
    def text_rows(self, texts: Sequence[str]) -> Tensor:
        """Return the vectors (N, E) of texts."""

    def embed_waves(self, waves: FloatArray) -> FloatArray:
        with self.computing():
            rows = unit(self.audio_rows(torch.as_tensor(waves, device=self.device)).float())
        vectors: FloatArray = rows.cpu().numpy()
        return vectors

    def embed_windows(self, windows: Sequence[FloatArray]) -> FloatArray:
        """Embed windows that may differ in length; those of one length share a batch."""
        rows = np.empty((len(windows), self.embed_dim), np.float32)
        by_length: dict[int, list[int]] = {}
        for i, window in enumerate(windows):
            by_length.setdefault(window.shape[0], []).append(i)
        for chosen in by_length.values():
            rows[chosen] = self.embed_waves(np.stack([windows[i] for i in chosen]))
        return rows

    def embed_texts(self, texts: list[str]) -> FloatArray:
        with self.computing():
            rows = unit(self.text_rows(texts).float())
        vectors: FloatArray = rows.cpu().numpy()
        return vectors

    def folder_tokenizer(self, folder: Path, text: Any) -> Tokenizer:
        """Return a folder's tokenizer for a transformers text config; it adds the opening and the closing token."""
        backend = load_backend(str(folder), self.options.tokenizer or folder)
        longest = text.max_position_embeddings
        return Tokenizer(backend, special="bert", max_tokens=longest, pad_id=text.pad_token_id or 0)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Switch gradients off and, with precision bf16 where the device supports it, autocast on."""
        bf16 = self.precision == "bf16" and has_bf16(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            yield

    def filled(self, build: Callable[[], M], state: Mapping[str, Tensor], prefix: str, where: str) -> M:
        """Build a part of the model and give it the tensors of a checkpoint whose names start with `prefix`.

        Raises CheckpointError for a tensor that is missing, unexpected or misshaped.
        """
        with without_init():
            part = build()
        tensors = {name: t.float() if t.is_floating_point() else t for name, t in strip_prefix(state, prefix).items()}
        check_keys(tensors, {name: tuple(t.shape) for name, t in part.state_dict().items()}, f"{where}: {prefix}")
        part.load_state_dict(tensors, strict=True, assign=True)
        return part.requires_grad_(False).eval().to(self.device)

    def translated(self, build: Callable[[], M], state: Mapping[str, Tensor], publisher: Publisher, where: str) -> M:
        """Build a part of the model and give it the tensors of a file whose names `publisher` describes.

        Raises CheckpointError for a tensor that is missing, unexpected or misshaped.
        """
        with torch.device("meta"):
            part = build()
        shapes = {name: tuple(t.shape) for name, t in part.state_dict().items()}
        tensors = translate(state, shapes, publisher, where)
        floats = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
        part.load_state_dict(floats, strict=True, assign=True)
        return part.requires_grad_(False).eval().to(self.device)

    def two_layers(self, state: Mapping[str, Tensor], prefix: str, where: str) -> nn.Module:
        """Build the projection W2 relu(W1 x + b1) + b2 of a checkpoint, with its layers 0 and 2 below `prefix`."""
        hidden, width = tensor_shape(state, f"{prefix}0.weight", where)
        out = tensor_shape(state, f"{prefix}2.weight", where)[0]

        def build() -> nn.Sequential:
            return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))

        return self.filled(build, state, prefix, where)


def tensor_shape(state: Mapping[str, Tensor], name: str, where: str) -> tuple[int, ...]:
    """Return the shape of a tensor of a checkpoint. Raises CheckpointError when it is missing."""
    if name not in state:
        raise CheckpointError(f'{where}: "{name}" is missing; download the file again')
    return tuple(state[name].shape)


def depth_of(state: Mapping[str, Tensor], pattern: str) -> int:
    """Return the number of layers of a checkpoint; `pattern` names a tensor of layer {}."""
    depth = 0
    while pattern.format(depth) in state:
        depth += 1
    return depth


@contextmanager
def without_init() -> Iterator[None]:
    """Skip the random initialization of modules built inside, which a checkpoint overwrites."""
    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # transformers before 5 keeps it elsewhere
        from transformers.modeling_utils import no_init_weights
    with no_init_weights():
        yield


def transformers_class(name: str) -> Any:
    """Return a class of the transformers library, or raise ConfigError when the installed version lacks it."""
    import transformers

    named = getattr(transformers, name, None)
    if named is None:
        raise ConfigError(
            f'transformers {transformers.__version__} has no "{name}"; pip install --upgrade transformers'
        )
    return named
