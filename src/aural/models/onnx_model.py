"""A model computed by onnxruntime. It starts much faster than the torch model because torch is not imported.

It opens folders written by `aural.models.onnx_export`.

Legend: N items, E joint dimensions, T samples, L tokens.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from aural.audio.length import Shorter
from aural.core.config import Config, read_mapping
from aural.core.errors import CheckpointError, ConfigError, DataError, MissingDependencyError, one_line
from aural.core.types import FloatArray
from aural.core.vectors import unit_rows
from aural.encoders.tokenize import SpecialTokens, Tokenizer, load_backend
from aural.models.embedding import EmbeddingModel
from aural.models.frame_calibration import FrameCalibration, read_calibration
from aural.models.frames import FrameLayout
from aural.models.low_rank import with_updates
from aural.models.packaged import PackagedBranch, PackagedText
from aural.models.rounding import in_8_bits, is_matrix, with_steps

AUDIO: Final = "audio.onnx"
TEXT: Final = "text.onnx"
FRAMES: Final = "frames.onnx"
HEADER: Final = "onnx.json"
FEATURES: Final = "onnx/features.onnx"
FORMAT: Final = 1
ONNX_BATCH: Final = 4
CLIPS_ONLY: Final = ("audio.moment.",)
"""Tensors of the audio tower that its graph of frames does not have: a frame has no moment in time."""


Form = Literal["fp32", "int8", "bare"]
Layout = Literal["aural", "optimum"]


class OnnxHeader(Config):
    """The content of onnx.json.

    form: "fp32" and "int8" graphs hold their weights. "bare" graphs take the weights, the scale, the bias and the least
    cosine from the model's own files in the same folder. layout: which files and inputs the graphs have (see
    docs/models/onnx.md).
    """

    layout: Layout = "aural"

    aural_onnx: int = FORMAT
    name: str = ""
    form: Form
    embed_dim: int
    sample_rate_hz: int
    window_s: float
    shorter: Shorter
    logit_scale: float | None
    logit_bias: float | None
    least_cosine: float | None = None
    tokenizer: str
    special_tokens: SpecialTokens
    suffix: str
    pad_id: int
    max_tokens: int
    frames: FrameLayout | None = None
    """The frames of `frames.onnx`; None without that graph."""
    weights: list[str] = Field(default_factory=list)
    """For bare graphs: names of the tensors that a graph needs when opened; the first component names the tower."""


TORCH_ONLY: Final = frozenset(
    ("audio_tower", "checkpoint", "clap", "compat", "config", "push_to_hub", "save_pretrained", "source", "text_tower")
)
"""Attributes of `aural.models.pipeline.Model` that an OnnxModel lacks."""


class TorchOnlyError(ConfigError, AttributeError):
    """An attribute of the torch model was requested from an OnnxModel."""


def can_open(folder: Path) -> bool:
    """Return whether the folder holds an ONNX form and onnxruntime is installed."""
    return os.path.isfile(folder / HEADER) and importlib.util.find_spec("onnxruntime") is not None


class OnnxModel(EmbeddingModel):
    """A model computed by onnxruntime on the CPU in float32; each graph is opened on first use.

    threads: number of CPU threads; default: the environment variable OMP_NUM_THREADS, else all cores.
    """

    precision = "fp32"
    windows_a_batch = ONNX_BATCH

    def __init__(self, folder: str | Path, *, name: str = "", threads: int | None = None) -> None:
        self.folder = Path(folder)
        file = self.folder / HEADER
        if not file.is_file():
            raise CheckpointError(f"{self.folder}: holds no {HEADER}; `aural models export --format onnx` writes one")
        self.header = OnnxHeader.parse(read_mapping(file), str(file))
        if self.header.aural_onnx != FORMAT:
            raise CheckpointError(
                f"{file}: has format {self.header.aural_onnx}, this version reads {FORMAT}; write it again"
            )
        if importlib.util.find_spec("onnxruntime") is None:
            raise MissingDependencyError(f'{self.folder}: needs onnxruntime; pip install "aural[onnx]"')
        self.name = name or self.header.name
        self.embed_dim = self.header.embed_dim
        self.device = "cpu"
        self.threads = threads or environment_threads()

    def __getattr__(self, name: str) -> Any:
        """Explain which attributes need torch; called only for attributes that do not exist."""
        if name in TORCH_ONLY:
            raise TorchOnlyError(f'{self.folder}: "{name}" needs the torch model; load it with engine="torch"')
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def audio_input(self) -> OnnxHeader:
        return self.header

    @property
    def logit_scale(self) -> float:
        scale = self.header.logit_scale
        return float(np.exp(self._stored["logit_scale"])) if scale is None else scale

    @property
    def logit_bias(self) -> float | None:
        bias = self._stored.get("logit_bias") if self.header.form == "bare" else self.header.logit_bias
        return None if bias is None else float(bias)

    @property
    def least_cosine(self) -> float | None:
        if self.header.form != "bare":
            return self.header.least_cosine
        least = read_mapping(self.folder / "config.json").get("least_cosine")
        return None if least is None else float(least)

    def embed_waves(self, waves: FloatArray) -> FloatArray:
        length = round(self.window_s * self.sample_rate_hz)
        waves = np.ascontiguousarray(waves, np.float32)
        if waves.ndim != 2 or waves.shape[1] != length:
            raise DataError(f"waves of shape {waves.shape}; give (N, {length}), or sounds to embed_audio")
        if self.header.layout == "optimum":
            features = self._features.run(None, {"wave": waves})[0]
            return unit_rows(self._audio.run(None, {"input_features": features})[0])
        vectors: FloatArray = self._audio.run(None, {"wave": waves})[0]
        return vectors

    @property
    def frame_layout(self) -> FrameLayout | None:
        return self.header.frames

    @cached_property
    def frame_calibration(self) -> FrameCalibration | None:  # type: ignore[override]
        return read_calibration(self.folder)

    def frames_of_waves(self, waves: FloatArray) -> FloatArray:
        vectors: FloatArray = self._frames.run(None, {"wave": np.ascontiguousarray(waves, np.float32)})[0]
        return vectors

    def embed_texts(self, texts: list[str]) -> FloatArray:
        ids, mask, _ = self.tokenizer.padded(texts)
        if self.header.layout == "optimum":
            return unit_rows(self._text.run(None, {"input_ids": ids, "attention_mask": mask})[0])
        vectors: FloatArray = self._text.run(None, {"ids": ids, "mask": mask})[0]
        return vectors

    @cached_property
    def tokenizer(self) -> Tokenizer:
        file = self.folder / "tokenizer.json"
        return Tokenizer(
            load_backend(self.header.tokenizer, file if file.is_file() else None, offline=True),
            special=self.header.special_tokens,
            max_tokens=self.header.max_tokens,
            pad_id=self.header.pad_id,
            suffix=self.header.suffix,
        )

    @cached_property
    def _stored(self) -> dict[str, Any]:
        """The tensors of the folder's model.safetensors as float32."""
        return stored_tensors(self.folder / "model.safetensors")

    @cached_property
    def _features(self) -> Any:
        return self._session(FEATURES, "", {})

    @cached_property
    def _audio(self) -> Any:
        return self._session(graph_file(self.header, AUDIO), "audio.", self._audio_weights)

    @cached_property
    def _frames(self) -> Any:
        return self._session(FRAMES, "audio.", self._audio_weights, without=CLIPS_ONLY, arena=True)

    @cached_property
    def _text(self) -> Any:
        return self._session(
            graph_file(self.header, TEXT), "text.", self._weights("text.", "encoder.model.", "text_from", PackagedText)
        )

    @cached_property
    def _audio_weights(self) -> dict[str, Any]:
        return self._weights("audio.", "branch.", "branch_from", PackagedBranch)

    def _weights(self, tower: str, part: str, key: str, package: type[PackagedBranch | PackagedText]) -> dict[str, Any]:
        """Return the weights of a tower for a bare graph, rounded to 8 bits if config.json says so; else none.

        config.json names under `key` the package that holds the weights of a part of the tower.
        """
        if self.header.form != "bare":
            return {}
        weights = {name: value for name, value in self._stored.items() if name.startswith(tower)}
        config = read_mapping(self.folder / "config.json")
        packaged = config.get(key)
        if packaged is not None:
            path = package.parse(packaged, str(self.folder / "config.json")).path()
            weights |= {f"{tower}{part}{name}": value for name, value in stored_tensors(path).items()}
        weights = with_updates(weights)
        if not config.get("int8"):
            return weights
        return {name: in_8_bits(value) if is_matrix(name, value.shape) else value for name, value in weights.items()}

    def _session(
        self, name: str, tower: str, weights: dict[str, Any], *, without: tuple[str, ...] = (), arena: bool = False
    ) -> Any:
        used = [key for key in self.header.weights if key.startswith(tower) and not key.startswith(without)]
        return open_session(self.folder / name, {key: weights[key] for key in used}, self.threads, arena=arena)


def environment_threads() -> int:
    """Return OMP_NUM_THREADS, or 0 for all cores."""
    return int(os.environ.get("OMP_NUM_THREADS", "0") or 0)


def open_session(path: Path, weights: Mapping[str, FloatArray], threads: int, *, arena: bool = False) -> Any:
    """Open a graph for onnxruntime; `weights` are the tensors of a bare graph, none for a graph that holds its own.

    arena: keep memory between calls, which is faster for calls of one size and holds the memory of the largest call.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = arena
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
    try:
        if values:
            options.add_external_initializers(list(weights), values)
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the errors of onnxruntime share no other base class
        raise CheckpointError(f"{path}: cannot be opened by onnxruntime ({one_line(error)}); write it again") from None


def graph_file(header: OnnxHeader, name: str) -> str:
    """Return where a graph ("audio.onnx" or "text.onnx") is stored in the folder; optimum names int8 "quantized"."""
    if header.layout == "aural":
        return name
    return f"onnx/{name.partition('.')[0]}_model{'_quantized' if header.form == 'int8' else ''}.onnx"


def stored_tensors(path: Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file as float32, integers times their steps.

    Raises CheckpointError when the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error}); copy the folder again") from None
    return with_steps({k: t.astype(np.float32, copy=False) if t.dtype.kind == "f" else t for k, t in tensors.items()})
