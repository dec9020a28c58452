"""The filter language: its meaning, and what it rejects. `test_lance.py` compares SQL and mask on random filters."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from aural.core.errors import ConfigError
from aural.search.filters import COLUMNS, INTEGER_BITS, parse_filter

ROWS: list[dict[str, Any]] = [
    {"path": "/s/ambience/rain.wav", "duration": 3.0, "silent": False, "tags": ["rain"], "channels": 2.0},
    {"path": "/s/dog's 100%.ogg", "duration": 12.5, "silent": True, "tags": [], "channels": 1.0},
    {"path": "/s/Ambience_2.flac", "duration": 5.0, "silent": False, "tags": ["wind", "rain"], "channels": 1.0},
]


def columns() -> dict[str, Any]:
    empty = {"number": 0.0, "text": "", "truth": False, "list": []}
    arrays = {}
    for name, kind in COLUMNS.items():
        values = np.empty(len(ROWS), object)
        values[:] = [row.get(name, empty[kind]) for row in ROWS]
        if kind == "number":
            values = values.astype(f"i{INTEGER_BITS[name] // 8}" if name in INTEGER_BITS else float)
        elif kind == "truth":
            values = values.astype(bool)
        arrays[name] = values
    return arrays


@pytest.mark.parametrize(
    ("source", "want"),
    [
        ("duration < 5 and path like '%ambience%'", [0]),
        ("duration <= 5 AND path ILIKE '%ambience%'", [0, 2]),
        ("path like '%dog''s%'", [1]),
        (r"path like '%100\%%'", [1]),
        ("path like '%Ambience_2.%'", [2]),
        ("not silent and (channels = 2 or tags has 'wind')", [0, 2]),
        ("silent = true or duration between 2 and 3", [0, 1]),
        ("silent = false", [0, 2]),
        ("channels not in (1, 3)", [0]),
        ("duration != 5", [0, 1]),
        ("duration <> 5 and duration >= 1.25e1", [1]),
        ("path not like '/s/%'", []),
        ("not not silent", [1]),
        ("channels = 1 and channels = 1 or silent and not silent", [1, 2]),
        ("modified < '2026'", [0, 1, 2]),
        ("duration > -1", [0, 1, 2]),
        ("channels = 1.5 or channels != 1.5 and channels < 1.5", [1, 2]),
        ("channels > 1.5", [0]),
        ("channels >= 1.5 and channels <= 2.5", [0]),
        ("channels = 2.0", [0]),
        ("channels in (1.5, 2e0, 5000000000)", [0]),
        ("channels in (1.5)", []),
        ("channels between 0.5 and 1.5", [1, 2]),
        ("sample_rate = 5000000000 or sample_rate > 5000000000", []),
        ("sample_rate < 5000000000 and sample_rate != 5e9", [0, 1, 2]),
        ("sample_rate >= -5000000000 and not sample_rate < -5000000000.5", [0, 1, 2]),
        ("size < 4611686018427387903", [0, 1, 2]),
    ],
)
def test_meaning(source: str, want: list[int]) -> None:
    assert np.flatnonzero(parse_filter(source).mask(columns())).tolist() == want


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "name of a column"),
        ("duraton < 5", 'did you mean "duration"'),
        ("duration < '5'", "is a number"),
        ("path = 5", "is a text"),
        ("duration like 'a'", "compares texts"),
        ("duration", "expected =, !=, <, <=, >, >=, like, in or between at character 9, not the end"),
        ("duration < 5 duration", "and, or, or the end"),
        ("(duration < 5", "closing parenthesis"),
        ('path = "a"', "single quotes"),
        ("tags = 'rain'", "has 'rain'"),
        ("path in ()", "a text between single quotes"),
        ("silent = 5", "true or false"),
        ("duration < 5; drop table sounds", "not understood"),
        ("path like 'a\\'", "ends in a backslash"),
        ("size < 1e300", "out of range"),
        ("not " * 40 + "silent", "nested more than"),
        ("(" * 40 + "silent" + ")" * 40, "nested more than"),
        (" or ".join(["silent"] * 200), "too expensive"),
        (f"path ilike '{'%a' * 300}%'", "too expensive"),
        ("x" * 3000, "at most"),
        ("path = 'a\0'", "NUL"),
    ],
)
def test_refusals_are_sentences(source: str, message: str) -> None:
    with pytest.raises(ConfigError, match="filter: ") as caught:
        parse_filter(source)
    assert message in str(caught.value)


def test_random_text_never_gives_another_error() -> None:
    draw = random.Random(5)
    words = [
        "duration",
        "path",
        "silent",
        "tags",
        "and",
        "or",
        "not",
        "in",
        "between",
        "like",
        "has",
        "(",
        ")",
        ",",
        "<",
    ]
    words += ["=", "'a%'", "5", "-1.5", "'", "true", "%", "`", "--", "é"]
    parsed = 0
    for _ in range(3000):
        source = " ".join(draw.choices(words, k=draw.randrange(1, 9)))
        try:
            parse_filter(source)
            parsed += 1
        except ConfigError:
            pass
    assert parsed > 5


def test_like_takes_no_longer_than_text_times_pattern() -> None:
    many = dict.fromkeys(COLUMNS, np.array(["a" * 3000], object))
    assert parse_filter(f"path like '{'%a' * 90}%'").mask(many).tolist() == [True]
    assert parse_filter(f"path like '{'%a' * 90}%b'").mask(many).tolist() == [False]
