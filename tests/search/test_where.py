"""The filter language: what it means, what it refuses, and that SQL and mask are twins (on random filters)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from aural.core.errors import ConfigError
from aural.search.where import COLUMNS, parse

ROWS: list[dict[str, Any]] = [
    {"path": "/s/ambience/rain.wav", "duration": 3.0, "silent": False, "tags": ["rain"], "channels": 2.0},
    {"path": "/s/dog's 100%.ogg", "duration": 12.5, "silent": True, "tags": [], "channels": 1.0},
    {"path": "/s/Ambience_2.flac", "duration": 5.0, "silent": False, "tags": ["wind", "rain"], "channels": 1.0},
]


def columns() -> dict[str, Any]:
    empty = {"number": 0.0, "text": "", "truth": False, "list": []}
    found = {}
    for name, kind in COLUMNS.items():
        values = np.empty(len(ROWS), object)
        values[:] = [row.get(name, empty[kind]) for row in ROWS]
        found[name] = values.astype(float) if kind == "number" else values.astype(bool) if kind == "truth" else values
    return found


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
    ],
)
def test_meaning(source: str, want: list[int]) -> None:
    assert np.flatnonzero(parse(source).mask(columns())).tolist() == want


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", "name of a column"),
        ("duraton < 5", 'did you mean "duration"'),
        ("duration < '5'", "is a number"),
        ("path = 5", "is a text"),
        ("duration like 'a'", "compares texts"),
        ("duration", "is missing at character 9, where the end stands"),
        ("duration < 5 duration", "and, or, or the end"),
        ("(duration < 5", "closing bracket"),
        ('path = "a"', "single quotes"),
        ("tags = 'rain'", "has 'rain'"),
        ("path in ()", "a text between single quotes"),
        ("silent = 5", "true or false"),
        ("duration < 5; drop table sounds", "not understood"),
        ("path like 'a\\'", "ends in a backslash"),
        ("size < 1e300", "out of range"),
        ("not " * 40 + "silent", "nested more than"),
        ("(" * 40 + "silent" + ")" * 40, "nested more than"),
        (" or ".join(["silent"] * 200), "more than"),
        ("x" * 3000, "at most"),
        ("path = 'a\0'", "NUL"),
    ],
)
def test_refusals_are_sentences(source: str, told: str) -> None:
    with pytest.raises(ConfigError, match="filter: ") as caught:
        parse(source)
    assert told in str(caught.value)


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
    read = 0
    for _ in range(3000):
        source = " ".join(draw.choices(words, k=draw.randrange(1, 9)))
        try:
            parse(source)
            read += 1
        except ConfigError:
            pass
    assert read > 5


def test_like_takes_no_longer_than_text_times_pattern() -> None:
    many = dict.fromkeys(COLUMNS, np.array(["a" * 3000], object))
    assert parse(f"path like '{'%a' * 300}%'").mask(many).tolist() == [True]
    assert parse(f"path like '{'%a' * 300}%b'").mask(many).tolist() == [False]
