"""The contract of objectives: needs, names, configs, doctests of the cards."""

from __future__ import annotations

import doctest
import importlib

import pytest
import torch

from aural.core.errors import ConfigError
from aural.objectives import OBJECTIVES, Objective, build_objective, check_needs

PLAIN = ["hard_negatives", "info_nce", "multi_positive", "sigmoid", "soft_targets"]
TILED = ["tiled_info_nce", "tiled_sigmoid"]


def test_names() -> None:
    assert list(OBJECTIVES) == sorted(PLAIN + TILED)
    assert OBJECTIVES.missing_axes() == {}
    with pytest.raises(ConfigError, match='unknown objective "infonce"; did you mean "info_nce"'):
        build_objective("infonce")


@pytest.mark.parametrize("name", PLAIN + TILED)
def test_what_is_missing_is_named_before_the_first_step(name: str) -> None:
    objective = build_objective(name)
    check_needs(objective, objective.needs)
    for needed in objective.needs:
        with pytest.raises(ConfigError, match=f"^{type(objective).__name__} needs {needed}, which Clap does not give$"):
            check_needs(objective, objective.needs - {needed}, "Clap")
        with pytest.raises(ConfigError, match=f"needs {needed}, which the mapping"):
            objective({other: torch.zeros(()) for other in objective.needs - {needed}})


def test_an_objective_without_audio_emb_runs() -> None:
    class Norm(Objective):
        needs = frozenset({"text_emb"})

        def compute(self, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": tensors["text_emb"].square().sum()}

    assert float(Norm()({"text_emb": torch.ones(2, 3)})["loss"]) == 6


def test_two_missing_names() -> None:
    with pytest.raises(ConfigError, match="Sigmoid needs logit_bias and logit_scale, which the model does not give"):
        check_needs(build_objective("sigmoid"), ["audio_emb", "text_emb", "targets"])


@pytest.mark.parametrize("name", PLAIN + TILED)
def test_an_unknown_knob_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f'objective "{name}": unknown key "temperatur"'):
        build_objective(name, {"temperatur": 1})


@pytest.mark.parametrize("name", PLAIN)
def test_half_precision_and_autocast_are_widened(name: str) -> None:
    """bf16 embeddings give the loss of the same numbers in float32, inside and outside autocast."""
    objective = build_objective(name)
    generator = torch.Generator().manual_seed(0)
    emb = [torch.nn.functional.normalize(torch.randn(4, 8, generator=generator), dim=1).bfloat16() for _ in range(2)]
    given = {"audio_emb": emb[0], "text_emb": emb[1], "hard_text_emb": emb[1][:, None].flip(0)}
    given |= {"logit_scale": torch.tensor(9.0), "logit_bias": torch.tensor(-1.0), "targets": torch.eye(4)}
    given |= {"audio_group": torch.arange(4), "text_group": torch.arange(4)}
    wide = {key: value.float() if value.dtype == torch.bfloat16 else value for key, value in given.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(given)["loss"]
    assert found.dtype == torch.float32
    assert torch.equal(found, objective(wide)["loss"])


@pytest.mark.parametrize("name", [*PLAIN, "tiled"])
def test_the_printed_example_runs(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"aural.objectives.{name}"))
    assert tried > 0
    assert failed == 0
