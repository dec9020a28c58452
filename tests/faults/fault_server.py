"""Run commands of `aural` in forks of this process, each with at most one failing system call; see inject.c.

Reads one JSON request per line: arguments, folder, call, error, log, out. Writes one JSON answer per line: the exit
code, or minus the signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lancedb  # noqa: F401
import numpy as np
import onnxruntime  # noqa: F401
import torch
import torch.onnx
import torch.profiler
import transformers  # noqa: F401
import watchfiles
from typer.main import get_command

import aural.cli.library
import aural.cli.options
import aural.reproduce.run
import aural.train.loop
from aural.cli import main as command_line
from aural.evaluate.cards import suites
from aural.models import onnx_export
from aural.models.load import load
from aural.models.onnx_export import export_onnx
from aural.search import salvage
from faults.harness import THEN
from sketch import SketchEmbedder
from tiny import save_tiny


def warm() -> None:
    """Import what the commands import later, so that every fork has it."""
    with tempfile.TemporaryDirectory() as folder:
        model = load(save_tiny(Path(folder) / "model"), device="cpu")
        model.embed_text(["a"])
        model.embed_audio([(np.zeros(9000, np.float32), 16000)])
    suites()  # reads every card of a task
    command_line.app = get_command(command_line.app)  # type: ignore[assignment]
    gc.collect()
    gc.freeze()  # forks share the memory of what exists


@functools.cache
def traced() -> None:
    """Trace the graphs of the tiny model once, which takes seconds; forks write the same graphs."""
    graphs: dict[str, Any] = {}
    trace = onnx_export.traced
    with tempfile.TemporaryDirectory() as folder:
        onnx_export.traced = lambda module, *rest: graphs.setdefault(type(module).__name__, trace(module, *rest))
        export_onnx(save_tiny(Path(folder) / "model"), Path(folder) / "onnx")
    onnx_export.traced = lambda module, *rest: graphs[type(module).__name__]


class ModelOfTests(SketchEmbedder):
    """A `SketchEmbedder` that `aural library` takes for a loaded model."""

    name, window_s, device = "sketch", 1.0, "cpu"


def run(request: dict[str, Any]) -> None:
    """Run one command in a child process; does not return."""
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    code = 1
    try:
        arm = ctypes.CDLL(None).fault_arm
        arm(request["folder"].encode(), request["call"], request["error"], request["log"].encode())
        code = one_by_one(request["arguments"])
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def in_this_process(command: list[str], **options: Any) -> None:
    """Read the rows of a damaged library here, because starting another process takes seconds."""
    with contextlib.suppress(Exception):
        salvage.main(*command[3:])


def one_by_one(arguments: list[str]) -> int:
    """Run the commands until one is refused; return the exit code of the last one."""
    words = [*arguments, THEN]
    while words:
        end = words.index(THEN)
        sys.argv = ["aural", *words[:end]]
        words = words[end + 1 :]
        try:
            command_line.main()
        except SystemExit as exit:
            if exit.code:
                return int(exit.code)
    return 0


def main() -> None:
    """Answer requests until the input ends."""
    torch.set_num_threads(1)
    salvage.subprocess = SimpleNamespace(run=in_this_process, TimeoutExpired=TimeoutError)  # type: ignore[assignment]
    watchfiles.watch = lambda *folders, **options: iter([set()])  # type: ignore[assignment]  # one update, then stop
    options = aural.cli.options.ModelOptions
    open_model = options.open
    warm()
    options.open = lambda self, name: ModelOfTests() if name == "sketch" else open_model(self, name)  # type: ignore
    for line in sys.stdin:
        request = json.loads(line)
        if "onnx" in request["arguments"]:
            traced()
        child = os.fork()
        if not child:
            run(request)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


if __name__ == "__main__":
    main()
