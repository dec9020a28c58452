"""YAMNet, the AudioSet tagger of 521 classes: Google's lite-model_yamnet_classification_tflite_1, Apache-2.0.

The file is an integer network. Weights are int8 with one step per output channel (the class layer: one step in all);
biases are int32 whose step is the input's times the weight's; activations are int8 with a step and zero point per
tensor that calibration fixed, ReLU6's range 0 to 6 for nearly all layers. Frames, spectrum and log-mel are float32.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from aural.core.errors import CheckpointError, MissingDependencyError
from aural.core.hub import verify
from aural.core.types import FloatArray
from aural.encoders.mobilenet import BLOCKS

SHA256: Final = "10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de"
CLASSES: Final = 521
LABELS_FILE: Final = "yamnet_label_list.txt"
# Operators of the file in order; one convolution is CONV_2D, then 13 times DEPTHWISE_CONV_2D and CONV_2D.
FRONT: Final = (
    "STRIDED_SLICE", "RESHAPE", "GATHER", "RESHAPE", "MUL", "PAD", "RESHAPE", "RFFT2D", "RESHAPE", "COMPLEX_ABS",
    "FULLY_CONNECTED", "LOG", "RESHAPE", "QUANTIZE", "RESHAPE", "SPLIT",
)  # fmt: skip
BACK: Final = ("MEAN", "FULLY_CONNECTED", "LOGISTIC", "DEQUANTIZE")


@dataclass
class Quantized:
    """A tensor of the file: integers with steps along one axis, value = step * (integer - zero)."""

    integers: np.ndarray
    steps: FloatArray
    zeros: np.ndarray
    axis: int

    def values(self) -> FloatArray:
        """Return the real values in float32."""
        shape = [1] * self.integers.ndim
        if len(self.steps) > 1:
            shape[self.axis] = -1
        exact = (self.integers.astype(np.float64) - self.zeros.reshape(shape)) * self.steps.reshape(shape)
        return exact.astype(np.float32)


@dataclass
class YamnetFile:
    """The content of the file: `weights` and `biases` by layer, activation grids (step, zero), filters and classes."""

    weights: dict[str, Quantized] = field(default_factory=dict)
    biases: dict[str, Quantized] = field(default_factory=dict)
    grids: dict[str, tuple[float, int]] = field(default_factory=dict)
    window: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    filters: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    classes: list[str] = field(default_factory=list)


def layer_names() -> list[str]:
    """Return the names of the convolutions in the order of the file, as `Mobilenet` has them, then "classes"."""
    return ["stem", *(f"{kind}{i}" for i in range(len(BLOCKS)) for kind in ("depthwise", "pointwise")), "classes"]


def read_yamnet(path: str | Path) -> YamnetFile:
    """Read every tensor of yamnet.tflite.

    Raises CheckpointError when the file's checksum, operators, types or shapes differ, and MissingDependencyError when
    the package tflite, which holds the schema of such files, is not installed.
    """
    path = Path(path)
    verify(path, SHA256)
    try:
        import tflite
    except ImportError:
        raise MissingDependencyError("reading .tflite files needs the schema; pip install tflite") from None
    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    codes = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
    operators = [graph.Operators(i) for i in range(graph.OperatorsLength())]
    used = [model.OperatorCodes(operator.OpcodeIndex()) for operator in operators]
    kinds = [codes[max(code.DeprecatedBuiltinCode(), code.BuiltinCode())] for code in used]
    expected = [*FRONT, "CONV_2D", *(["DEPTHWISE_CONV_2D", "CONV_2D"] * len(BLOCKS)), *BACK]
    if kinds != expected:
        raise CheckpointError(f"{path}: its operators are not those of YAMNet")
    file = YamnetFile()
    first = len(FRONT)
    layers = [*operators[first : first + 2 * len(BLOCKS) + 1], operators[-3]]
    for name, operator in zip(layer_names(), layers, strict=True):
        _, weight, bias = operator.InputsAsNumpy()
        file.weights[name] = _tensor(model, graph, int(weight), np.int8, path)
        file.biases[name] = _tensor(model, graph, int(bias), np.int32, path)
        file.grids[name] = _grid(graph, int(operator.Outputs(0)))
    file.grids["input"] = _grid(graph, int(operators[13].Outputs(0)))
    file.grids["pooled"] = _grid(graph, int(operators[-4].Outputs(0)))
    file.grids["scores"] = _grid(graph, int(operators[-2].Outputs(0)))
    file.window = _plain(model, graph, int(operators[4].Inputs(1)), (400,), path)
    file.filters = _plain(model, graph, int(operators[10].Inputs(1)), (64, 257), path).T
    offset = _plain(model, graph, int(operators[10].Inputs(2)), (64,), path)
    if not np.array_equal(offset, np.full(64, 0.001, np.float32)):
        raise CheckpointError(f"{path}: the offset of its logarithm is not 0.001")
    with zipfile.ZipFile(path) as archive:
        file.classes = archive.read(LABELS_FILE).decode("utf-8").splitlines()
    if len(file.classes) != CLASSES or file.weights["classes"].integers.shape != (CLASSES, BLOCKS[-1][0]):
        raise CheckpointError(f"{path}: does not hold {CLASSES} classes")
    return file


def _buffer(model: Any, graph: Any, index: int, dtype: Any, path: Path) -> np.ndarray:
    tensor = graph.Tensors(index)
    data = model.Buffers(tensor.Buffer()).DataAsNumpy()
    values = np.frombuffer(data.tobytes(), dtype)
    shape = tuple(tensor.ShapeAsNumpy())
    if values.size != int(np.prod(shape)):
        raise CheckpointError(f"{path}: tensor {index} has {values.size} values for the shape {shape}")
    return values.reshape(shape)


def _tensor(model: Any, graph: Any, index: int, dtype: Any, path: Path) -> Quantized:
    integers = _buffer(model, graph, index, dtype, path)
    numbers = graph.Tensors(index).Quantization()
    steps, axis = numbers.ScaleAsNumpy(), int(numbers.QuantizedDimension())
    if len(steps) not in (1, integers.shape[axis]):
        raise CheckpointError(f"{path}: tensor {index} has {len(steps)} steps for the shape {integers.shape}")
    return Quantized(integers, steps, numbers.ZeroPointAsNumpy(), axis)


def _grid(graph: Any, index: int) -> tuple[float, int]:
    numbers = graph.Tensors(index).Quantization()
    return float(numbers.Scale(0)), int(numbers.ZeroPoint(0))


def _plain(model: Any, graph: Any, index: int, shape: tuple[int, ...], path: Path) -> FloatArray:
    values = _buffer(model, graph, index, np.float32, path)
    if values.shape != shape:
        raise CheckpointError(f"{path}: tensor {index} has the shape {values.shape}, expected {shape}")
    return values
