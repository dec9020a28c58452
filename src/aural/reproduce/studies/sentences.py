"""Train a small text encoder on the text world with one toggle or another, from the same start and the same seeds.

The start has the word vectors of MiniLM, reduced, and random layers. It takes the place of BERT in the papers. It is
made once per seed. Arms with equal changes are trained once per seed, whichever card asks first.

An arm is a list of changes of the recipe. Without changes it is the start itself. The change "untrained" applies the
others, such as another pooling, without training.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from aural.core.files import atomic_write
from aural.models.sentence_folder import write_sentence_folder
from aural.reproduce import toggle_scores  # noqa: F401 (registers its scores)
from aural.reproduce.sentence_scores import SCORES
from aural.reproduce.shared import shared_arrays
from aural.reproduce.study import Scores, StudyContext
from aural.train import parallel
from aural.train.config import Recipe
from aural.train.loop import TrainingRun, build_seeded, prepare
from aural.train.recipes import load_recipe
from aural.train.selected import system_of
from aural.train.sentences.tokens import sentence_tokenizer
from aural.train.sentences.words import NAME, SPREAD, packaged_words
from aural.train.systems.sentences import Sentences

VERSION: Final = 2
"""Counts up when stored encoders no longer fit this code."""
UNTRAINED: Final = "untrained"
RECIPE: Final = "sentences"
START: Final = ("system.toggles=[{name: mlm}]", "loop.steps=1", "optimizer.lr=1e-9")
"""The start is not trained on the texts: a calibration on seed 100 preferred it to 300 steps of masked words."""
ARM: Final = ("loop.steps=300", "optimizer.lr=1e-3")
"""Changes of every arm before its own."""
SMOKE: Final = (
    "loop.steps=2", "loop.batch=8", "schedule.warmup=0", "system.text.dim=16", "system.text.depth=1",
    "system.text.hidden_dim=16",
)  # fmt: skip
SMOKE_SIZE: Final = 32

Arms = Mapping[str, Sequence[str]]


def run(
    context: StudyContext,
    *,
    arms: Arms,
    scores: Sequence[str],
    start: Sequence[str] = START,
    common: Sequence[str] = (),
) -> Scores:
    """Return arm -> score -> values.

    start: changes of the recipe for the start encoder. common: changes of every arm, before its own.
    """
    folder = start_folder(context, start)
    results: dict[str, dict[str, Any]] = {}
    for name, changes in arms.items():
        system = trained(context, (f"system.init={folder}", *ARM, *common), changes, key=repr((start, common)))
        results[name] = {score: SCORES[score](system, context.seed) for score in scores}
    return results


def start_folder(context: StudyContext, changes: Sequence[str]) -> Path:
    """Train the start encoder of this seed, or read it from the cache, and return a folder with it."""
    words = () if context.smoke else (f"system.words={write_words(context)}",)
    system = trained(context, words, changes, key="start")
    tokenizer = system.tokenizer.backend.to_str()
    state = dict(system.encoder.state_dict())
    return write_sentence_folder(context.out / "start", system.config.text, state, tokenizer, card="# Start encoder\n")


def write_words(context: StudyContext) -> Path:
    """Write the word vectors that all seeds start from, and return the file."""
    text = system_of(load_recipe(RECIPE))[1].text  # type: ignore[attr-defined]
    key = repr((VERSION, SPREAD, text))

    def compute() -> dict[str, NDArray[Any]]:
        return {NAME: packaged_words(sentence_tokenizer(text), text.vocab_size, text.dim).numpy()}

    stored = shared_arrays(context, "word-vectors", key, compute)
    with atomic_write(context.out / "words.safetensors") as part:
        save_file({NAME: torch.from_numpy(stored[NAME]).contiguous()}, part)
    return context.out / "words.safetensors"


def trained(context: StudyContext, before: Sequence[str], changes: Sequence[str], *, key: str) -> Sentences:
    """Return the system of an arm after training, or from the cache; see the module for the meaning of `changes`."""
    arm_changes = [change for change in changes if change != UNTRAINED]
    recipe = seeded_recipe(context, (*before, *arm_changes))
    with parallel.process_group(context.device) as place, torch.random.fork_rng(enabled=True):
        system = build_seeded(recipe, prepare(recipe, place).batches, place.device)
        assert isinstance(system, Sentences)
        if not changes or UNTRAINED in changes:
            return system.eval()

        def compute() -> dict[str, NDArray[Any]]:
            folder = context.out / "run"
            shutil.rmtree(folder, ignore_errors=True)
            training = TrainingRun(recipe, folder, place, {}, resume=False)
            training.go()
            shutil.rmtree(folder, ignore_errors=True)
            return {name: tensor.detach().cpu().numpy() for name, tensor in training.plain.state_dict().items()}

        settings = [change for change in before if not change.startswith(("system.init=", "system.words="))]
        name = repr((VERSION, key, settings, arm_changes, context.seed, recipe.loop.steps, recipe.loop.batch))
        stored = shared_arrays(context, "sentences", name, compute)
        system.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in stored.items()})
    return system.eval()


def seeded_recipe(context: StudyContext, changes: Sequence[str]) -> Recipe:
    """Return the recipe with the changes; its weights and its texts depend on the seed."""
    smoke = SMOKE if context.smoke else ()
    every = (*changes, *smoke, f"seed={context.seed}")
    sources = load_recipe(RECIPE, every).data.sources
    texts = [
        f"data.sources.{i}.world_options.seed={context.seed}" for i, one in enumerate(sources) if one.world == "text"
    ]
    sizes = [change.replace(f"seed={context.seed}", f"size={SMOKE_SIZE}") for change in texts if context.smoke]
    return load_recipe(RECIPE, (*every, *texts, *sizes))
