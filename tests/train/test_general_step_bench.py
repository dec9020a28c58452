"""bench/general_step.py: every way to do a step gives the gradients of the whole batch."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from aural.train.parallel import Place
from aural.train.system import SYSTEMS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))  # processes of mp.spawn import it by name, too
    return importlib.import_module("general_step")


def test_it_measures_every_system(bench: ModuleType) -> None:
    assert set(bench.SYSTEMS) == set(SYSTEMS) - {"sentences", "self-supervised"}  # these compute their own loss


@pytest.mark.parametrize("system", ["pair", "heads", "frames"])
def test_gradient_caching_and_a_traced_encoder_give_the_same_gradients(bench: ModuleType, system: str) -> None:
    place = Place(0, 1, CPU)
    first = bench.measure(system, bench.TINY, bench.Way(), place)
    ways = [bench.Way(micro=2)] + ([bench.Way(compile=True)] if system == "frames" else [])
    for way in ways:
        row = bench.measure(system, bench.TINY, way, place)
        assert row["loss"] == pytest.approx(first["loss"], rel=1e-6)
        assert bench._difference(row["gradients"], first["gradients"]) < 1e-4
        row["gradient"] = 0.0
        assert way.name in bench.table([row])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_all_ways_on_the_cpu(bench: ModuleType) -> None:
    """FSDP on one and two processes, compiled and cached."""
    measured = bench.run(CPU, tiny=True)
    assert {row["system"] for row in measured} == set(bench.SYSTEMS)
    assert any("FSDP on 2" in row["way"] for row in measured)
    assert max(row["gradient"] for row in measured) < 1e-4
