"""The contract of an objective: a loss that takes named tensors, never models, and returns named scalars.

Names that objectives share. Shapes: B clips, M captions, E dimensions, H hard negatives, T frames, C classes. Any
objective can be applied to another pair of tensors by renaming its inputs in a recipe.

| name | shape | meaning |
| --- | --- | --- |
| `audio_emb` | (B, E) | unit rows of the audio tower |
| `text_emb` | (B, E) or (M, E) | unit rows of the text tower |
| `logit_scale` | () | multiplier of the cosines, 1 / temperature (already exponentiated) |
| `logit_bias` | () | added to the scaled cosines |
| `targets` | (B, B) | how well each caption fits each clip, non-negative (`aural.objectives.targets`) |
| `hard_text_emb` | (B, H, E) | unit rows of false captions written for each clip |
| `hard_text_mask` | (B, H) | true where such a caption exists |
| `values` | (B, D) | continuous labels of a pair, such as valence and arousal |
| `audio_group`, `text_group` | (B,), (M,) | integers; a clip and a caption with the same number match |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.core.registry import Registry, build

# Taxonomy of objectives, after surveys of contrastive learning. Tables: docs/reproduced/taxonomy.md.
OBJECTIVE_AXES = {
    # What says that two items belong together: recorded together, a label, two views of one item, another model,
    # or a graded similarity.
    "signal": ("pair", "label", "self", "teacher", "similarity"),
    # What is compared: two inputs, an input with a label or class, or nothing.
    "contrast": ("input-input", "input-label", "none"),
    # How: softmax over a batch, one yes-or-no decision per pair, a distance to a target, or a bound on a divergence.
    "loss": ("contrastive", "binary", "regression", "divergence"),
    # What an item is pushed away from.
    "negatives": ("batch", "built", "classes", "none"),
    # What the inputs may be; inputs of "any pair" can be renamed to any two embeddings.
    "modality": ("any pair", "any", "audio-text"),
}


class Objective(ABC):
    """A loss over named tensors.

    Call it with a mapping that holds at least `needs`. It returns a dict of scalars: "loss" (differentiable) and its
    parts (detached). Arithmetic is float32 or wider, also under autocast. Subclasses set `config_type` and register
    with `@OBJECTIVES.register(name, **axes)`.
    """

    config_type: ClassVar[type[Config]] = Config
    needs: frozenset[str] = frozenset({"audio_emb", "text_emb", "logit_scale"})

    config: Any
    """An instance of `config_type`."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else self.config_type()
        self.needs = self.needs | self.extra_needs()

    def extra_needs(self) -> set[str]:
        """Return the names that the config adds to the `needs` of the class."""
        return set()

    @abstractmethod
    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Return the scalars, from exactly the tensors named in `needs`."""

    def __call__(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        check_needs(self, given, "the mapping of tensors")
        tensors = {name: given[name] for name in self.needs}
        device_types = {tensor.device.type for tensor in tensors.values()}
        device_type = next(iter(sorted(device_types - {"cpu"})), "cpu")  # scalars may be on the CPU
        with torch.autocast(device_type, enabled=False):
            scalars = self.compute(**tensors)
        return {name: value if name == "loss" else value.detach() for name, value in scalars.items()}


OBJECTIVES: Registry[type[Objective]] = Registry("objective", OBJECTIVE_AXES)


def check_needs(objective: Objective, given: Iterable[str], giver: str = "the model") -> None:
    """Raise ConfigError, before the first step, if `giver` does not provide a tensor that the objective needs."""
    missing = sorted(objective.needs - set(given))
    if missing:
        name = type(objective).__name__
        raise ConfigError(f"{name} needs {' and '.join(missing)}, which {giver} does not give")


def build_objective(name: str, values: Mapping[str, Any] | None = None) -> Objective:
    """Construct the objective of that exact name from the plain values of its config.

    >>> build_objective("info_nce").needs == {"audio_emb", "text_emb", "logit_scale"}
    True
    """
    objective: Objective = build(OBJECTIVES, name, values)
    return objective


def widen(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Convert floating tensors to one dtype, at least float32."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return tuple(tensor.to(dtype) for tensor in tensors)


def pair_logits(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return logit_scale * <audio_i, text_j> + logit_bias (B, B), in float32 or wider.

    Raises:
        ConfigError: the embeddings are not two (B, E) with B >= 1.
    """
    names = ("audio_emb", "text_emb", "logit_scale", "logit_bias")
    audio, text, scale, bias = widen(*(tensors[name] for name in names))
    require_pairs(audio, text)
    return scale * audio @ text.T + bias


def symmetric_loss(logits: Tensor) -> dict[str, Tensor]:
    """Return the cross-entropies of the rows and of the columns of logits (B, B), whose matches are on the diagonal."""
    match = torch.arange(len(logits), device=logits.device)
    rows, columns = (torch.nn.functional.cross_entropy(matrix, match) for matrix in (logits, logits.T))
    return {"loss": (rows + columns) / 2, "audio_to_text": rows, "text_to_audio": columns}


def require_pairs(audio_emb: Tensor, text_emb: Tensor) -> None:
    """Raise ConfigError unless there are as many clips as captions, at least one, of the same width."""
    if audio_emb.ndim != 2 or audio_emb.shape != text_emb.shape or len(audio_emb) == 0:
        raise ConfigError(
            f"audio_emb {tuple(audio_emb.shape)} and text_emb {tuple(text_emb.shape)} must both be (B, E) with B >= 1; "
            "use multi_positive if clips have several captions"
        )


def with_hard_captions(tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return audio_emb (B, E), text_emb (B, E), hard_text_emb (B, H, E) and logit_scale in float32 or wider.

    Raises:
        ConfigError: the shapes do not fit.
    """
    audio, text, hard, scale = widen(
        *(tensors[name] for name in ("audio_emb", "text_emb", "hard_text_emb", "logit_scale"))
    )
    require_pairs(audio, text)
    if hard.ndim != 3 or (len(hard), hard.shape[2]) != audio.shape:
        raise ConfigError(f"hard_text_emb {tuple(hard.shape)} must be (B, H, E) with audio_emb {tuple(audio.shape)}")
    return audio, text, hard, scale


def require_rows(name: str, tensor: Tensor, other: str, like: Tensor) -> None:
    """Raise ConfigError unless two tensors are both (B, E) with B >= 1."""
    if tensor.ndim != 2 or tensor.shape != like.shape or len(tensor) == 0:
        raise ConfigError(
            f"{name} {tuple(tensor.shape)} and {other} {tuple(like.shape)} must both be (B, E) with B >= 1"
        )
