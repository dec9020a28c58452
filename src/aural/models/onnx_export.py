"""A model as two ONNX graphs: sounds to unit vectors, the log-mel inside, and token ids to unit vectors.

FOLDER/audio.onnx   wave (B, T) float32, mono at the model's rate and of the window's length -> vectors (B, E)
FOLDER/text.onnx    ids (B, L) int64, mask (B, L) int64 -> vectors (B, E)
FOLDER/onnx.json    what `onnx_model` needs beside: rates, windows, tokenizer, temperature

Either whole (weights inside, int8 on request), for any ONNX runtime; or as bare graphs, whose weights stay in the
model's own safetensors files and are handed over by name when the graph is opened, so that they exist once.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aural.audio.mel import ProductLogMel
from aural.core.errors import ConfigError, MissingDependencyError
from aural.core.types import AudioSource, FloatArray
from aural.models.clap import AudioTower, TextSide
from aural.models.format import make_folder
from aural.models.load import load
from aural.models.onnx_model import AUDIO, HEADER, TEXT, OnnxHeader
from aural.models.pipeline import Model

OPSET = 20
FOLDED = 4096  # constants of up to so many numbers are computed at export; larger ones when the graph is opened
CALIBRATION_WINDOWS = 256


class AudioGraph(nn.Module):
    """(B, T) to unit rows (B, E); its tensors have the names they have in a checkpoint."""

    def __init__(self, model: Model, bare: bool) -> None:
        super().__init__()
        self.audio = AudioTower(model.config.audio, model.embed_dim)
        self.audio.front_end = ProductLogMel(model.config.audio.mel)
        self.audio.load_state_dict(_part(model, "audio.", bare), strict=True)

    def forward(self, wave: Tensor) -> Tensor:
        return nn.functional.normalize(self.audio(wave), dim=-1)


class TextGraph(nn.Module):
    """ids and mask (B, L) to unit rows (B, E)."""

    def __init__(self, model: Model, bare: bool) -> None:
        super().__init__()
        self.text = TextSide(model.config.text, model.config.text_projection, model.embed_dim)
        self.text.load_state_dict(_part(model, "text.", bare), strict=True)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return nn.functional.normalize(self.text(ids, mask), dim=-1)


def export_onnx(
    source: str | Path | Model,
    target: str | Path,
    *,
    int8: bool = False,
    bare: bool = False,
    sounds: Sequence[AudioSource] = (),
    tokenizer: str | Path | None = None,
    offline: bool = False,
) -> Path:
    """Write both graphs of a model; `bare` leaves the weights in the model's own files, which must lie in `target`.

    int8: weights and the activations of convolutions in 8 bits, their ranges measured on `sounds`; the text tower's
    matrices in 8 bits. Raises ConfigError for fused models, whose input depends on the clip's length.
    """
    model = source if isinstance(source, Model) else load(source, device="cpu", tokenizer=tokenizer, offline=offline)
    if int8 and (bare or not sounds):
        raise ConfigError("int8 needs sounds that its ranges are measured on" if not bare else "int8 graphs are whole")
    if model.config.audio.encoder_options.get("fusion"):
        raise ConfigError(f"{model.source}: a fused model's input depends on the clip's length; it has no ONNX form")
    folder = make_folder(target)
    length = round(model.window_s * model.sample_rate_hz)
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 0], [5, 6, 0, 0]])
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    graphs = {
        AUDIO: _graph(AudioGraph(model, bare), {"wave": torch.zeros(3, length)}, {"wave": {0: batch}}),
        TEXT: _graph(
            TextGraph(model, bare),
            {"ids": ids, "mask": (ids > 0).long()},
            {"ids": {0: batch, 1: tokens}, "mask": {0: batch, 1: tokens}},
        ),
    }
    outside: list[str] = []
    for name, graph in graphs.items():
        if bare:
            outside += _strip(graph, set(model.checkpoint.tensors))
        elif int8:
            graph = _audio_int8(graph, model, sounds) if name == AUDIO else _text_int8(graph)
        part = folder / (name + ".part")
        part.write_bytes(graph.SerializeToString())
        part.replace(folder / name)
    text = model.config.text
    header = OnnxHeader(
        name=model.name,
        form="bare" if bare else "int8" if int8 else "fp32",
        embed_dim=model.embed_dim,
        sample_rate_hz=model.sample_rate_hz,
        window_s=model.window_s,
        shorter=model.shorter,
        logit_scale=None if bare else model.logit_scale,
        logit_bias=None if bare else model.logit_bias,
        tokenizer=text.tokenizer,
        special_tokens=text.special_tokens,
        suffix=text.suffix,
        pad_id=text.pad_id,
        max_tokens=text.max_tokens,
        weights=outside,
    )
    (folder / HEADER).write_text(json.dumps(header.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    if not bare:
        (folder / "tokenizer.json").write_text(model.tokenizer.backend.to_str(), encoding="utf-8")
    return folder


def _part(model: Model, prefix: str, bare: bool) -> dict[str, Tensor]:
    """A tower's tensors. For a bare graph noise in their place: no two are equal, so none are merged into one."""
    tensors = {name: t for name, t in model.checkpoint.tensors.items() if name.startswith(prefix)}
    noise = torch.Generator().manual_seed(0)
    return {
        name.removeprefix(prefix): torch.rand(t.shape, generator=noise) if bare and t.is_floating_point() else t.float()
        for name, t in tensors.items()
    }


def _graph(module: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, Any]) -> Any:
    """The traced graph with its small constants computed, as an onnx ModelProto."""
    try:
        import onnx_ir
        from onnxscript import optimizer
    except ImportError:
        raise MissingDependencyError('ONNX graphs are written by onnxscript; pip install "aural[onnx]"') from None
    own = set(module.state_dict())  # stay as they are: they may be handed over when the graph is opened
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                kwargs=inputs,
                dynamic_shapes=shapes,
                input_names=list(inputs),
                output_names=["vectors"],
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
            assert program is not None
            for _ in range(2):  # not the whole optimiser, which also folds BatchNorm into weights
                optimizer.fold_constants_ir(
                    program.model,
                    onnx_shape_inference=True,
                    input_size_limit=FOLDED,
                    output_size_limit=FOLDED,
                    should_fold=lambda node: None if own.isdisjoint(one.name for one in node.inputs if one) else False,
                )
                optimizer.remove_unused_nodes(program.model)
    finally:
        quiet.setLevel(level)
    for node in program.model.graph:  # where in the source a node comes from, longer than all the rest
        node.metadata_props.clear()
        node.doc_string = None
    return onnx_ir.serde.serialize_model(program.model)


def _strip(graph: Any, names: set[str]) -> list[str]:
    """Mark the tensors of a checkpoint as lying elsewhere; their names."""
    from onnx import TensorProto

    found = [tensor for tensor in graph.graph.initializer if tensor.name in names]
    for tensor in found:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights")
    return [tensor.name for tensor in found]


def _audio_int8(graph: Any, model: Model, sounds: Sequence[AudioSource]) -> Any:
    """Convolutions and pooling in 8 bits: weights by channel, activations by the range that they have on `sounds`."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    from aural.audio.length import windows

    rate, window_s = model.sample_rate_hz, model.window_s
    found = [w.samples for one in sounds for w in windows(one, rate, window_s, shorter=model.shorter)]
    step = max(1, len(found) // CALIBRATION_WINDOWS)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.windows = iter(found[::step])

        def get_next(self) -> dict[str, FloatArray] | None:
            one = next(self.windows, None)
            return None if one is None else {"wave": np.ascontiguousarray(one[None])}

    return _quantized(
        graph,
        lambda before, after: quantize_static(
            before,
            after,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MaxPool"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        ),
        left_out=["ConstantFolding"],  # the table of the Fourier transform stays a formula: 2 MB less
    )


def _text_int8(graph: Any) -> Any:
    """Matrices and the table of words in 8 bits, activations by the range that each batch has."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    return _quantized(
        graph,
        lambda before, after: quantize_dynamic(
            before,
            after,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        ),
    )


def _quantized(graph: Any, quantize: Any, left_out: Sequence[str] = ()) -> Any:
    """A graph prepared by onnxruntime (BatchNorm folded, constants computed) but for `left_out`, then quantised."""
    import tempfile

    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        given, plain, small = (str(Path(folder) / f"{name}.onnx") for name in ("given", "plain", "small"))
        Path(given).write_bytes(graph.SerializeToString())
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = plain
        options.log_severity_level = 3
        onnxruntime.InferenceSession(
            given, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(left_out)
        )
        quiet = logging.getLogger()
        level = quiet.level
        quiet.setLevel(logging.ERROR)  # onnxruntime advises the preparation that was just made
        try:
            quantize(plain, small)
        finally:
            quiet.setLevel(level)
        return onnx.load(small)
