"""Run functions in separate processes, some after others; a process that dies does not stop the rest."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Self

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

    With one job everything runs in this process. Otherwise each of `jobs` processes runs many tasks, one after another,
    so that libraries are imported and data are read once per process. Tasks whose needs failed are not started. After
    `until` (a value of time.monotonic(); 0: never) no task starts. `done` is called with the key of every task that
    succeeds.
    """
    waiting = {task.key: task for task in tasks}
    failed: dict[str, str] = {}
    succeeded: list[str] = []
    with _Workers(jobs) as workers:
        while waiting or workers.busy or succeeded:
            _drop_hopeless(waiting, failed)
            late = bool(until) and time.monotonic() > until
            while not late and workers.free and (task := _next(waiting, workers.keys)) is not None:
                workers.start(waiting.pop(task.key))
            for key in succeeded:  # after the next tasks have started, because it may take seconds
                done(key)
            succeeded = []
            for key, reason, seconds in workers.ended():
                if reason:
                    failed[key] = reason
                else:
                    succeeded.append(key)
                say(f"{key}: {'failed' if reason else 'done'} after {seconds:.0f} s")
            if late and not workers.busy and not succeeded:
                break
    return failed


def _next(waiting: Mapping[str, Task], running: Collection[str]) -> Task | None:
    """Return the first task whose needs are finished."""
    ready = (t for t in waiting.values() if not any(need in waiting or need in running for need in t.needs))
    return next(ready, None)


class _Workers:
    """At most `jobs` processes that run tasks; with one job, this process."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.busy: list[_Worker | _Here] = []
        self.idle: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.idle:
            worker.stop()
        for running in self.busy:  # only after an error or Ctrl-C
            running.kill()

    @property
    def free(self) -> bool:
        return len(self.busy) < self.jobs

    @property
    def keys(self) -> set[str]:
        """Keys of the tasks that run."""
        return {worker.task.key for worker in self.busy}

    def start(self, task: Task) -> None:
        if self.jobs == 1:
            self.busy.append(_Here(task))
            return
        worker = self.idle.pop() if self.idle else _Worker()
        worker.give(task)
        self.busy.append(worker)

    def ended(self) -> Iterator[tuple[str, str, float]]:
        """Yield key, reason ("" if it succeeded) and seconds of tasks that ended; wait up to a second for the first."""
        if handles := [handle for worker in self.busy for handle in worker.handles]:  # none: the tasks run here
            wait(handles, timeout=1.0)
        ended = [worker for worker in self.busy if worker.has_ended()]
        self.busy = [worker for worker in self.busy if worker not in ended]
        for worker in ended:
            reason = worker.reason()
            if isinstance(worker, _Worker) and worker.process.is_alive():
                self.idle.append(worker)
            yield worker.task.key, reason, time.monotonic() - worker.began


class _Here:
    """A task that runs in this process when its result is read."""

    handles: tuple[Any, ...] = ()

    def __init__(self, task: Task) -> None:
        self.task, self.began = task, time.monotonic()

    def has_ended(self) -> bool:
        return True

    def reason(self) -> str:
        return _call(self.task)

    def kill(self) -> None:
        """Nothing runs between tasks."""


class _Worker:
    """A process that runs one task after another and sends back why each failed ("" if it did not)."""

    task: Task
    began: float

    def __init__(self) -> None:
        context = _context()
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other,))
        self.process.start()
        other.close()

    @property
    def handles(self) -> tuple[Any, ...]:
        """What becomes ready when the task ends or the process dies."""
        return self.pipe, self.process.sentinel

    def give(self, task: Task) -> None:
        self.task, self.began = task, time.monotonic()
        self.pipe.send(task)

    def has_ended(self) -> bool:
        return bool(self.pipe.poll()) or not self.process.is_alive()

    def reason(self) -> str:
        try:
            return str(self.pipe.recv()) if self.pipe.poll() else self._died()
        except (EOFError, OSError):
            return self._died()

    def _died(self) -> str:
        self.process.join()
        return f"the process died with exit code {self.process.exitcode} (out of memory?)"

    def stop(self) -> None:
        """End the process, which waits for its next task."""
        self.pipe.close()
        self.process.join()

    def kill(self) -> None:
        """End the process in the middle of its task."""
        self.process.kill()
        self.process.join()


def _context() -> Any:
    """Return a context whose processes start from a server with torch loaded, where the system has one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    return context


def _serve(pipe: Any) -> None:
    """Run the tasks that arrive until the other end closes. Ctrl-C is left to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(_call(pipe.recv()))


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

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _drop_hopeless(waiting: dict[str, Task], failed: dict[str, str]) -> None:
    """Fail the tasks that need a failed one."""
    again = True
    while again:
        hopeless = {key: need for key, task in waiting.items() for need in task.needs if need in failed}
        for key, need in hopeless.items():
            del waiting[key]
            failed[key] = f"not started, because {need} failed"
        again = bool(hopeless)
