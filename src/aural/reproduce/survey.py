"""Taxonomy tables generated from the axes of registry entries and from recipes, for the survey papers.

    python -m aural.reproduce.survey docs/reproduced/taxonomy.md

Four surveys are covered: contrastive pretraining in language processing (input-input and input-label contrast), the
framework of contrastive representation learning (query and key, similarity, encoder, head, loss), audio-language models
(architectures and objectives), and the evaluation of large audio-language models (four dimensions of tasks). An entry
without a value on an axis fails a test; a value without an entry is listed as a gap.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aural.core.files import write_text
from aural.core.registry import Registry
from aural.encoders.base import AUDIO_ENCODERS
from aural.encoders.text import TEXT_TOWERS
from aural.evaluate.cards import names, task
from aural.evaluate.dimensions import coverage_report
from aural.models.clap import AudioTower  # noqa: F401 - imports the modules that register audio encoders
from aural.objectives import OBJECTIVES, TARGETS
from aural.train.config import Recipe
from aural.train.recipes import load_recipe, recipe_names
from aural.train.shorthand import objectives_of
from aural.train.system import SYSTEMS
from aural.train.systems import pair  # noqa: F401 - imports the modules that register systems

REGISTRIES: Final[dict[str, Registry[Any]]] = {
    "Objectives": OBJECTIVES,
    "Target producers": TARGETS,
    "Audio encoders": AUDIO_ENCODERS,
    "Text encoders": TEXT_TOWERS,
    "Systems": SYSTEMS,
}


@dataclass(frozen=True)
class Term:
    """A term of a survey and the registry entries that implement it."""

    survey: str
    term: str
    registry: str
    axis: str
    value: str

    @property
    def entries(self) -> list[str]:
        """Names of the entries with that value."""
        registry = REGISTRIES[self.registry]
        return [name for name in registry if registry.axes_of(name).get(self.axis) == self.value]


PRIMER: Final = "Contrastive pretraining in language processing"
FRAMEWORK: Final = "Contrastive representation learning"
AUDIO_LANGUAGE: Final = "Audio-language models"
TERMS: Final = (
    Term(PRIMER, "input-input contrast", "Objectives", "contrast", "input-input"),
    Term(PRIMER, "input-label contrast", "Objectives", "contrast", "input-label"),
    Term(PRIMER, "no contrast", "Objectives", "contrast", "none"),
    Term(PRIMER, "self-supervised", "Objectives", "signal", "self"),
    Term(PRIMER, "supervised", "Objectives", "signal", "label"),
    Term(FRAMEWORK, "query and key from pairs of modalities", "Objectives", "signal", "pair"),
    Term(FRAMEWORK, "query and key from a graded similarity", "Objectives", "signal", "similarity"),
    Term(FRAMEWORK, "probabilistic loss over a batch", "Objectives", "loss", "contrastive"),
    Term(FRAMEWORK, "pairwise energy or logistic loss", "Objectives", "loss", "binary"),
    Term(FRAMEWORK, "bound on mutual information", "Objectives", "loss", "divergence"),
    Term(FRAMEWORK, "no negatives", "Objectives", "negatives", "none"),
    Term(AUDIO_LANGUAGE, "two towers", "Systems", "architecture", "two towers"),
    Term(AUDIO_LANGUAGE, "one encoder with heads", "Systems", "architecture", "encoder and heads"),
    Term(AUDIO_LANGUAGE, "audio encoder and language model", "Systems", "architecture", "encoder and language model"),
    Term(AUDIO_LANGUAGE, "cooperating models", "Systems", "architecture", "cooperating models"),
    Term(AUDIO_LANGUAGE, "contrastive pretraining", "Systems", "training", "contrastive"),
    Term(AUDIO_LANGUAGE, "discriminative pretraining", "Systems", "training", "discriminative"),
    Term(AUDIO_LANGUAGE, "generative pretraining", "Systems", "training", "generative"),
    Term(AUDIO_LANGUAGE, "convolutional audio encoder", "Audio encoders", "architecture", "convolution"),
    Term(AUDIO_LANGUAGE, "transformer audio encoder", "Audio encoders", "architecture", "transformer"),
    Term(AUDIO_LANGUAGE, "hierarchical audio encoder", "Audio encoders", "architecture", "windowed transformer"),
    Term(AUDIO_LANGUAGE, "waveform audio encoder", "Audio encoders", "input", "waveform"),
    Term(AUDIO_LANGUAGE, "bidirectional text encoder", "Text encoders", "architecture", "transformer"),
    Term(AUDIO_LANGUAGE, "autoregressive text encoder", "Text encoders", "architecture", "causal transformer"),
)


def missing_axes() -> dict[str, dict[str, list[str]]]:
    """Return registry -> entry -> axes that the entry leaves out; empty if every entry is complete."""
    missing = {title: registry.missing_axes() for title, registry in REGISTRIES.items()}
    return {title: entries for title, entries in missing.items() if entries}


def gaps() -> dict[str, list[str]]:
    """Return registries -> "axis: value" pairs that no entry has. Registries with the same axes count as one."""
    empty: dict[str, list[str]] = {}
    for axes in {repr(registry.axes): registry.axes for registry in REGISTRIES.values()}.values():
        group = {title: registry for title, registry in REGISTRIES.items() if registry.axes == axes}
        positions = [registry.axes_of(name) for registry in group.values() for name in registry]
        unused = [
            f"{axis}: {value}"
            for axis, values in axes.items()
            for value in values
            if value not in {position.get(axis) for position in positions}
        ]
        empty[" and ".join(group)] = unused
    return empty


def components(recipe: Recipe) -> dict[str, str]:
    """Return the five components of the contrastive framework that a two-tower recipe instantiates.

    They are query and key, similarity, encoder, head and loss, as in the review of Le-Khac, Healy and Smeaton 2020
    (arXiv 2010.05113). Empty for recipes that name a system or start from a finished model.
    """
    clap = recipe.model.clap if recipe.model is not None else None
    if clap is None:
        return {}
    objectives = [objective.name for objective in objectives_of(recipe)]
    signal = OBJECTIVES.axes_of(objectives[0])["signal"]
    return {
        "query and key": "clip and group" if signal == "label" else "clip and caption",
        "similarity": "cosine times a learned scale" + (" plus a bias" if clap.logit_bias else ""),
        "encoder": f"{clap.audio.encoder} and {clap.text.architecture}",
        "head": f"{clap.audio.projection} and {clap.text_projection}",
        "loss": " and ".join(objectives),
    }


def page(recipes: Mapping[str, Recipe]) -> str:
    """Return the taxonomy page in Markdown."""
    return "\n".join(_lines(recipes)) + "\n"


def _lines(recipes: Mapping[str, Recipe]) -> Iterator[str]:
    yield "# Taxonomy"
    yield ""
    yield "Generated from the axes of registry entries, from recipes and from task cards by"
    yield "`python -m aural.reproduce.survey docs/reproduced/taxonomy.md`. Do not edit this page."
    for title, registry in REGISTRIES.items():
        yield from ("", f"## {title}", "")
        rows = [[f"`{name}`", *(registry.axes_of(name).get(axis, "") for axis in registry.axes)] for name in registry]
        yield from _table(["name", *registry.axes], rows)
    yield from ("", "## Terms of the surveys", "")
    yield from _table(
        ["survey", "term", "axis", "entries"],
        [[t.survey, t.term, f"{t.axis} = {t.value}", ", ".join(f"`{e}`" for e in t.entries) or "none"] for t in TERMS],
    )
    yield from ("", "## Components of contrastive recipes", "")
    parts = {name: components(recipe) for name, recipe in recipes.items()}
    heads = list(next(iter(parts.values()), {}))
    yield from _table(["recipe", *heads], [[f"`{name}`", *values.values()] for name, values in parts.items()])
    yield from ("", "## Dimensions of evaluation tasks", "")
    yield coverage_report(task(name) for name in names())
    yield from ("", "## Gaps", "")
    yield "Axis values that no entry has:"
    yield ""
    for title, values in gaps().items():
        yield f"- {title}: {', '.join(values) or 'none'}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def contrastive_recipes() -> dict[str, Recipe]:
    """Return the packaged recipes that train two towers, by name."""
    recipes = {name: load_recipe(name) for name in recipe_names()}
    return {
        name: recipe
        for name, recipe in recipes.items()
        if recipe.model is not None
        and recipe.model.clap is not None
        and not recipe.tasks
        and not name.startswith("tiny_")
    }


def main() -> None:
    """Write the page to the path given, or print it."""
    text = page(contrastive_recipes())
    if len(sys.argv) > 1:
        write_text(Path(sys.argv[1]), text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
