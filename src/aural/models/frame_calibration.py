"""Turn the cosines of frames into probabilities that were calibrated on validation scenes.

Legend: W frames, L texts.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

import numpy as np

from aural.core.config import Config, read_mapping
from aural.core.errors import CheckpointError
from aural.core.files import write_text
from aural.core.types import FloatArray

FILE: Final = "frames.json"
WEIGHTS: Final = "model.safetensors"
FORMAT: Final = 1


class FrameCalibration(Config):
    """The content of frames.json, a file in a model's folder.

    The probability that a text describes a frame is `sigmoid(text * s c + neutral * s n + offset)` with the model's
    scale s and the frame's cosines c with the text's prompt and n with the neutral prompt: Platt scaling (1999) with
    the neutral prompt as a second input. It holds for texts of which about `prior` of all frames are true.
    """

    aural_frames: int = FORMAT
    weights_sha256: str
    """Of the weight file for which the numbers were fitted; they are not used with other weights."""
    text: float
    neutral: float
    offset: float
    threshold: float
    """The default threshold of `aural locate`: the best F1 score of spans on validation scenes."""
    prior: float
    """Share of true pairs of a frame and a text on the validation scenes."""
    ece_validation: float
    ece_test: float
    """Expected calibration error with 15 bins on scenes that were not used for the fit."""
    measured: str = ""
    """Scenes, texts and date of the fit."""

    def probabilities(self, cosines: FloatArray, neutral: FloatArray, scale: float) -> FloatArray:
        """Return probabilities (W, L) of cosines (W, L) and cosines (W,) with the neutral prompt.

        >>> one = FrameCalibration(
        ...     weights_sha256="", text=0.5, neutral=-0.25, offset=-1.0, threshold=0.3, prior=0.1, ece_validation=0.0,
        ...     ece_test=0.0)
        >>> cosines, neutral = np.array([[0.4, 0.2]], np.float32), np.array([0.2], np.float32)
        >>> one.probabilities(cosines, neutral, 20.0).round(3).tolist()  # sigmoid of 4 - 1 - 1, and of 2 - 1 - 1
        [[0.8809999823570251, 0.5]]
        """
        logits = scale * (self.text * np.asarray(cosines, np.float64) + self.neutral * neutral[:, None]) + self.offset
        return (0.5 * (1 + np.tanh(logits / 2))).astype(np.float32)


def weights_digest(folder: Path) -> str:
    """Return the sha256 of a model folder's weight file."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_calibration(folder: Path | None) -> FrameCalibration | None:
    """Return the calibration of a model's folder; None if it has none, or one of other weights.

    Raises CheckpointError if the file was written by a newer version.
    """
    if folder is None or not (folder / FILE).is_file() or not (folder / WEIGHTS).is_file():
        return None
    calibration = FrameCalibration.parse(read_mapping(folder / FILE), str(folder / FILE))
    if calibration.aural_frames != FORMAT:
        raise CheckpointError(
            f"{folder / FILE}: has format {calibration.aural_frames}, this version reads {FORMAT}; update aural"
        )
    return calibration if calibration.weights_sha256 == weights_digest(folder) else None


def write_calibration(folder: Path, calibration: FrameCalibration) -> None:
    """Write frames.json to a model's folder."""
    write_text(folder / FILE, json.dumps(calibration.model_dump(mode="json"), indent=2) + "\n", CheckpointError)
