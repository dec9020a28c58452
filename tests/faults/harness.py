"""Let every call of a command that changes a file fail once, and verify that nothing is lost, doubled or half written.

A fault is a small record: operation, number of the call, kind of fault. `Harness.try_fault` replays it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

HERE = Path(__file__).parent
KINDS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES, "kill": -1}
ONLY_FOR = {"EACCES": ("open", "mkdir", "rename", "delete"), "ENOSPC": ("open", "mkdir", "rename", "write", "sync")}
"""Calls that can fail in this way; the other kinds happen to every call."""


class Fault(NamedTuple):
    """One failing call: the operation, the number of the call from 1, and what happens to it."""

    operation: str
    call: int
    kind: str


class Call(NamedTuple):
    """A counted call: its number, what it does, and the path relative to the folder of the run."""

    number: int
    what: str
    path: str


class Result(NamedTuple):
    """The exit code of a run (minus the signal), its output, and the calls it made."""

    code: int
    output: str
    calls: list[Call]


@dataclass(frozen=True)
class Operation:
    """A command to be tested.

    prepare: writes the initial state into a folder. arguments: of `aural`, in that folder. sound: raises AssertionError
    if the state after a fault is not sound; its second argument is whether the process was killed. state: what a
    complete run leaves, to be compared with a run that is repeated after the fault. resumed: arguments of that run.
    """

    name: str
    prepare: Callable[[Path], None]
    arguments: Callable[[Path], list[str]]
    sound: Callable[[Path, bool], None]
    state: Callable[[Path], Any]
    resumed: Callable[[Path], list[str]] | None = None


class Harness:
    """A process that runs commands of `aural` in forks with injected faults; see fault_server.py."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        library = scratch / "inject.so"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, HERE / "inject.c", "-ldl"], check=True)
        environment = os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", HERE / "fault_server.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._initial: dict[str, Path] = {}
        self._wanted: dict[str, Any] = {}

    def __enter__(self) -> Harness:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.communicate()

    def run(self, arguments: list[str], folder: Path, call: int = 0, error: int = 0) -> Result:
        """Run a command; call number `call` below `folder` fails with `error`."""
        log, out = self.scratch / "log", self.scratch / "out"
        log.unlink(missing_ok=True)
        request = {"arguments": arguments, "folder": str(folder), "call": call, "error": error}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request | {"log": str(log), "out": str(out)}) + "\n")
        self._server.stdin.flush()
        code = int(json.loads(self._server.stdout.readline()))
        lines = log.read_text().splitlines() if log.exists() else []
        calls = [Call(int(number), what, path) for number, what, path in (line.split(" ", 2) for line in lines)]
        return Result(code, out.read_text(errors="replace"), calls)

    def calls(self, operation: Operation) -> list[Call]:
        """Run an operation without a fault and return its calls; remember the state that it leaves."""
        folder = self._fresh(operation)
        result = self.run(operation.arguments(folder), folder)
        assert result.code == 0, result.output
        self._wanted[operation.name] = operation.state(folder)
        return result.calls

    def try_fault(self, operation: Operation, fault: Fault) -> str:
        """Run an operation with a fault and verify what it leaves; return "refused", "completed" or "killed"."""
        if operation.name not in self._wanted:
            self.calls(operation)
        folder = self._fresh(operation)
        result = self.run(operation.arguments(folder), folder, fault.call, KINDS[fault.kind])
        assert "Traceback" not in result.output, result.output
        killed = result.code == -9
        if result.code not in (0, -9):
            message = next(line for line in result.output.splitlines()[::-1] if line.startswith("error: "))
            assert result.code == 2, result.output
            assert str(folder) in message, f"the message names no path: {message}"
            assert ";" in message, f"the message names no fix: {message}"
        operation.sound(folder, killed)
        again = self.run((operation.resumed or operation.arguments)(folder), folder)
        assert again.code == 0, again.output
        state = operation.state(folder)
        assert state == self._wanted[operation.name], "the repeated run leaves another state"
        if killed:
            return "killed"
        return "completed" if result.code == 0 else "refused"

    def faults(self, operation: Operation) -> list[Fault]:
        """Return every fault of an operation: each call with each kind that can happen to it."""
        return [
            Fault(operation.name, call.number, kind)
            for call in self.calls(operation)
            for kind in KINDS
            if call.what in ONLY_FOR.get(kind, (call.what,))
        ]

    def _fresh(self, operation: Operation) -> Path:
        if operation.name not in self._initial:
            initial = self.scratch / "initial" / operation.name
            initial.mkdir(parents=True)
            operation.prepare(initial)
            self._initial[operation.name] = initial
        folder = self.scratch / "work"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._initial[operation.name], folder)
        return folder
