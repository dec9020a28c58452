"""Train a small encoder of sounds by one pretext task or another, from the same seeds and sounds, and probe it.

An arm is a list of stages, each a list of changes of the recipe `self_supervised`. "{0}" in a change is the model
folder of the first stage, "{1}" that of the second. Stages with equal changes and equal stages before them are trained
once per seed, whichever card asks first.

Changes that are not of the recipe:
- "sets=es+it:100": the sets of sounds to train on (default es), and of how many first clips each.
- "untrained": the stage is not trained.
- "probe=0": scores use this layer of the model (0: the frames of the front end) instead of a chosen one.
- "centers=2", "of=es+it", with "groups=4" and "codes=64": the stage runs k-means on layer 2 of the model "{0}" (given
  as "model={0}"; without it, on the frames) over the sets, and its folder holds `centers.npz`.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from aural.core.files import locked, user_cache, write_text
from aural.nn.nearest_code import k_means
from aural.reproduce import sound_continuation  # noqa: F401 (registers its score)
from aural.reproduce.sound_scores import AT_ONCE, SOUND_SCORES, Lab
from aural.reproduce.sound_sets import sound_file, sound_set
from aural.reproduce.study import Scores, StudyContext
from aural.train import parallel
from aural.train.config import Recipe
from aural.train.loop import TrainingRun, build_seeded, prepare
from aural.train.recipes import load_recipe
from aural.train.selfsupervised.tokenizer import layer_points, save_centers, stacked
from aural.train.systems.self_supervised import SelfSupervised, load_self_supervised

VERSION: Final = 2
"""Counts up when stored models no longer fit this code."""
RECIPE: Final = "self_supervised"
ARM: Final = ("loop.steps=600", "optimizer.lr=3e-3")
"""Changes of every stage before its own."""
SMOKE: Final = (
    "loop.steps=2", "loop.batch=4", "schedule.warmup=0", "system.audio.encoder_options.dim=16",
    "system.audio.encoder_options.heads=2", "system.audio.encoder_options.hidden_dim=16",
)  # fmt: skip
LOCAL: Final = ("sets", "untrained", "probe", "centers", "of", "groups", "codes", "model")
POINTS: Final = 20_000
CENTER_CLIPS: Final = 200

Stages = Sequence[Sequence[str]]


def run(context: StudyContext, *, arms: Mapping[str, Stages], scores: Sequence[str]) -> Scores:
    """Return arm -> score -> values. A score that an arm cannot have, such as CER without a head, is left out."""
    results: dict[str, dict[str, Any]] = {}
    for name, stages in arms.items():
        model = trained(context, stages)
        local = local_changes(stages[-1])
        lab = Lab(context, model, int(local["probe"]) if "probe" in local else None)
        wanted = [score for score in scores if has(model, score)]
        results[name] = {score: SOUND_SCORES[score](lab) for score in wanted}
    return results


def has(model: SelfSupervised, score: str) -> bool:
    """Return whether a model has what a score needs."""
    if score.startswith("cer"):
        return any(pretext.name == "ctc" for pretext in model.config.pretexts)
    if score in ("perplexity", "collapsed"):
        return model.quantizer is not None
    if score == "phones-of-codes":
        return model.quantizer is not None or model.tokenizer is not None
    return score != "continuation" or any(pretext.name == "next-token" for pretext in model.config.pretexts)


def trained(context: StudyContext, stages: Stages) -> SelfSupervised:
    """Return the model of the last stage in evaluation mode, trained now or taken from the cache."""
    folders: list[Path] = []
    for changes in stages:
        filled = [_filled(change, folders) for change in changes]
        if "untrained" in changes:
            return _untrained(context, filled)
        named = [_filled(change, [Path(folder.name) for folder in folders]) for change in changes]
        named = [change for change in named if not change.startswith("probe=")]
        key = repr((VERSION, ARM, named, context.seed, context.smoke))
        folders.append(_stage(context, filled, key))
    return load_self_supervised(folders[-1]).to(_device(context))


def _filled(change: str, folders: Sequence[Path]) -> str:
    for place, folder in enumerate(folders):
        change = change.replace(f"{{{place}}}", str(folder))
    return change


def local_changes(changes: Sequence[str]) -> dict[str, str]:
    """Return the changes of a stage that are not of the recipe."""
    parts = (change.partition("=") for change in changes)
    return {name: value for name, _, value in parts if name in LOCAL}


def _device(context: StudyContext) -> torch.device:
    if context.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(context.device)


def seeded_recipe(context: StudyContext, changes: Sequence[str]) -> Recipe:
    """Return the recipe with the changes; its weights and the order of its sounds depend on the seed."""
    local = local_changes(changes)
    sets = [part.partition(":") for part in local.get("sets", "es").split("+")]
    files = [str(sound_file(context, name, "train")) for name, _, _ in sets]
    options = {"files": files, "seed": context.seed, "sizes": [int(size or 0) for _, _, size in sets]}
    source = f"data.sources=[{{world: stored, world_options: {options}}}]"
    rest = [change for change in changes if change.partition("=")[0] not in LOCAL]
    return load_recipe(RECIPE, (*ARM, source, *rest, *(SMOKE if context.smoke else ()), f"seed={context.seed}"))


def _untrained(context: StudyContext, changes: Sequence[str]) -> SelfSupervised:
    recipe = seeded_recipe(context, changes)
    with parallel.process_group(context.device) as place, torch.random.fork_rng(enabled=True):
        system = build_seeded(recipe, prepare(recipe, place).batches, place.device)
    assert isinstance(system, SelfSupervised)
    return system.eval()


def _stage(context: StudyContext, changes: Sequence[str], key: str) -> Path:
    """Return the folder of a stage in the cache, written now if it is not there."""
    base = ((context.shared or context.out) if context.smoke else user_cache()) / "features"
    folder = base / f"encoder-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with locked(base / f"{folder.name}.lock"):
        if not (folder / "done.txt").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            if "centers" in local_changes(changes):
                folder.mkdir(parents=True)
                _centers(context, local_changes(changes), folder / "centers.npz")
            else:
                _train(context, changes, folder)
            write_text(folder / "done.txt", key + "\n")
    return folder


def _train(context: StudyContext, changes: Sequence[str], folder: Path) -> None:
    recipe, run_folder = seeded_recipe(context, changes), context.out / "run"
    shutil.rmtree(run_folder, ignore_errors=True)
    with parallel.process_group(context.device) as place, torch.random.fork_rng(enabled=True):
        training = TrainingRun(recipe, run_folder, place, {}, resume=False)
        training.go()
        training.plain.export(folder, recipe, training.plain.state_dict())
    shutil.rmtree(run_folder, ignore_errors=True)


@torch.no_grad()
def _centers(context: StudyContext, local: Mapping[str, str], file: Path) -> None:
    """Write the centers of a layer of a model, or of its frames, over some sets."""
    layer, groups, codes = int(local["centers"]), int(local.get("groups", "1")), int(local.get("codes", "64"))
    device, names = _device(context), local.get("of", "es").split("+")
    model = load_self_supervised(Path(local["model"])).to(device) if "model" in local else None
    front = model or _untrained(context, ["system.front=cochlea"] if layer < 0 else [])
    points = []
    for name in names:
        waves = sound_set(context, name, "train").waves[:CENTER_CLIPS]
        for at in range(0, len(waves), AT_ONCE):
            frames = front.frames({"wave": torch.from_numpy(np.stack(waves[at : at + AT_ONCE])).to(device)})
            rows = stacked(frames, front.encoder.config.stride) if model is None else layer_points(model, frames, layer)
            points.append(rows.flatten(0, 1))
    rows = torch.cat(points)
    rows = rows[torch.linspace(0, len(rows) - 1, min(POINTS, len(rows))).long().to(device)]
    parts = rows.unflatten(-1, (groups, -1)).unbind(1)
    centers = torch.stack([k_means(part, codes, seed=context.seed) for part in parts])
    save_centers(file, centers, max(layer, 0))
