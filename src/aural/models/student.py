"""Write a model that has the text tower of another one and another tower of sound in its space: a student."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from aural.core.config import read_mapping
from aural.models.clap import AudioConfig
from aural.models.format import Header, LazyTensors, is_own, save_own
from aural.models.packaged import PackagedText
from aural.models.pipeline import Model
from aural.models.publish import tokenizer_of


def write_student(
    folder: Path, teacher: Model, audio: AudioConfig, tower: Mapping[str, Tensor], *, source: str, card: str
) -> Path:
    """Write a folder that `aural.load` opens; its text vectors are exactly those of the teacher.

    tower: the tensors of the tower of sound, without prefix. A text tower whose weights are part of an installed
    package is not copied. The least cosine of a match is left out, because the student was not measured.
    """
    text, text_from, int8 = stored_text(teacher)
    tensors = text | {f"audio.{name}": tensor for name, tensor in tower.items()}
    for name in ("logit_scale", "logit_bias"):
        if name in teacher.checkpoint.tensors:
            tensors[name] = teacher.checkpoint.tensors[name]
    return save_own(
        folder,
        teacher.config.model_copy(update={"audio": audio}),
        tensors,
        source=source,
        card=card,
        tokenizer_json=tokenizer_of(teacher),
        text_from=text_from,
        int8=int8,
    )


def stored_text(teacher: Model) -> tuple[dict[str, Tensor], PackagedText | None, bool]:
    """Return a text tower's tensors as stored, the package that holds the rest, and whether matrices are rounded."""
    tensors, folder = teacher.checkpoint.tensors, teacher.checkpoint.folder
    if folder is not None and is_own(folder) and isinstance(tensors, LazyTensors):
        header = Header.parse(read_mapping(folder / "config.json"), str(folder / "config.json"))
        stored: Mapping[str, Tensor] = tensors.stored if header.text_from is not None else tensors
        return _text(stored), header.text_from, header.int8
    return _text(tensors), None, False


def _text(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensors[name] for name in tensors if name.startswith("text.")}
