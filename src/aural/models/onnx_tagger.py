"""A tagger computed by onnxruntime, so that `aural tag` does not import torch.

FOLDER/audio.onnx   wave (N, T) float32 -> features (N, D), scores (N, K)

The graph is bare: it takes the weights from the folder's model.safetensors when it is opened. `write_tagger_graph` of
`onnx_export` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aural.core.config import Config, read_mapping
from aural.core.errors import CheckpointError
from aural.core.types import FloatArray
from aural.models.embedding import Precision
from aural.models.onnx_model import AUDIO, HEADER, ONNX_BATCH, environment_threads, open_session, stored_tensors
from aural.models.systems import WEIGHTS
from aural.models.tagging import TaggerInput, TaggerOutput, TaggingModel


class TaggerHeader(Config):
    """The content of onnx.json: the width of the features and the names of the weights that the graph takes."""

    aural_onnx: int = 1
    embed_dim: int
    weights: list[str]


class OnnxTagger(TaggingModel):
    """A tagger computed by onnxruntime on the CPU, see `TaggingModel`."""

    def __init__(self, folder: Path, options: Mapping[str, Any], *, name: str) -> None:
        fields = {key: options.get(key) for key in TaggerInput.model_fields}
        self.config = TaggerInput.parse(fields, str(folder / "config.json"))
        self.header = TaggerHeader.parse(read_mapping(folder / HEADER), str(folder / HEADER))
        self.folder, self.name, self.device = folder, name, "cpu"
        self.precision: Precision = "fp32"
        self.windows_a_batch, self.embed_dim = ONNX_BATCH, self.header.embed_dim
        self._stored = stored_tensors(folder / WEIGHTS)
        odd = sorted(self._stored.keys() ^ set(self.header.weights))
        if odd:
            raise CheckpointError(f'{folder}: "{odd[0]}" is missing or unexpected; copy the whole folder again')

    @cached_property
    def _session(self) -> Any:
        weights = {name: self._stored[name] for name in self.header.weights}
        return open_session(self.folder / AUDIO, weights, environment_threads())

    def outputs(self, waves: FloatArray) -> TaggerOutput:
        return TaggerOutput(*self._session.run(None, {"wave": np.ascontiguousarray(waves, np.float32)}))
