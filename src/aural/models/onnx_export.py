"""Write a model as two ONNX graphs: waveforms to unit vectors, including the log-mel, and token ids to unit vectors.

FOLDER/audio.onnx   wave (B, T) float32, mono at the model's rate and of the window's length -> vectors (B, E)
FOLDER/frames.onnx  wave (B, T) of any length -> vectors (B, W, E), one per frame; not for encoders of fixed windows
FOLDER/text.onnx    ids (B, L) int64, mask (B, L) int64 -> vectors (B, E)
FOLDER/onnx.json    rates, windows, tokenizer and scale, as `onnx_model` needs them

Graphs hold their weights (int8 on request) and run on any ONNX runtime. Bare graphs take the weights from the model's
safetensors files when they are opened, so that the weights are stored once.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from aural.audio.mel import ProductLogMel
from aural.core.errors import ConfigError, MissingDependencyError
from aural.core.files import atomic_write, check_folder, write_text
from aural.models.clap import AudioTower, TextTower
from aural.models.onnx_model import AUDIO, FRAMES, HEADER, TEXT, Form, OnnxHeader
from aural.models.onnx_tagger import TaggerHeader
from aural.models.pipeline import Model
from aural.models.prefix import strip_prefix
from aural.models.rounding import is_matrix, scale_of
from aural.models.tagger import Tagger
from aural.nn.functional import unit

OPSET = 20
FOLDED = 4096
"""Constants of up to this many numbers are computed at export; larger ones when the graph is opened."""


class AudioGraph(nn.Module):
    """The audio graph: waveforms (B, T) to unit rows (B, E). Tensors have the same names as in a checkpoint."""

    def __init__(self, model: Model, bare: bool) -> None:
        super().__init__()
        self.audio = AudioTower(model.config.audio, model.embed_dim)
        self.audio.front_end = ProductLogMel(model.config.audio.mel)
        if self.audio.branch is not None:
            self.audio.branch.front_end = ProductLogMel(self.audio.branch.front_end.config)
        self.audio.load_state_dict(_tower_tensors(model, "audio.", bare), strict=True)

    def forward(self, wave: Tensor) -> Tensor:
        return unit(self.audio(wave))


class FramesGraph(AudioGraph):
    """The graph of frames: waveforms (B, T) to unit rows (B, W, E)."""

    def forward(self, wave: Tensor) -> Tensor:
        return unit(self.audio.frames(wave))


class TextGraph(nn.Module):
    """The text graph: token ids and mask (B, L) to unit rows (B, E)."""

    def __init__(self, model: Model, bare: bool) -> None:
        super().__init__()
        self.text = TextTower(model.config.text, model.config.text_projection, model.embed_dim)
        self.text.load_state_dict(_tower_tensors(model, "text.", bare), strict=True)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return unit(self.text(ids, mask))


class TaggerGraph(nn.Module):
    """The graph of a tagger: waveforms (N, T) to features (N, D) and scores (N, K), with noise for weights."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        network = tagger.network
        self.front_end = ProductLogMel(network.network.front_end.config)
        self.encoder = copy.deepcopy(network.network.encoder)
        self.classes = copy.deepcopy(network.classes)
        noise = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.rand(parameter.shape, generator=noise)

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(self.front_end(wave)).pooled
        return features, self.classes(features).sigmoid()


def write_tagger_graph(tagger: Tagger, folder: Path) -> None:
    """Write the bare graph of a tagger into the folder of its weights."""
    graph = TaggerGraph(tagger)
    names = {name for name, _ in graph.named_parameters()}
    length = round(tagger.window_s * tagger.sample_rate_hz)
    shapes = {"wave": {0: torch.export.Dim("batch")}}
    model = traced(graph, {"wave": torch.zeros(3, length)}, shapes, "features", "scores")
    header = TaggerHeader(embed_dim=tagger.embed_dim, weights=_strip(model, names))
    with atomic_write(folder / AUDIO, ConfigError) as part:
        part.write_bytes(model.SerializeToString())
    write_text(folder / HEADER, json.dumps(header.model_dump(mode="json"), indent=2) + "\n", ConfigError)


def export_onnx(
    source: str | Path | Model,
    target: str | Path,
    *,
    int8: bool = False,
    bare: bool = False,
    tokenizer: str | Path | None = None,
    offline: bool = False,
) -> Path:
    """Write the audio graph and the text graph of a model and return the folder.

    int8: store matrices and convolutions in 8 bits. bare: leave the weights out of the graphs; `target` must then be
    the model's own folder, whose files provide them. The graph of a fused LAION model is its path for clips that
    are not longer than the window, which `embed_audio` uses for every window.
    """
    model = source
    if not isinstance(model, Model):
        model = Model.from_pretrained(model, device="cpu", tokenizer=tokenizer, offline=offline)
    if int8 and bare:
        raise ConfigError("int8 graphs hold their weights; give either int8 or bare")
    folder = check_folder(target, ConfigError)
    length = round(model.window_s * model.sample_rate_hz)
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 0], [5, 6, 0, 0]])
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    graphs = {
        AUDIO: traced(AudioGraph(model, bare), {"wave": torch.zeros(3, length)}, {"wave": {0: batch}}),
        TEXT: traced(
            TextGraph(model, bare),
            {"ids": ids, "mask": (ids > 0).long()},
            {"ids": {0: batch, 1: tokens}, "mask": {0: batch, 1: tokens}},
        ),
    }
    layout = model.frame_layout
    if layout is not None and layout.step is not None:
        size = 8 * layout.align
        samples = layout.align * torch.export.Dim("patches", min=2, max=4096)
        frames = FramesGraph(model, bare)
        graphs[FRAMES] = traced(frames, {"wave": torch.zeros(3, size)}, {"wave": {0: batch, 1: samples}})
    else:
        layout = None
    outside: list[str] = []
    for name, graph in graphs.items():
        if bare:
            outside += [key for key in _strip(graph, set(model.checkpoint.tensors)) if key not in outside]
        elif int8:
            graph = in_8_bits(graph, set(model.checkpoint.tensors))
        with atomic_write(folder / name, ConfigError, parents=True) as part:
            part.write_bytes(graph.SerializeToString())
    form: Form = "int8" if int8 else "fp32"
    if bare:
        form = "bare"
    write_header(model, folder, form, weights=outside, frames=layout)
    return folder


def write_header(model: Model, folder: Path, form: Form, **fields: Any) -> None:
    """Write onnx.json and, unless the graphs are bare, tokenizer.json. `fields` are others of `OnnxHeader`."""
    text, bare = model.config.text, form == "bare"
    header = OnnxHeader(
        name=model.name,
        form=form,
        embed_dim=model.embed_dim,
        sample_rate_hz=model.sample_rate_hz,
        window_s=model.window_s,
        shorter=model.config.audio.shorter,
        logit_scale=None if bare else model.logit_scale,
        logit_bias=None if bare else model.logit_bias,
        least_cosine=None if bare else model.least_cosine,
        tokenizer=text.tokenizer,
        special_tokens=text.special_tokens,
        suffix=text.suffix,
        pad_id=text.pad_id,
        max_tokens=text.max_tokens,
        **fields,
    )
    write_text(folder / HEADER, json.dumps(header.model_dump(mode="json"), indent=2) + "\n", ConfigError)
    if not bare:
        write_text(folder / "tokenizer.json", model.tokenizer.backend.to_str(), ConfigError)


def _tower_tensors(model: Model, prefix: str, bare: bool) -> dict[str, Tensor]:
    """Return the tensors of one tower; for a bare graph, noise, so that the exporter merges no equal tensors."""
    noise = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(t.shape, generator=noise) if bare and t.is_floating_point() else t.float()
        for name, t in strip_prefix(model.checkpoint.tensors, prefix).items()
    }


def traced(module: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, Any], *outputs: str) -> Any:
    """Trace a module and return an onnx ModelProto with its small constants computed; `outputs` names its outputs."""
    try:
        import onnx_ir
        from onnxscript import optimizer
    except ImportError:
        raise MissingDependencyError('writing ONNX graphs needs onnxscript; pip install "aural[onnx]"') from None
    kept = set(module.state_dict())  # not folded: bare graphs take these tensors when they are opened
    with torch.inference_mode():
        module.eval()(
            **inputs
        )  # fills caches of constants (nn/window.py), which would else keep tracing's fake tensors
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        # The plain formula of attention: other kernels give strides that the exporter's decomposition does not keep.
        plain = sdpa_kernel(SDPBackend.MATH)
        with plain, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                kwargs=inputs,
                dynamic_shapes=shapes,
                input_names=list(inputs),
                output_names=list(outputs) or ["vectors"],
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
            assert program is not None
            for _ in range(2):  # the full optimizer would also fold BatchNorm into weights
                optimizer.fold_constants_ir(
                    program.model,
                    onnx_shape_inference=True,
                    input_size_limit=FOLDED,
                    output_size_limit=FOLDED,
                    should_fold=lambda node: None if kept.isdisjoint(one.name for one in node.inputs if one) else False,
                )
                optimizer.remove_unused_nodes(program.model)
    finally:
        quiet.setLevel(level)
    for node in program.model.graph:  # source locations, which take more space than the graph
        node.metadata_props.clear()
        node.doc_string = None
    return onnx_ir.serde.serialize_model(program.model)


def _strip(graph: Any, names: set[str]) -> list[str]:
    """Mark the tensors of a checkpoint as external data and return their names."""
    from onnx import TensorProto

    external = [tensor for tensor in graph.graph.initializer if tensor.name in names]
    for tensor in external:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights")
    return [tensor.name for tensor in external]


def in_8_bits(graph: Any, names: set[str]) -> Any:
    """Store the matrices of a checkpoint as int8 with one scale per row (for a convolution: per output channel).

    They are converted to float32 before use and all arithmetic stays float32, so only the rounding changes results.
    """
    import onnx
    from onnx import helper, numpy_helper

    transposed = {node.input[1] for node in graph.graph.node if node.op_type == "MatMul"}  # (in, out), not (out, in)
    kept, nodes = [], []
    for tensor in graph.graph.initializer:
        if tensor.name not in names or not is_matrix(tensor.name, tensor.dims):
            kept.append(tensor)
            continue
        axis = 1 if tensor.name in transposed else 0
        values = numpy_helper.to_array(tensor)
        scale = scale_of(values, axis)
        steps = np.rint(values / scale).astype(np.int8)
        inputs = [f"{tensor.name}.{part}" for part in ("steps", "scale")]
        kept += [numpy_helper.from_array(steps, inputs[0]), numpy_helper.from_array(scale.ravel(), inputs[1])]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [tensor.name], axis=axis))
    nodes += graph.graph.node
    for field, values in (("initializer", kept), ("node", nodes)):
        graph.graph.ClearField(field)
        getattr(graph.graph, field).extend(values)
    onnx.checker.check_model(graph)
    return graph
