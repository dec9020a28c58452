"""Task cards as evaluators of the training loop.

`aural.train.loop.train` calls its evaluators with the system that is trained. `task_evaluators` makes such functions
from task cards, so that the scores of a run are those of `aural evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from aural.core.errors import ConfigError
from aural.core.types import Embedder
from aural.evaluate.cache import EmbeddingCache
from aural.evaluate.cards import task
from aural.evaluate.data_root import DataRoot
from aural.evaluate.examples import LoadedTask
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import Context, Outcome
from aural.evaluate.runners import KINDS

if TYPE_CHECKING:
    from aural.models.clap import Clap

Evaluator = Callable[[Any], dict[str, float]]
ZERO_SHOT = "zero-shot"


def task_evaluators(names: Iterable[str], data: DataRoot, *, seed: int = 0) -> dict[str, Evaluator]:
    """Return one evaluator per task, for `aural.train.loop.train(evaluators=...)`.

    An evaluator takes the trained system (or a `Clap`, or any embedder), scores it on the task and returns
    metric -> score. The clips of a task are read once; sounds and texts are embedded at every call.

    names: names of task cards, or paths of .toml files. A probe is named "TASK@METHOD", such as
    "libre-household@linear-probe"; the default method is zero-shot.

    Raises:
        ConfigError: there is no such task or method.
        DataError: the data set of a task is missing.

    Both are raised here, so that a run is refused before its first step.
    """
    return {name: _evaluator(name, data, seed) for name in names}


def _evaluator(name: str, data: DataRoot, seed: int) -> Evaluator:
    task_name, _, method = name.partition("@")
    card = task(task_name)
    method = method or ZERO_SHOT
    if method not in KINDS[card.kind].runners:
        methods = ", ".join(KINDS[card.kind].runners)
        raise ConfigError(f'evaluators: task "{task_name}" has no method "{method}"; it has {methods}')
    loaded = LoadedTask(card.model_copy(update={"prompts": (card.prompt,)}), data)
    _ = loaded.test, loaded.train  # read now, so that missing data is reported before the first step

    def evaluate(system: Any) -> dict[str, float]:
        embedder = _embedder_of(system, name)
        loaded.kind.check_model(embedder)
        with TemporaryDirectory() as folder:
            cache = EmbeddingCache(Path(folder), embedder, "model in training")
            outcome: Outcome = KINDS[card.kind].runners[method](Context(cache, embedder, seed), loaded)
        return _scores(outcome, card.all_metrics)

    return evaluate


def _scores(outcome: Outcome, metrics: Iterable[str]) -> dict[str, float]:
    """Return the metrics that the outcome's arrays allow to compute."""
    scores = {}
    for metric in metrics:
        try:
            scores[metric] = METRICS[metric](outcome.arrays, None)
        except KeyError:
            continue  # the runner could not compute its array
    return scores


def _embedder_of(system: Any, name: str) -> Any:
    """Return an embedder from a training system, a `Clap`, or an embedder."""
    if isinstance(system, Embedder):
        return system
    clap = system.model() if hasattr(system, "model") else system
    if clap is None:
        raise ConfigError(f'evaluators: task "{name}" needs a system that embeds sounds and texts; remove it')
    return embedder_in_training(clap)


def embedder_in_training(clap: Clap) -> Embedder:
    """Return an embedder that computes with the towers of a model in training, without a copy of its weights."""
    from aural.models.checkpoint import Checkpoint
    from aural.models.pipeline import Model

    device = next(clap.parameters()).device
    scalars = {name: tensor for name, tensor in clap.state_dict().items() if name in ("logit_scale", "logit_bias")}
    model = Model(Checkpoint(clap.config, scalars, "none", "the model in training"), device=device)
    vars(model).update(audio_tower=clap.audio, text_tower=clap.text)  # in place of the cached properties
    return model
