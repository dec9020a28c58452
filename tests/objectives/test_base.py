"""The contract of objectives: needs, names, axes, configs, and the printed examples of their docstrings."""

from __future__ import annotations

import doctest
import importlib

import pytest
import torch

from aural.core.errors import ConfigError
from aural.objectives import OBJECTIVES, Objective, build_objective, check_needs

PAIRS = [
    "f_divergence",
    "hard_negatives",
    "importance_nce",
    "info_nce",
    "multi_positive",
    "sigmoid",
    "soft_targets",
    "temporal_focus",
]
FRAMES = ["frame_adjusted", "frame_binary", "frame_contrast"]
SEVERAL = ["modular_contrast", "segment_contrast", "sequence_contrast"]
OTHERS = [*FRAMES, *SEVERAL, "byol", "rank_n_contrast", "regress", "sup_con", "triplet_regression"]
TILED = ["tiled_info_nce", "tiled_sigmoid"]


def test_names_and_axes() -> None:
    assert list(OBJECTIVES) == sorted(PAIRS + OTHERS + TILED)
    assert OBJECTIVES.missing_axes() == {}
    with pytest.raises(ConfigError, match='unknown objective "infonce"; did you mean "info_nce"'):
        build_objective("infonce")


@pytest.mark.parametrize("name", PAIRS + OTHERS + TILED)
def test_a_missing_tensor_is_named_before_the_first_step(name: str) -> None:
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


@pytest.mark.parametrize("name", PAIRS + OTHERS + TILED)
def test_an_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f'objective "{name}": unknown key "temperatur"'):
        build_objective(name, {"temperatur": 1})


@pytest.mark.parametrize("name", PAIRS + OTHERS)
def test_half_precision_and_autocast_are_widened(name: str) -> None:
    """bf16 embeddings give the loss of the same numbers in float32, inside and outside autocast."""
    objective = build_objective(name)
    generator = torch.Generator().manual_seed(0)
    emb = [torch.nn.functional.normalize(torch.randn(4, 8, generator=generator), dim=1).bfloat16() for _ in range(2)]
    given = {"audio_emb": emb[0], "text_emb": emb[1], "hard_text_emb": emb[1][:, None].flip(0)}
    given |= {"logit_scale": torch.tensor(9.0), "logit_bias": torch.tensor(-1.0), "targets": torch.eye(4)}
    given |= {"audio_group": torch.tensor([0, 0, 1, 1]), "text_group": torch.arange(4), "teacher_audio_emb": emb[1]}
    given |= {"values": torch.tensor([[0.0], [1.0], [1.0], [3.0]])}
    given |= {"predicted_a": emb[0], "predicted_b": emb[1], "target_a": emb[0].flip(0), "target_b": emb[1].flip(0)}
    given |= {"frame_emb": emb[0][None], "class_emb": emb[1], "frame_labels": torch.eye(4)[None]}
    given |= {"frame_logits": emb[0][None, :, :4], "class_bias": torch.zeros(4), "hard_text_mask": torch.ones(4, 1)}
    given |= {"positive_text_emb": emb[1][:, None], "positive_text_mask": torch.ones(4, 1)}
    given |= {"segment_emb": emb[0][:, None], "sentence_emb": emb[1][:, None], "sentence_mask": torch.ones(4, 1)}
    given |= {"audio_seq": emb[0].view(4, 2, 4), "text_seq": emb[1].view(4, 2, 4)}
    given |= {"audio_length": torch.full((4,), 2), "text_length": torch.full((4,), 2)}
    wide = {key: value.float() if value.dtype == torch.bfloat16 else value for key, value in given.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(given)["loss"]
    assert loss.dtype == torch.float32
    assert torch.equal(loss, objective(wide)["loss"])


@pytest.mark.parametrize("name", [*PAIRS, *OTHERS, "tiled", "targets"])
def test_the_printed_example_runs(name: str) -> None:
    module = importlib.import_module(f"aural.objectives.{name}")
    failed, tried = doctest.testmod(module, extraglobs={"torch": torch})
    assert tried > 0
    assert failed == 0
