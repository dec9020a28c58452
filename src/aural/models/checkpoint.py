"""An opened model: its configuration and tensors, whichever file format they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from aural.models.clap import ClapConfig

Peer = Literal["msclap", "laion", "transformers", "none"]
"""The reference package whose preprocessing `compat="peer"` reproduces; "none" for models of aural itself."""


@dataclass(frozen=True)
class Checkpoint:
    """A model as opened from disk.

    tensors: named and shaped as in the state dict of `Clap(config)`. source: the path that error messages name. folder:
    the folder of the model, where the checkpoint is one; it may hold a tokenizer. least_cosine: the least cosine of a
    match, where it was measured.
    """

    config: ClapConfig
    tensors: Mapping[str, Tensor]
    peer: Peer
    source: str
    folder: Path | None = None
    least_cosine: float | None = None
