"""Write a model as ONNX graphs with the names that optimum and transformers.js give the graphs of two-tower models.

optimum 2.3 has no exporter for CLAP; names, inputs and outputs are those that it gives CLIP's towers and that
transformers.js reads for CLAP (`ClapTextModelWithProjection`, `ClapAudioModelWithProjection`):

FOLDER/onnx/text_model.onnx       input_ids (B, L), attention_mask (B, L) int64 -> text_embeds (B, E)
FOLDER/onnx/audio_model.onnx      input_features (B, 1, N, F) log-mel           -> audio_embeds (B, E)
FOLDER/onnx/features.onnx         wave (B, T)                                   -> input_features (B, 1, N, F)
FOLDER/tokenizer.json, onnx.json, and for models that ClapModel can represent config.json, preprocessor_config.json

Graphs in 8 bits are named `*_model_quantized.onnx`. Embeddings are not normalized, as in transformers. `features.onnx`
is not part of optimum's layout: with it, onnxruntime alone computes vectors of sounds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aural.audio.mel import ProductLogMel
from aural.core.errors import ConfigError
from aural.core.files import atomic_write, make_folder, write_text
from aural.encoders.htsat import HtsatConfig
from aural.models.export import check_fits, clap_config, extractor_config
from aural.models.onnx_export import AudioGraph, TextGraph, in_8_bits, traced, write_header
from aural.models.onnx_model import AUDIO, FEATURES, TEXT, OnnxHeader, graph_file
from aural.models.pipeline import Model


class MelGraph(AudioGraph):
    """The audio graph without its front end. Of several pieces (B, K, N, F), the first is read."""

    def forward(self, input_features: Tensor) -> Tensor:
        return self.audio.embed_mel(input_features[:, 0])


class TokenGraph(TextGraph):
    """The text graph without normalization."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        embeds: Tensor = self.text(input_ids, attention_mask)
        return embeds


class FeatureGraph(nn.Module):
    """The front end: waveforms (B, T) to log-mels (B, 1, N, F)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.front_end = ProductLogMel(model.config.audio.mel)
        self.front_end.load_state_dict(model.audio_tower.front_end.state_dict())

    def forward(self, wave: Tensor) -> Tensor:
        return self.front_end(wave)[:, None]


def export_optimum(
    source: str | Path | Model,
    target: str | Path,
    *,
    int8: bool = False,
    tokenizer: str | Path | None = None,
    offline: bool = False,
) -> Path:
    """Write the folder and return it; `aural.load` opens it too.

    Raises ConfigError for a model with two front ends or a residual on the moment, which optimum's layout cannot
    express. The graph of a fused model is its path for clips that are not longer than the window; it also accepts the
    four pieces of transformers' feature extractor, of which it reads the first.
    """
    model = source
    if not isinstance(model, Model):
        model = Model.from_pretrained(model, device="cpu", tokenizer=tokenizer, offline=offline)
    if model.config.audio.branch is not None:
        raise ConfigError(f"{model.name}: has two front ends; write it with --layout aural")
    if model.config.audio.moment:
        raise ConfigError(f"{model.name}: reads the waveform for its moment; write it with --layout aural")
    folder = make_folder(target, ConfigError)
    make_folder(folder / "onnx", ConfigError)
    write_header(model, folder, "int8" if int8 else "fp32", layout="optimum")
    header = OnnxHeader.parse(json.loads((folder / "onnx.json").read_text(encoding="utf-8")), str(folder))
    for name, graph in _graphs(model).items():
        if int8 and name != FEATURES:
            graph = in_8_bits(graph, set(model.checkpoint.tensors))
        file = FEATURES if name == FEATURES else graph_file(header, name)
        with atomic_write(folder / file, ConfigError) as part:
            part.write_bytes(graph.SerializeToString())
    _write_transformers_files(model, folder)
    return folder


def _graphs(model: Model) -> dict[str, Any]:
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 0], [5, 6, 0, 0]])
    wave = torch.zeros(3, round(model.window_s * model.sample_rate_hz))
    features = FeatureGraph(model)
    with torch.no_grad():
        mel = features(wave)
    pieces = {0: batch}
    if model.config.audio.encoder_options.get("fusion"):
        mel, pieces = mel.expand(-1, 4, -1, -1).contiguous(), {0: batch, 1: torch.export.Dim("pieces")}
    sizes = {0: batch, 1: tokens}
    return {
        FEATURES: traced(features, {"wave": wave}, {"wave": {0: batch}}, "input_features"),
        AUDIO: traced(MelGraph(model, False), {"input_features": mel}, {"input_features": pieces}, "audio_embeds"),
        TEXT: traced(
            TokenGraph(model, False),
            {"input_ids": ids, "attention_mask": (ids > 0).long()},
            {"input_ids": sizes, "attention_mask": sizes},
            "text_embeds",
        ),
    }


def _write_transformers_files(model: Model, folder: Path) -> None:
    """Write config.json and preprocessor_config.json if ClapModel and ClapFeatureExtractor can represent the model."""
    config = model.config
    try:
        check_fits(config, dict(model.checkpoint.tensors), model.source)
    except ConfigError:
        return
    htsat = HtsatConfig.parse(config.audio.encoder_options, model.source)
    files = {"config.json": clap_config(config, htsat), "preprocessor_config.json": extractor_config(config, htsat)}
    for name, values in files.items():
        write_text(folder / name, json.dumps(values, indent=2) + "\n", ConfigError)
