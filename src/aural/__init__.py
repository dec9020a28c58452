"""aural: general-purpose audio representations learned from natural language.

>>> import aural
>>> model = aural.load("msclap-2023")                      # doctest: +SKIP
>>> model.classify("a.wav", ["a dog barking", "rain"])     # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = ["AuralError", "Clip", "Model", "__version__", "load", "read_audio"]

if TYPE_CHECKING:
    from aural.audio.io import read as read_audio
    from aural.core.errors import AuralError
    from aural.core.types import Clip
    from aural.models.load import load
    from aural.models.pipeline import Model

_LAZY = {
    "AuralError": ("aural.core.errors", "AuralError"),
    "Clip": ("aural.core.types", "Clip"),
    "Model": ("aural.models.pipeline", "Model"),
    "load": ("aural.models.load", "load"),
    "read_audio": ("aural.audio.io", "read"),
}


def __dir__() -> list[str]:
    """Return the public names, which are imported on first use."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import aural` does no work."""
    if name not in _LAZY:
        raise AttributeError(f"module 'aural' has no attribute {name!r}")
    import importlib

    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)
