"""Answer `aural search` through a background process that keeps the model loaded, for `--warm` or AURAL_WARM.

The process listens on a Unix socket in a folder that only its user can open. It runs the same command with the same
arguments, folder and variables, and returns what the command prints, so its answers are those of a new process: the
library is opened for each request. It ends after some idle minutes. Another version, installation or environment has
another socket. This module imports nothing heavy: without a running process, a command loses a few milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aural

IDLE_VARIABLE: Final = "AURAL_WARM"
"""Idle minutes after which the process ends; 0: none is used or started."""
IDLE_MINUTES: Final = 5.0
CONNECT_S: Final = 0.5
ANSWER_S: Final = 120.0
PASSED: Final = ("AURAL_", "OMP_", "CUDA_", "HF_", "PYTHONPATH", "LANG", "LC_", "COLUMNS")
"""Beginnings of the names of variables that a command may read."""


def idle_minutes(arguments: Sequence[str]) -> float:
    """Return the idle time in minutes that the arguments or `IDLE_VARIABLE` ask for; 0 if no process is wanted."""
    if arguments[:1] != ["search"] or not hasattr(socket, "AF_UNIX"):
        return 0.0
    if "--no-warm" in arguments or not {"-i", "--interactive", "--help", "-h"}.isdisjoint(arguments):
        return 0.0
    stated = 0.0
    with suppress(ValueError):
        stated = float(os.environ.get(IDLE_VARIABLE) or 0)
    stated = stated if 0 < stated <= 24 * 60 else 0.0
    return stated or (IDLE_MINUTES if "--warm" in arguments else 0.0)


def environment() -> dict[str, str]:
    """Return the variables that a command may read, except the one that asks for the process."""
    passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
    passed.pop(IDLE_VARIABLE, None)
    return passed


def socket_path(variables: Mapping[str, str]) -> Path | None:
    """Return the place of the socket for this version, installation and environment; None if no folder is safe."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "aural" if runtime else Path.home() / ".cache" / "aural" / "run"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except (OSError, RuntimeError):
        return None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        return None
    kept = {name: value for name, value in variables.items() if name not in ("AURAL_LIBRARY", "COLUMNS")}
    identity = [aural.__version__, aural.__file__, str(_newest_source()), sys.executable, sorted(kept.items())]
    return folder / f"search-{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}.sock"


def _newest_source() -> int:
    """Return when the package's folders changed last, in nanoseconds, so that an update has another socket."""
    package = Path(aural.__file__).parent
    return max(path.stat().st_mtime_ns for path in (package, *package.glob("*/"), *package.glob("*/*.py")))


def answered(arguments: Sequence[str]) -> int | None:
    """Have a running process answer, print its answer, and return the exit code; None if there is no process."""
    variables = environment()
    path = socket_path(variables)
    if path is None:
        return None
    request = {"arguments": list(arguments), "folder": os.getcwd(), "variables": variables}
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_S)
            connection.connect(str(path))
            if not is_own(connection):
                return None
            connection.settimeout(ANSWER_S)
            connection.sendall(json.dumps(request).encode() + b"\n")
            reply = read_line(connection)
    except (OSError, ValueError):
        return None
    if reply is None:
        return None
    sys.stdout.write(reply["out"])
    sys.stdout.flush()
    sys.stderr.write(reply["err"])
    return int(reply["code"])


def start(arguments: Sequence[str], minutes: float) -> None:
    """Start a process that will answer such commands; it ends itself. A failure to start is not reported."""
    path = socket_path(environment())
    if path is None:
        return
    command = [sys.executable, "-m", "aural.cli.warm_server", str(path), str(minutes), json.dumps(list(arguments))]
    nothing: Any = subprocess.DEVNULL
    with suppress(OSError):
        subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)


def is_own(connection: socket.socket) -> bool:
    """Return whether the process at the other end has the same user; True where the system does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(peer[4:8], sys.byteorder) == os.getuid()


def read_line(connection: socket.socket) -> dict[str, Any] | None:
    """Return the object of one line of JSON; None if the other end closed before."""
    parts: list[bytes] = []
    while not parts or not parts[-1].endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            return None
        parts.append(part)
    content: dict[str, Any] = json.loads(b"".join(parts))
    return content
