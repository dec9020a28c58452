"""The sentences that a captioner picks from when none are given, with their vectors for the bundled model.

`weights/libre-captions` holds captions of training clips of the free corpus and one sentence per class of the bundled
tagger, with their rows by libre-base in 8 bits. Other models pick from the classes only, whose rows they compute.

Legend: M sentences, E dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np

from aural.core.config import read_mapping
from aural.core.errors import CheckpointError
from aural.core.names import DEFAULT_MODEL, DEFAULT_TAGGER, DEFAULT_TEMPLATE
from aural.core.types import FloatArray
from aural.core.weights import weight_card

FOLDER: Final = "weights/libre-captions"
CLASS_MARGIN: Final = 0.03
"""How much nearer to a sound than every caption the name of a class must be: captions say more. Chosen on the clips of
the list `dev` of `tools/train_captioner.py` and on sounds from elsewhere (docs/models/captions.md)."""


def captions_folder() -> Path:
    """Return the folder of the bundled sentences."""
    return Path(str(resources.files("aural"))) / FOLDER


def class_sentences() -> list[str]:
    """Return one sentence per class of the bundled tagger."""
    classes = read_mapping(weight_card(DEFAULT_TAGGER).bundled() / "config.json")["options"]["classes"]
    return [DEFAULT_TEMPLATE.format(name.lower()) for name in classes]


def known_sentences(model_name: str, folder: Path | None = None) -> tuple[list[str], FloatArray | None]:
    """Return sentences and their unit rows (M, E) by a model, or None for a model whose rows are not stored.

    Raises:
        CheckpointError: the stored rows and sentences do not belong together.
    """
    folder = folder or captions_folder()
    if model_name != DEFAULT_MODEL:
        return class_sentences(), None
    from aural.models.weight_files import read_safetensors

    sentences = (folder / "sentences.txt").read_text(encoding="utf-8").splitlines()
    rows = read_safetensors(folder / "rows.safetensors")["rows"].float().numpy()
    if len(rows) != len(sentences):
        raise CheckpointError(f"{folder}: {len(sentences)} sentences and {len(rows)} rows; install aural again")
    return sentences, (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def class_penalties(sentences: Sequence[str]) -> FloatArray:
    """Return what is subtracted from the cosine of each sentence (M,): `CLASS_MARGIN` for names of classes, else 0.

    >>> class_penalties(["a dog barking", "the sound of animal"]).tolist()[0]
    0.0
    """
    classes = set(class_sentences())
    return np.array([CLASS_MARGIN if one in classes else 0.0 for one in sentences], np.float32)


def packed_rows(rows: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    """Return rows (M, E) in 8 bits, each scaled to its largest number.

    >>> packed_rows(np.array([[0.5, -1.0]], np.float32)).tolist()
    [[64, -127]]
    """
    return np.rint(127 * rows / np.abs(rows).max(axis=1, keepdims=True)).astype(np.int8)
