"""The fresh sounds by which models are chosen: the list names what it claims, and nothing of it is trained on."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from aural.data.libre.cards import SOURCES

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.syspath_prepend(str(TOOLS))
    return tomllib.loads((TOOLS / "fresh_sounds.toml").read_text(encoding="utf-8"))


def test_counts_are_those_of_the_documents(listed: dict) -> None:
    clips = listed["clips"]
    assert len(clips) == len({clip["path"] for clip in clips}) == 129
    assert len({clip["class"] for clip in clips}) == 53
    assert Counter(clip["license"] for clip in clips) == {
        "GPL-2.0-or-later": 62,
        "CC-BY-SA-3.0": 47,
        "GPL-2.0-only": 20,
    }
    assert {clip["path"].partition("/")[0] for clip in clips} == set(listed["packages"])


def test_no_package_is_a_source_that_is_trained_on(listed: dict) -> None:
    from make_libre_base import UNFAMILIAR

    trained = {name for card in SOURCES.values() if card.name not in UNFAMILIAR for name in card.packages}
    assert not trained & set(listed["packages"])


def test_a_sound_with_other_content_is_refused(tmp_path: Path, listed: dict) -> None:
    from aural.core.errors import DataError
    from fetch_fresh import fetched

    (tmp_path / "x").write_bytes(b"other")
    clip = {"path": "x", "class": "a bell", "license": "CC0-1.0", "sha256": "0" * 64}
    with pytest.raises(DataError, match="not the sound"):
        fetched(tmp_path, None, {}, [clip])
