"""Every claim card: it parses, every arm takes two steps on synthetic sounds, and the effect computes on two seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from aural.reproduce.card import claim, claim_names
from aural.reproduce.run import Options, reproduce


@pytest.mark.parametrize("name", claim_names())
def test_a_card_runs(name: str, runs: Path) -> None:
    card = claim(name)
    lines: list[str] = []
    effects = reproduce([card], Options(runs, Path("toys"), device="cpu", smoke=True), lines.append)
    assert name in effects, "\n".join(lines)
    effect = effects[name]
    assert effect["card_hash"] == card.hash
    assert len(effect["seeds"]) == min(2, len(card.seeds))
    assert {check["verdict"] for check in effect["checks"]} <= {"shown", "not shown", "reversed"}
    assert len(effect["checks"]) == len(card.check)
    assert card.limits.synthetic or card.limits.differs, "say what is synthetic or differs from the paper"
    assert card.cost.gpu_min or card.cost.cpu_min
