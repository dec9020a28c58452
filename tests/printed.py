"""Compare printed output with stored output: words must be equal, numbers nearly so."""

from __future__ import annotations

import re

import pytest

NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*\w)")


def assert_same_output(printed: str, stored: str, *, absolute: float = 0.06, relative: float = 0.06) -> None:
    """Raise AssertionError unless the words are equal in order and each number is within a tolerance.

    Percentages differ by at most 100 * absolute.
    """
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (printed, stored)]
    assert words[0] == words[1]
    for got, expected in zip(NUMBER.findall(printed), NUMBER.findall(stored), strict=True):
        scale = absolute * 100 if "." not in expected else absolute
        assert float(got) == pytest.approx(float(expected), abs=scale, rel=relative), (got, expected)
