"""One folder of tones for all training tests, one thread, and recipes pointed at it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from sounds import MakeRecipe, make_sounds

from aural.train.config import Recipe
from aural.train.recipes import load_recipe


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sounds(tmp_path_factory.mktemp("tones"))


@pytest.fixture
def make_recipe(tones: Path) -> MakeRecipe:
    """Return a function that loads a tiny recipe, with changes, on the tones."""

    def make(name: str, *changes: str) -> Recipe:
        places = 5 if "stage1" in name else 1
        own = [f"data.sources.{i}.manifest={tones}" for i in range(places)]
        return load_recipe(name, [*own, "data.workers=0", *changes])

    return make


@pytest.fixture(autouse=True)
def one_thread(tiny_recipes: None) -> Iterator[None]:
    """Run each test on one thread, with the tiny recipes known by name."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
