"""Run functions in separate processes, some after others; a process that dies does not stop the rest."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from aural.core.errors import AuralError

PRELOAD = ("aural.train.loop", "aural.train.recipes", "aural.evaluate.run", "aural.reproduce.run")


@dataclass(frozen=True)
class Task:
    """A call of `function(*arguments)` that starts when the tasks in `needs` are finished."""

    key: str
    needs: tuple[str, ...]
    function: Callable[..., None]
    arguments: tuple[Any, ...]


def run_all(
    tasks: Sequence[Task],
    jobs: int,
    *,
    until: float = 0.0,
    done: Callable[[str], None] = lambda key: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, str]:
    """Run all tasks, `jobs` at a time, in the given order where their needs allow it; return key -> reason of failures.

    With one job everything runs in this process. Tasks whose needs failed are not started. After `until` (a value of
    time.monotonic(); 0: never) no task starts. `done` is called with the key of every task that succeeds.
    """
    waiting = {task.key: task for task in tasks}
    failed: dict[str, str] = {}
    running: dict[str, _Child] = {}
    while waiting or running:
        _drop_hopeless(waiting, failed)
        late = bool(until) and time.monotonic() > until
        for task in [] if late else list(waiting.values()):
            if len(running) >= jobs:
                break
            if any(need in waiting or need in running for need in task.needs):
                continue
            del waiting[task.key]
            began = time.monotonic()
            if jobs == 1:
                _note(task.key, _call(task), began, failed, say)
                if task.key not in failed:
                    done(task.key)
                break
            running[task.key] = _Child(task)
        for key, child in _finished(running).items():
            del running[key]
            _note(key, child.reason(), child.began, failed, say)
            if key not in failed:
                done(key)
        if late and not running:
            return failed
    return failed


class _Child:
    """A process that runs one task and sends back why it failed ("" if it did not)."""

    def __init__(self, task: Task) -> None:
        context = _context()
        self.began = time.monotonic()
        self.pipe, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_child, args=(task, sender))
        self.process.start()
        sender.close()

    def reason(self) -> str:
        try:
            text = str(self.pipe.recv()) if self.pipe.poll() else ""
            sent = True
        except EOFError:
            text, sent = "", False
        self.process.join()
        if not sent or self.process.exitcode:
            return text or f"the process died with exit code {self.process.exitcode} (out of memory?)"
        return text


def _context() -> Any:
    """Return a context whose processes start from a server with torch loaded, where the system has one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    return context


def _child(task: Task, sender: Any) -> None:
    _die_with_parent()
    sender.send(_call(task))
    sender.close()


def _call(task: Task) -> str:
    try:
        task.function(*task.arguments)
    except AuralError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the one that started it is gone, so that no orphan goes on writing."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _finished(running: dict[str, _Child]) -> dict[str, _Child]:
    """Return the children that ended; wait up to a second for the first one."""
    if not running:
        return {}
    wait([child.process.sentinel for child in running.values()], timeout=1.0)
    return {key: child for key, child in running.items() if not child.process.is_alive()}


def _drop_hopeless(waiting: dict[str, Task], failed: dict[str, str]) -> None:
    """Fail the tasks that need a failed one."""
    again = True
    while again:
        hopeless = {key: need for key, task in waiting.items() for need in task.needs if need in failed}
        for key, need in hopeless.items():
            del waiting[key]
            failed[key] = f"not started, because {need} failed"
        again = bool(hopeless)


def _note(key: str, reason: str, began: float, failed: dict[str, str], say: Callable[[str], None]) -> None:
    if reason:
        failed[key] = reason
    say(f"{key}: {'failed' if reason else 'done'} after {time.monotonic() - began:.0f} s")
