"""The registry of readers, by exact name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aural.core.registry import Registry

if TYPE_CHECKING:
    from aural.data.readers.base import Reader

READERS: Registry[type[Reader]] = Registry("reader")
