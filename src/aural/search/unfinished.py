"""The note of a repair that is not finished: the sounds that must be embedded again, so that a repeat embeds them.

It exists from before the damaged rows are replaced until the sounds are embedded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aural.core.files import write_text
from aural.search.folder import SAFETY

NOTE: Final = f"{SAFETY}/repair.json"


def unfinished_sounds(folder: Path) -> dict[str, str] | None:
    """Return path -> why its rows are lost, or None if no repair of the library is unfinished."""
    try:
        stored = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return {str(path): str(reason) for path, reason in stored.items()} if isinstance(stored, dict) else {}


def note_sounds(folder: Path, lost: Mapping[str, str]) -> None:
    """Record that the rows of these sounds are lost, with those of an earlier repair that did not finish."""
    write_text(folder / NOTE, json.dumps((unfinished_sounds(folder) or {}) | dict(lost)) + "\n", parents=True)


def clear_note(folder: Path) -> None:
    """Delete the note: every sound is embedded again."""
    (folder / NOTE).unlink(missing_ok=True)
