"""Run commands of `aural` in forks of this process, each with at most one failing system call; see inject.c.

Reads one JSON request per line: arguments, folder, call, error, log, out. Writes one JSON answer per line: the exit
code, or minus the signal.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import lancedb  # noqa: F401
import torch

import aural.cli.library
import aural.cli.options
import aural.train.loop
from aural.cli import main as command_line
from sketch import SketchEmbedder


class ModelOfTests(SketchEmbedder):
    """A `SketchEmbedder` that `aural library` takes for a loaded model."""

    name, window_s, device = "sketch", 1.0, "cpu"


def run(request: dict[str, Any]) -> None:
    """Run one command in a child process; does not return."""
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["aural", *request["arguments"]]
    code = 1
    try:
        arm = ctypes.CDLL(None).fault_arm
        arm(request["folder"].encode(), request["call"], request["error"], request["log"].encode())
        command_line.main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Answer requests until the input ends."""
    torch.set_num_threads(1)
    aural.cli.options.ModelOptions.open = lambda self, name: ModelOfTests()  # type: ignore[method-assign]
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            run(request)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


if __name__ == "__main__":
    main()
