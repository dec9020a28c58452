"""Start the server as a process of its own, find its decoders, and read its log."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

SCRIPT = Path(__file__).with_name("run_server.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(folder: Path, port: int, seconds: float = 0.0, log: Any = subprocess.PIPE) -> Iterator[Any]:
    """Yield the process when it is ready to answer."""
    arguments = [sys.executable, str(SCRIPT), str(folder), str(port), str(seconds)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == f"serving {folder} on http://127.0.0.1:{port}"
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            time.sleep(0.02)
        try:
            yield process
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if f"PPid:\t{pid}\n" in path.read_text():
                pids.append(int(path.parent.name))
    return pids


def events(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a server's log; every line is JSON."""
    return [json.loads(line) for line in log.read_text().splitlines()]
