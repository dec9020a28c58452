"""Count the files of a library per value of a column: tags, format, and the facts of `aural.search.facts`.

Numbers are counted in ranges, written `low..high`: at least `low` and less than `high`, each of which may be missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.search.filters import FACT_COLUMNS, FIRST_WINDOWS, Filter
from aural.search.library import Library

COLUMNS: Final = ("tags", "format", "channels", "duration")
"""Columns of the table whose values are counted."""
FACTS: Final = (
    *("category", "subcategory", "loop", "bpm", "key", "lufs", "brightness_hz"),
    *("creator", "artist", "genre"),
)
"""Columns of the facts whose values are counted."""
EDGES: Final[dict[str, tuple[float, ...]]] = {
    "duration": (1, 5, 10, 30, 60),
    "bpm": (80, 100, 120, 140, 160),
    "lufs": (-50, -40, -30, -20, -10),
    "brightness_hz": (500, 1000, 2000, 4000, 8000),
}
"""Where ranges begin, in the unit of the column."""
MOST_VALUES: Final = 200


def facets(library: Library, where: Filter | None = None) -> dict[str, dict[str, int]]:
    """Return the number of files with a window that meets `where`, per value of each column that is counted.

    The most frequent values come first, and ranges in their order. Unknown and empty values are left out.
    """
    table = library.store.rows(["file", "hash", *COLUMNS], where or FIRST_WINDOWS)
    files = table["file"].to_numpy(zero_copy_only=False)
    table = table.take(np.unique(files, return_index=True)[1])
    counts = {name: _counts(name, table[name].to_pylist()) for name in COLUMNS}
    facts = library.facts.columns()
    row_of = {content: row for row, content in enumerate(facts["hash"])}
    rows = [row_of[content] for content in table["hash"].to_pylist() if content in row_of]
    return counts | {name: _counts(name, _values(name, facts[name][rows])) for name in FACTS}


def _values(name: str, column: NDArray[Any]) -> Iterable[Any]:
    return [str(value).lower() for value in column] if FACT_COLUMNS[name] == "truth" else column


def _counts(name: str, values: Iterable[Any]) -> dict[str, int]:
    if name in EDGES:
        return _ranges(EDGES[name], np.asarray(values, np.float64))
    flat = (one for value in values for one in (value if isinstance(value, list) else [value]))
    return dict(Counter(str(one) for one in flat if one != "").most_common(MOST_VALUES))


def _ranges(edges: tuple[float, ...], values: NDArray[np.float64]) -> dict[str, int]:
    texts = ["", *(f"{edge:g}" for edge in edges), ""]
    counts = np.bincount(np.searchsorted(edges, values[np.isfinite(values)], side="right"), minlength=len(edges) + 1)
    return {f"{texts[i]}..{texts[i + 1]}": int(count) for i, count in enumerate(counts) if count}
