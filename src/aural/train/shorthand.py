"""The short forms of a recipe written out: `model`, `tasks`, `objective` and `distill`."""

from __future__ import annotations

import functools
from typing import Any

from aural.models.clap import ClapConfig
from aural.train.config import ModelConfig, ObjectiveConfig, Recipe, TeacherConfig


def system_values(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's `system`, or the one that `model` and `tasks` stand for."""
    if recipe.model is None:
        return recipe.system
    return heads_values(recipe.model, recipe) if recipe.tasks else pair_values(recipe.model)


def architecture(model: ModelConfig) -> ClapConfig:
    """Return the architecture of the model to start from, else the recipe's `model.clap`."""
    return architecture_of(model.init) if model.init else model.clap


@functools.lru_cache(maxsize=8)
def architecture_of(name: str) -> ClapConfig:
    """Return the architecture of a model by name, path or hub repository; AuralError if it cannot be opened."""
    from aural.models.open import open_checkpoint

    return open_checkpoint(name).config


def pair_values(model: ModelConfig) -> dict[str, Any]:
    """Return a sound tower and a text tower in one space as options of the system "pair"."""
    clap, locked = architecture(model), set(model.locked)
    audio = {"audio": clap.audio, "init": model.audio_init or "random", "locked": "audio" in locked}
    text = {
        "text": clap.text,
        "text_projection": clap.text_projection,
        "init": model.text_init,
        "locked": "text" in locked,
        "lora": model.text_lora,
    }
    return {
        "name": "pair",
        "embed_dim": clap.embed_dim,
        "towers": {"audio": audio, "text": text},
        "embeddings": {"audio_emb": {"tower": "audio"}, "text_emb": {"tower": "text"}},
        "logit_bias": clap.logit_bias,
        "init": model.init,
        "init_temperature": model.init_temperature,
        "batch_norm": model.batch_norm,
        "int8": model.int8,
    }


def heads_values(model: ModelConfig, recipe: Recipe) -> dict[str, Any]:
    """Return an audio encoder with a head per task as options of the system "heads"."""
    return {
        "name": "heads",
        "audio": architecture(model).audio,
        "init": model.audio_init,
        "batch_norm": model.batch_norm,
        "tasks": recipe.tasks,
    }


def objectives_of(recipe: Recipe) -> tuple[ObjectiveConfig, ...]:
    """Return the weighted list of objectives: `objectives`, else `objective`; then the one that `distill` adds."""
    if recipe.distill is None:
        return recipe.objectives or (recipe.objective,)
    imitate = ObjectiveConfig(name="regress", weight=recipe.distill.weight, label="distill")
    return (imitate,) if recipe.distill.only else (*(recipe.objectives or (recipe.objective,)), imitate)


def teachers_of(recipe: Recipe) -> tuple[TeacherConfig, ...]:
    """Return the recipe's teachers and the one that `distill` names."""
    if recipe.distill is None:
        return recipe.teachers
    return (*recipe.teachers, TeacherConfig(kind="frozen", model=recipe.distill.teacher))
