"""Errors that a user can act on.

Every error that comes from input (a file, an argument, a config key, a checkpoint) is an `AuralError` whose message is
one clear sentence: it names the file or key at fault and says how to fix it. The command line prints that sentence and
exits with code 2. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AuralError(Exception):
    """Base class of all errors that a user can fix; `str(error)` is one sentence."""


class AudioError(AuralError):
    """A sound cannot be decoded or used: missing, corrupt, empty, NaN, or at an unsupported sample rate."""


class ConfigError(AuralError):
    """A config, recipe, card or argument has an unknown key or a value out of range."""


class CheckpointError(AuralError):
    """A weight file is invalid: missing, unexpected or misshaped tensors, a wrong checksum, or an unknown layout."""


class DataError(AuralError):
    """A manifest, shard or data set is missing, incomplete or contradicts its card."""


class WriteError(DataError):
    """The system refuses to write a file: no space, no permission, or a broken disk. Work that writes more stops."""


class MissingDependencyError(AuralError):
    """An optional package, tokenizer or text checkpoint is not on this machine."""


class PluginError(AuralError):
    """A plug-in cannot be imported, or registers a name that is taken."""


class DefectWarning(UserWarning):
    """A checkpoint has a defect: its card describes one, or its text vectors of different labels are nearly equal."""


def near_miss(name: str, names: Iterable[str]) -> str:
    """Return a clause that names the closest known name, or lists the known names.

    >>> near_miss("rian", ["rain", "wind"])
    'did you mean "rain"?'
    >>> near_miss("dog", ["rain", "wind"])
    'known: rain, wind'
    """
    options = sorted(names)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    shown = ", ".join(options[:12]) + (", ..." if len(options) > 12 else "")
    return f"known: {shown}" if options else "nothing is known here"


def one_line(error: BaseException, limit: int = 200) -> str:
    """Return the message of another library's exception on one line, cut after a word within `limit` characters.

    >>> one_line(ValueError("an invalid\\nvalue of the key"), 20)
    'an invalid value ...'
    """
    text = " ".join(str(error).split())
    if len(text) <= limit:
        return text
    return text[: limit - 3].rpartition(" ")[0][: limit - 4] + " ..."
