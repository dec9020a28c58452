"""Processes run several tasks one after another; needs, failures and deaths are respected."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aural.core.errors import DataError
from aural.reproduce.pool import Task, run_all

sys.path.insert(0, str(Path(__file__).parent))


def note(folder: Path, name: str) -> None:
    (folder / name).write_text(str(os.getpid()))


def fail(folder: Path, name: str) -> None:
    raise DataError(f"{name} cannot work")


def die(folder: Path, name: str) -> None:
    os._exit(3)


@pytest.mark.parametrize("jobs", [1, 2])
def test_processes_are_used_again_and_needs_come_first(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    names = [f"t{i}" for i in range(5)]
    tasks = [Task("last", tuple(names), note, (tmp_path, "last"))]
    tasks += [Task(name, (), note, (tmp_path, name)) for name in names]
    done: list[str] = []
    assert run_all(tasks, jobs, done=done.append) == {}
    assert sorted(done) == ["last", *names]
    assert done[-1] == "last"
    processes = {file.read_text() for file in tmp_path.iterdir()}
    assert len(processes) <= jobs
    assert (str(os.getpid()) in processes) == (jobs == 1)


def test_failed_tasks_and_dead_processes_stop_only_what_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    tasks = [
        Task("bad", (), fail, (tmp_path, "bad")),
        Task("dead", (), die, (tmp_path, "dead")),
        Task("after bad", ("bad",), note, (tmp_path, "after-bad")),
        Task("good", (), note, (tmp_path, "good")),
        Task("after good", ("good",), note, (tmp_path, "after-good")),
    ]
    done: list[str] = []
    failed = run_all(tasks, 2, done=done.append)
    assert done == ["good", "after good"]
    assert failed == {
        "bad": "bad cannot work",
        "dead": "the process died with exit code 3 (out of memory?)",
        "after bad": "not started, because bad failed",
    }
    assert sorted(file.name for file in tmp_path.iterdir()) == ["after-good", "good"]


def test_after_the_limit_of_time_no_task_starts(tmp_path: Path) -> None:
    assert run_all([Task("a", (), note, (tmp_path, "a"))], 1, until=1e-9) == {}
    assert not list(tmp_path.iterdir())


WAITING = """
import signal
import sys
from pathlib import Path

from test_pool import started_and_waiting
from aural.reproduce.pool import Task, run_all

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
    folder = Path(sys.argv[1])
    try:
        run_all([Task(name, (), started_and_waiting, (folder, name)) for name in ("a", "b")], 2)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def started_and_waiting(folder: Path, name: str) -> None:
    note(folder, name)
    time.sleep(60)


def test_ctrl_c_ends_all_processes_without_their_tracebacks(tmp_path: Path) -> None:
    script = tmp_path / "waiting.py"
    script.write_text(WAITING)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    started = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    names = [tmp_path / "a", tmp_path / "b"]
    limit = time.monotonic() + 120
    while not all(file.is_file() and file.read_text() for file in names) and time.monotonic() < limit:
        time.sleep(0.1)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    _, errors = started.communicate(timeout=30)
    assert started.returncode == 130
    assert "Traceback" not in errors
    for file in names:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)
