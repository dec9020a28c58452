"""What users hand to a model, brought into one form or refused in a sentence: sounds, texts, labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

import numpy as np

from aural.audio.io import is_tensor
from aural.core.errors import ConfigError, DataError
from aural.core.types import AudioSource, Clip, Source


def as_sources(clips: Any) -> Iterable[AudioSource]:
    """What was given as sounds, as an iterable of sources: one source alone is a list of one."""
    pair = isinstance(clips, tuple) and len(clips) == 2 and isinstance(clips[1], int | float | np.number)
    alone = (str, PathLike, bytes, bytearray, memoryview, Clip, Source, np.ndarray)
    if pair or isinstance(clips, alone) or is_tensor(clips) or hasattr(clips, "read"):
        return [clips]
    if not isinstance(clips, Iterable):
        raise DataError(f"{type(clips).__name__} is not a list of sounds; give paths, clips or (samples, rate in Hz)")
    return clips


def check_texts(texts: Any) -> list[str]:
    """What was given as texts, as a list of strings that can be written as UTF-8."""
    if not isinstance(texts, Iterable):
        raise DataError(f"{type(texts).__name__} is not a list of texts")
    found = [texts] if isinstance(texts, str) else list(texts)
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise DataError(f"text {i} is {type(text).__name__}, not a string")
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise DataError(f"text {i} holds half a character (a lone surrogate), so it is not Unicode; decode it anew")
    return found


def check_labels(labels: Sequence[str]) -> list[str]:
    """The labels as a list: at least one, none empty, none twice."""
    if isinstance(labels, str):
        raise ConfigError(f'labels is one string ("{labels[:40]}"); give a list of labels')
    if not isinstance(labels, Iterable):
        raise ConfigError(f"labels is {type(labels).__name__}; give a list of strings")
    labels = list(labels)
    wrong = next((i for i, label in enumerate(labels) if not isinstance(label, str)), None)
    if wrong is not None:
        raise ConfigError(f"label {wrong + 1} is {type(labels[wrong]).__name__}, not a string")
    found = [label.strip() for label in labels]
    if not found:
        raise ConfigError("no labels were given; name at least one")
    if "" in found:
        raise ConfigError(f"label {found.index('') + 1} is empty")
    twice = next((label for i, label in enumerate(found) if label in found[:i]), None)
    if twice is not None:
        raise ConfigError(f'label "{twice}" is given twice')
    return found
