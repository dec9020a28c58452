"""Compare a column with values: an array in memory, or a column of an Arrow table, which is compared without Python.

Both give the same mask (N,), which tests compare on random filters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_ARROW: Final = {
    "=": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
_ESCAPES = re.compile(r"(?:[^\\]|\\[\\%_])*")
"""Patterns whose escapes Arrow reads as `aural.search.like` does."""


def compared(column: Any, sign: str, value: float | str) -> Mask:
    """Return which values of a column are, for example, `<` a value."""
    if isinstance(column, np.ndarray):
        return np.asarray(COMPARE[sign](column, value), bool)
    return _called(_ARROW[sign], column, value)


def is_one_of(column: Any, values: Collection[Any]) -> Mask:
    """Return which values of a column are among these."""
    if isinstance(column, np.ndarray):
        return np.array([value in values for value in column], bool)
    import pyarrow as pa

    return _called("is_in", column, pa.array(list(values), column.type))


def is_like(column: Any, pattern: str, match: Callable[[str], bool], *, ignore_case: bool) -> Mask:
    """Return which texts of a column match a pattern. match: the pattern's matcher (`aural.search.like`)."""
    if isinstance(column, np.ndarray):
        return np.array([match(value) for value in column], bool)
    if not pattern.isascii() or not _ESCAPES.fullmatch(pattern):
        return np.array([match(value) for value in column.to_pylist()], bool)
    import pyarrow.compute as pc

    return _mask(pc.match_like(column, pattern, ignore_case=ignore_case))


def has(column: Any, value: str) -> Mask:
    """Return which lists of a column contain a value."""
    if isinstance(column, np.ndarray):
        return np.array([value in row for row in column], bool)
    import pyarrow.compute as pc

    mask = np.zeros(len(column), bool)
    joined = column.combine_chunks()
    mask[pc.list_parent_indices(joined).filter(pc.equal(pc.list_flatten(joined), value)).to_numpy()] = True
    return mask


def _called(function: str, column: Any, value: Any) -> Mask:
    import pyarrow.compute as pc

    return _mask(getattr(pc, function)(column, value))


def _mask(column: Any) -> Mask:
    mask: Mask = column.combine_chunks().to_numpy(zero_copy_only=False)
    return mask
