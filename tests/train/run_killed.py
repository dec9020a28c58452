"""Runs a recipe in a process of its own and, on request, kills it with SIGKILL after so many seconds or at a step.

    python run_killed.py RECIPE.json OUT [--resume] [--kill-at STEP:PLACE]

PLACE is "before" or "inside" the writing of a checkpoint, or "after" the update of STEP.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    from aural.train import checkpoint
    from aural.train.config import Recipe
    from aural.train.loop import TrainingRun, train

    recipe = Recipe.parse(json.loads(Path(sys.argv[1]).read_text()), "test")
    if "--kill-at" in sys.argv:
        at, _, place = sys.argv[sys.argv.index("--kill-at") + 1].partition(":")
        update, sync = TrainingRun._update, checkpoint._sync

        def killed(self: Any, step: int, waiting: Any) -> None:
            update(self, step, waiting)
            if step == int(at) and place == "after":
                kill()
            if step == int(at) and place == "inside":
                checkpoint._sync = lambda path: kill()  # the next checkpoint dies half written

        TrainingRun._update = killed  # type: ignore[method-assign]
        checkpoint._sync = sync
    train(recipe, sys.argv[2], resume="--resume" in sys.argv, device="cpu")


if __name__ == "__main__":
    main()
