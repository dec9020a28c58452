"""Check the sounds, texts and labels that users pass to a model, and convert them to one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from aural.audio.io import SOUND_KEYS, is_decoder, is_tensor
from aural.core.errors import ConfigError, DataError
from aural.core.types import AudioSource, Clip, Source


def as_sources(clips: Any) -> Iterable[AudioSource]:
    """Return an iterable of sources; a single source becomes a list of one."""
    is_pair = isinstance(clips, tuple) and len(clips) == 2 and isinstance(clips[1], int | float | np.number)
    single = (str, PathLike, bytes, bytearray, memoryview, Clip, Source, np.ndarray)
    is_row = isinstance(clips, Mapping) and not SOUND_KEYS.isdisjoint(clips)
    if is_pair or is_row or isinstance(clips, single) or is_tensor(clips) or hasattr(clips, "read"):
        return [clips]
    if is_decoder(clips):
        return [clips]
    if not isinstance(clips, Iterable):
        raise DataError(f"{type(clips).__name__} is not a list of sounds; give paths, clips or (samples, rate in Hz)")
    return clips


def check_count(name: str, count: Any) -> None:
    """Raise ConfigError if an argument is not a whole number from 1 to 1,000,000."""
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or not 1 <= count <= 1_000_000:
        raise ConfigError(f"{name} is {count!r}; it must be a whole number from 1 to 1,000,000")


def check_texts(texts: Any) -> list[str]:
    """Return a list of strings that can be written as UTF-8; a single string becomes a list of one."""
    if not isinstance(texts, Iterable):
        raise DataError(f"{type(texts).__name__} is not a list of texts")
    strings = [texts] if isinstance(texts, str) else list(texts)
    for i, text in enumerate(strings):
        if not isinstance(text, str):
            raise DataError(f"text {i} is {type(text).__name__}, not a string")
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise DataError(
                f"text {i} holds half a character (a lone surrogate), so it is not valid Unicode; decode it again"
            )
    return strings


def check_words(texts: Any) -> list[str]:
    """Return texts to compare sounds with: `check_texts`, and none of them blank."""
    strings = check_texts(texts)
    if not strings:
        raise ConfigError("no texts were given; give at least one")
    blank = next((i for i, text in enumerate(strings) if not text.strip()), None)
    if blank is not None:
        raise ConfigError(f"text {blank + 1} is blank; write what to listen for")
    return strings


def check_labels(labels: Sequence[str]) -> list[str]:
    """Return the labels as a list of stripped strings: at least one, none empty, none repeated."""
    if isinstance(labels, str):
        raise ConfigError(f'labels is one string ("{labels[:40]}"); give a list of labels')
    if not isinstance(labels, Iterable):
        raise ConfigError(f"labels is {type(labels).__name__}; give a list of strings")
    labels = list(labels)
    wrong = next((i for i, label in enumerate(labels) if not isinstance(label, str)), None)
    if wrong is not None:
        raise ConfigError(f"label {wrong + 1} is {type(labels[wrong]).__name__}, not a string")
    stripped = [label.strip() for label in labels]
    if not stripped:
        raise ConfigError("no labels were given; give at least one")
    if "" in stripped:
        raise ConfigError(f"label {stripped.index('') + 1} is empty")
    twice = next((label for i, label in enumerate(stripped) if label in stripped[:i]), None)
    if twice is not None:
        raise ConfigError(f'label "{twice}" is given twice')
    return stripped
