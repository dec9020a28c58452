"""Gradient caching gives the gradients of the whole batch, with dropout and with every kind of output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from sounds import MakeRecipe

from aural.objectives import build_objective
from aural.train.config import Recipe
from aural.train.loader import Batch, Batches
from aural.train.loop import Prepared, build, prepare, train
from aural.train.parallel import Place
from aural.train.step import Stepper, cut
from aural.train.system import System, calibrate

CPU = torch.device("cpu")


def gradients(recipe: Any, micro: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    recipe = recipe.model_copy(update={"loop": recipe.loop.model_copy(update={"micro_batch": micro})})
    run, model, batch = ready(recipe)
    stepper = Stepper(model, run.losses, recipe, plan=run.plan, device=CPU, teachers=run.teachers)
    scalars = stepper.gradients(batch, 0)
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, scalars


def ready(recipe: Recipe) -> tuple[Prepared, System, Batch]:
    """Return the checked recipe, its system in training mode and the first batch."""
    run = prepare(recipe, Place(0, 1, CPU))
    torch.manual_seed(3)
    model = build(recipe, run.batches)
    batch = run.batches[0]
    if torch.get_default_dtype() == torch.float64:
        model.double()
        batch = {
            k: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in batch.items()
        }
    if model.config.batch_norm == "calibrated":
        calibrate(model, [{k: v for k, v in batch.items() if isinstance(v, torch.Tensor)}])
    run.teachers.start(model, CPU)
    model.train()
    return run, model, batch


def assert_caching_equals_the_whole_batch(recipe: Recipe, micro: int, *, exact: bool = False) -> None:
    """Compare loss and gradients of a step in micro-batches with those of the step at once.

    In float32 they differ by the order of additions. The largest difference, 4e-6 of a tensor's norm, is that of biases
    whose gradient is a sum over all tokens of the batch with many cancellations. A gradient that is 0 in exact
    arithmetic (a bias of attention keys) is noise of 1e-11.

    exact: compare in float64 too, which shows that the algebra is exact.
    """
    _assert_close(no_dropout(recipe, 0), no_dropout(recipe, micro), of_norm=1e-5, noise=1e-9)
    if exact:
        with in_float64():
            _assert_close(no_dropout(recipe, 0), no_dropout(recipe, micro), of_norm=1e-10, noise=1e-15)


def _assert_close(at_once: Any, in_parts: Any, *, of_norm: float, noise: float) -> None:
    (grads, scalars), (others, other_scalars) = at_once, in_parts
    torch.testing.assert_close(other_scalars["loss"], scalars["loss"], rtol=of_norm, atol=0)
    assert grads.keys() == others.keys()
    for name, grad in grads.items():
        assert float((others[name] - grad).norm()) <= of_norm * float(grad.norm()) + noise, name


@contextmanager
def in_float64() -> Iterator[None]:
    """Compute in float64, also where the code asks for float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", ["tiny_clap_2023", "tiny_sigmoid", "tiny_laion_htsat_roberta"])
@pytest.mark.parametrize("micro", [1, 4])
def test_gradient_caching_equals_the_whole_batch(make_recipe: MakeRecipe, name: str, micro: int) -> None:
    assert_caching_equals_the_whole_batch(make_recipe(name, "loop.batch=8"), micro)


def test_gradient_caching_with_a_teacher(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    own = ["loop.batch=8", "loop.steps=1", "evaluators=[]"]
    teacher = train(make_recipe("tiny_clap_2023", *own, "seed=5"), tmp_path / "t", device="cpu")
    recipe = make_recipe("tiny_clap_2023", *own, f"distill.teacher={teacher}", "distill.weight=3")
    (_, loss), (_, plain) = no_dropout(recipe, 0), no_dropout(recipe.model_copy(update={"distill": None}), 0)
    assert float(loss["loss"]) == pytest.approx(float(plain["loss"] + 3 * loss["loss.distill"]), abs=1e-5)
    assert_caching_equals_the_whole_batch(recipe, 4)


def no_dropout(recipe: Any, micro: int) -> Any:
    with without_dropout():
        return gradients(recipe, micro)


@contextmanager
def without_dropout() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Dropout, "forward", lambda self, x: x)
        patch.setattr(
            torch.nn.functional,
            "scaled_dot_product_attention",
            _without_dropout(torch.nn.functional.scaled_dot_product_attention),
        )
        yield


def _without_dropout(attention: Any) -> Any:
    def plain(q: Any, k: Any, v: Any, attn_mask: Any = None, dropout_p: float = 0.0, *rest: Any, **options: Any) -> Any:
        return attention(q, k, v, attn_mask, 0.0, *rest, **options)

    return plain


def test_both_passes_of_gradient_caching_drop_the_same(make_recipe: MakeRecipe) -> None:
    """With dropout: equal to one graph over the micro-batches, each drawn under its own seed."""
    recipe = make_recipe("tiny_clap_2023", "loop.batch=8", "loop.micro_batch=4", "model.clap.audio.projection=residual")
    cached, _ = gradients(recipe, 4)
    run, model, batch = ready(recipe)
    assert run.losses is not None
    stepper = Stepper(model, run.losses, recipe, plan=run.plan, device=CPU)
    outs = [stepper._forward(part, 0, i) for i, part in enumerate(cut(batch, 4))]
    joined = {k: torch.cat([out[k] for out in outs]) if outs[0][k].ndim else outs[-1][k] for k in outs[0]}
    run.losses(joined)["loss"].backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(cached[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_several_captions_and_wrong_captions_are_cut_with_their_clips(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("tiny_clap_2023", "loop.batch=8", "data.captions_per_clip=2", "objective.name=multi_positive")
    batches = Batches(recipe)
    parts = cut(batches[0], 2)
    assert [len(part["ids"]) for part in parts] == [4] * 4
    assert [part["keys"] for part in parts] == [batches[0]["keys"][i : i + 2] for i in range(0, 8, 2)]
    assert_caching_equals_the_whole_batch(recipe, 2)


def test_accumulation_of_many_tasks_equals_the_whole_batch(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("tiny_clap_2023_stage1", "loop.batch=10")
    (_, loss), (_, summed) = no_dropout(recipe, 0), no_dropout(recipe, 5)
    assert float(loss["clips.names"]) == float(summed["clips.names"])
    assert_caching_equals_the_whole_batch(recipe, 5)


def test_needs_are_refused_before_step_0(make_recipe: MakeRecipe) -> None:
    from aural.core.errors import ConfigError

    recipe = make_recipe("tiny_clap_2023", "objective.name=sigmoid", "loop.batch=8")
    with pytest.raises(ConfigError, match="needs logit_bias, which this recipe does not give"):
        prepare(recipe, Place(0, 1, CPU))
    assert build_objective("info_nce")
