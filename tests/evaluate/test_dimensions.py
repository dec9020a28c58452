"""Dimensions: every task card states what it measures, and the coverage report lists the gaps."""

from __future__ import annotations

import pytest

from aural.core.config import read_mapping
from aural.core.errors import ConfigError
from aural.evaluate import cards
from aural.evaluate.cards import TASKS, TaskCard
from aural.evaluate.dimensions import ASPECTS, coverage, coverage_report


@pytest.mark.parametrize("name", cards.names())
def test_every_card_states_its_dimension(name: str) -> None:
    values = read_mapping(TASKS.paths()[name])
    assert values["aspect"] in ASPECTS[values["dimension"]]


def test_a_card_without_a_dimension_is_refused() -> None:
    values = read_mapping(TASKS.paths()["esc50"])
    for key in ("dimension", "aspect"):
        with pytest.raises(ConfigError, match=f'key "{key}" is missing'):
            TaskCard.parse({k: v for k, v in values.items() if k != key}, "esc50")
    with pytest.raises(ConfigError, match='aspect "order" is none of dimension awareness'):
        TaskCard.parse(values | {"aspect": "order"}, "esc50")


def test_coverage_counts_every_task_once_and_lists_gaps() -> None:
    chosen = [cards.task(name) for name in ("scenes-order", "scenes-overlap", "scenes-absent")]
    cells = coverage(chosen)
    assert sum(len(cell.tasks) for cell in cells) == 3
    assert {(c.dimension, c.aspect): c.tasks for c in cells if c.tasks} == {
        ("reasoning", "order"): ("scenes-order", "scenes-overlap"),
        ("trust", "hallucination"): ("scenes-absent",),
    }
    lines = coverage_report(chosen).splitlines()
    assert len(lines) == 2 + len(cells) + 2
    assert lines[-1].startswith(f"2 of {len(cells)} aspects have a task. Gaps: awareness/sounds, ")
    assert "| knowledge and reasoning | order | which sound comes first, and which overlap | 2 |" in lines
