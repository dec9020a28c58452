"""What the tests share: one tiny model a session. `tests/tiny.py` and the goldens' modules can be imported anywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from aural.models.load import load
from aural.models.pipeline import Model
from tiny import save_tiny

sys.path.insert(0, str(Path(__file__).resolve().parent / "golden"))


@pytest.fixture
def tiny_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the recipes of tests/tiny_recipes known by name, here and in child processes."""
    monkeypatch.setenv("AURAL_PLUGINS", str(Path(__file__).resolve().parent / "tiny_recipes"))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in aural's own format: CNN9 of width 4 and a one-layer BERT."""
    return save_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Model:
    return load(tiny_folder, device="cpu")


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tiny models lose more than they gain by a second thread, most of all on a busy machine."""
    threads = torch.get_num_threads()
    if request.path.parent.name in ("audio", "nn", "encoders", "models", "cli"):
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
