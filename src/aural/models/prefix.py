"""Select the tensors of one part of a model by the prefix of their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def strip_prefix(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the tensors whose names start with `prefix`, keyed by the rest of the name.

    >>> strip_prefix({"audio.weight": 1, "text.weight": 2}, "audio.")
    {'weight': 1}
    """
    return {name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)}
