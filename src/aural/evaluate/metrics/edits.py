"""Edit distance of texts, and error rates of characters and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def edit_distance(true: Sequence[Any], written: Sequence[Any]) -> int:
    """Return the least number of insertions, deletions and substitutions between two sequences.

    Source: Levenshtein 1966; Wagner and Fischer 1974 (doi 10.1145/321796.321811).

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(written) + 1))
    for i, a in enumerate(true, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(written, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def error_rate(true: Sequence[Any], written: Sequence[Any]) -> float:
    """Return the edit distance divided by the length of the true sequence; of an empty one, by 1.

    Of strings it is the character error rate; of lists of words, the word error rate. It can exceed 1.

    >>> error_rate("kitten", "sitting")
    0.5
    """
    return edit_distance(true, written) / max(1, len(true))
