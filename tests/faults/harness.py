"""Let every call of a command that changes a file fail once, and verify that nothing is lost, doubled or half written.

A fault is a small record: operation, number of the call, kind of fault. `Harness.try_fault` replays it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from faults.contents import contents, fingerprint

HERE = Path(__file__).parent
KINDS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES, "kill": -1}
ONLY_FOR = {"EACCES": ("open", "mkdir", "rename", "delete"), "ENOSPC": ("open", "mkdir", "rename", "write", "sync")}
"""Calls that can fail in this way; the other kinds happen to every call."""
THEN = "then"
"""Separates the commands of an operation that runs several in turn."""
VARYING = re.compile(
    r"(?<=\.tmp)\w{6}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{15,}|\.[0-9a-f]+-\d+(?=\.part)"
)
"""Parts of paths that differ between files of one kind: random names, hashes and versions, machine and process."""
FIXES = (";", " --resume")
"""One of them is in every message, before what the user can do."""


def in_turn(*commands: list[str]) -> list[str]:
    """Return the arguments of an operation that runs several commands until one is refused."""
    return [word for command in commands for word in (THEN, *command)][1:]


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


def kind_of(path: str) -> str:
    """Return a path without what differs between equal files of one run: versions, random names, process numbers."""
    return VARYING.sub("", path)


def spread(calls: Sequence[Call], most: int) -> list[Call]:
    """Return the calls in order, at most `most` of each group of equal calls: the first, the last, and some between.

    Calls are equal if they do the same to files of one kind. `library optimize` commits each of its nine indices in the
    same way, and writes the rows of the mapped index in 42 calls.
    """
    groups: dict[tuple[str, str], list[Call]] = {}
    for call in calls:
        groups.setdefault((call.what, kind_of(call.path)), []).append(call)
    chosen: set[Call] = set()
    for group in groups.values():
        if len(group) <= most:
            chosen.update(group)
        else:
            chosen.update(group[round(i * (len(group) - 1) / (most - 1))] for i in range(most))
    return [call for call in calls if call in chosen]


class Result(NamedTuple):
    """The exit code of a run (minus the signal), its output, and the calls it made."""

    code: int
    output: str
    calls: list[Call]


class Place(NamedTuple):
    """Where an operation works: `inputs` is shared and not changed; calls that change files below `work` can fail."""

    inputs: Path
    work: Path


def nothing_else(place: Place, killed: bool) -> None:
    """Verify nothing more than `Harness` does."""


@dataclass(frozen=True)
class Operation:
    """A command to be tested.

    prepare: writes the initial state. arguments: of `aural` (`in_turn`). state: what is in the folder, name to
    content; after a fault each entry must be that of before or that of a complete run, and a repeated run must leave
    what a complete one leaves. sound: raises AssertionError if more is wrong; its second argument is whether the
    process was killed. resumed: arguments of the repeated run. mixed: contents between the two are valid, for example
    a checkpoint of a step in the middle; `sound` verifies them. most_equal: how many of the calls that do the same to
    files of one kind fail (`spread`); 0: all.
    """

    name: str
    prepare: Callable[[Place], None]
    arguments: Callable[[Place], list[str]]
    state: Callable[[Place], dict[str, Any]] = lambda place: contents(place.work)
    sound: Callable[[Place, bool], None] = nothing_else
    resumed: Callable[[Place], list[str]] | None = None
    mixed: bool = False
    most_equal: int = 0


class Harness:
    """A process that runs commands of `aural` in forks with injected faults; see fault_server.py."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.inputs = scratch / "inputs"
        self.inputs.mkdir()
        library = scratch / "inject.so"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, HERE / "inject.c", "-ldl"], check=True)
        environment = os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        environment |= {"AURAL_PLUGINS": "", "XDG_CACHE_HOME": str(scratch / "cache")}
        paths = [*(str(HERE.parent / name) for name in ("", "reproduce")), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        environment["AURAL_CATALOG"] = str(self.inputs / "catalog")
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", HERE / "fault_server.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._initial: dict[str, Path] = {}
        self._states: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._completed: dict[str, set[str]] = {}
        """Fingerprints of the folders from which a run of an operation left what it must leave."""

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
        """Run an operation without a fault and return its calls; remember the states before and after it."""
        place = self._fresh(operation)
        before = operation.state(place)
        self._completed[operation.name] = {fingerprint(place.work)}
        result = self.run(operation.arguments(place), place.work)
        assert result.code == 0, result.output
        after = operation.state(place)
        assert after != before, "the operation changes nothing"
        self._states[operation.name] = before, after
        return result.calls

    def try_fault(self, operation: Operation, fault: Fault) -> str:
        """Run an operation with a fault and verify what it leaves; return "refused", "completed" or "killed"."""
        if operation.name not in self._states:
            self.calls(operation)
        place = self._fresh(operation)
        result = self.run(operation.arguments(place), place.work, fault.call, KINDS[fault.kind])
        assert "Traceback" not in result.output, result.output
        killed = fault.kind == "kill"
        if result.code not in (0, -9):
            _check_message(result, place)
        if not killed and not _is_deletion(result, fault.call):
            self._no_remains(operation, place)
        operation.sound(place, killed)
        self._whole(operation, place)
        now = fingerprint(place.work)
        if now not in self._completed[operation.name]:  # a run from the same folder is not repeated
            again = self.run((operation.resumed or operation.arguments)(place), place.work)
            assert again.code == 0, f"the repeated run: {again.output}"
            _same(operation.state(place), self._states[operation.name][1])
            self._no_remains(operation, place)
            self._completed[operation.name].add(now)
        if result.code == -9:
            return "killed"
        return "completed" if result.code == 0 else "refused"

    def faults(self, operation: Operation) -> list[Fault]:
        """Return every fault of an operation: each call with each kind that can happen to it.

        Of many equal calls, only `most_equal` fail.
        """
        calls = self.calls(operation)
        return [
            Fault(operation.name, call.number, kind)
            for call in (spread(calls, operation.most_equal) if operation.most_equal else calls)
            for kind in KINDS
            if call.what in ONLY_FOR.get(kind, (call.what,))
        ]

    def _whole(self, operation: Operation, place: Place) -> None:
        """Verify that every content is the old one or the new one, and that none is lost."""
        before, after = self._states[operation.name]
        now = operation.state(place)
        for name in () if operation.mixed else now:
            choices = [state[name] for state in (before, after) if name in state]
            assert choices, f"{name} was left"
            assert now[name] in choices, f"{name} is half written: {str(now[name])[:200]}"
        lost = before.keys() & after.keys() - now.keys()
        assert not lost, f"{sorted(lost)} were lost"

    def _no_remains(self, operation: Operation, place: Place) -> None:
        """Verify that no temporary file and no new empty folder was left."""
        initial = self._initial[operation.name]
        for path in place.work.rglob("*"):
            assert ".part" not in path.name, f"{path} was left"
            empty = path.is_dir() and not any(path.iterdir())
            if empty and not any(part == "_indices" or part.startswith(".unpacked") for part in path.parts):
                if path.parts[-2:] == ("sounds.lance", "_deletions") and "copies" not in path.parts:
                    continue
                # LanceDB creates its folders first; the next build deletes what could not be deleted
                assert (initial / path.relative_to(place.work)).exists(), f"{path} is empty"

    def _fresh(self, operation: Operation) -> Place:
        place = Place(self.inputs, self.scratch / "work")
        if operation.name not in self._initial:
            initial = self.scratch / "initial" / operation.name
            initial.mkdir(parents=True)
            operation.prepare(Place(self.inputs, initial))
            self._initial[operation.name] = initial
        shutil.rmtree(place.work, ignore_errors=True)
        shutil.copytree(self._initial[operation.name], place.work)
        return place


def _check_message(result: Result, place: Place) -> None:
    """Verify that a refused run ends with code 2 and a message that names the path and a fix."""
    assert result.code == 2, result.output
    lines = [line for line in result.output.splitlines() if str(place.work) in line]
    assert lines, f"the message names no path: {result.output}"
    assert any(fix in line for line in lines for fix in FIXES), f"the message names no fix: {lines}"


def _is_deletion(result: Result, number: int) -> bool:
    """Return whether the call that failed was a deletion: what could not be deleted may be left until the repeat."""
    return any(call.number == number and call.what == "delete" for call in result.calls)


def _same(state: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Verify that two states are equal, and name what differs."""
    names = sorted(name for name in state.keys() | wanted.keys() if state.get(name) != wanted.get(name))
    shown = [(name, str(state.get(name))[:150], str(wanted.get(name))[:150]) for name in names[:3]]
    assert not names, f"the repeated run leaves another state: {shown}"
