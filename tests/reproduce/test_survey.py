"""Taxonomy tables: no entry lacks an axis, the page is current, contrastive recipes have all components."""

from __future__ import annotations

from pathlib import Path

import pytest

from aural.core.registry import Registry
from aural.reproduce import survey
from aural.reproduce.survey import TERMS, components, contrastive_recipes, gaps, missing_axes, page

PAGE = Path(__file__).parents[2] / "docs/reproduced/taxonomy.md"


def test_no_entry_lacks_an_axis() -> None:
    assert missing_axes() == {}


def test_an_entry_without_an_axis_is_listed_and_an_unused_value_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = Registry[int]("shape", {"sides": ("few", "many")})
    shapes.add("circle", 1)
    monkeypatch.setitem(survey.REGISTRIES, "Shapes", shapes)
    assert missing_axes() == {"Shapes": {"circle": ["sides"]}}
    assert gaps()["Shapes"] == ["sides: few", "sides: many"]


def test_the_page_is_current() -> None:
    """Fix: python -m aural.reproduce.survey docs/reproduced/taxonomy.md"""
    assert PAGE.read_text(encoding="utf-8") == page(contrastive_recipes())


def test_every_contrastive_recipe_has_all_components() -> None:
    recipes = contrastive_recipes()
    assert {"clap_2022", "clap_2023"} <= set(recipes)
    for name, recipe in recipes.items():
        parts = components(recipe)
        assert list(parts) == ["query and key", "similarity", "encoder", "head", "loss"]
        assert all(parts.values()), name


def test_terms_name_axes_that_exist() -> None:
    for term in TERMS:
        assert term.value in survey.REGISTRIES[term.registry].axes[term.axis]
    both = {term.term: term.entries for term in TERMS}
    assert "info_nce" in both["input-input contrast"]
    assert "multi_positive" in both["input-label contrast"]
