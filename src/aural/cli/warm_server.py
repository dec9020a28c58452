"""The background process of `aural search --warm`: `python -m aural.cli.warm_server SOCKET MINUTES ARGUMENTS`.

See `aural.cli.warm`. It answers one request at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aural.cli.warm import IDLE_VARIABLE, PASSED, is_own, read_line

REQUEST_S: Final = 10.0


def serve(path: Path, minutes: float, first: Sequence[str]) -> None:
    """Listen until no request came for `minutes`. Returns at once if another process listens already.

    first: arguments of a search that loads the model before the first request.
    """
    from aural.cli import options

    with path.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        options.keep_models()
        run([*first, "--no-remember"])
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(16)
            listener.settimeout(60 * minutes)
            with contextlib.suppress(TimeoutError):
                while path.exists():
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError, ValueError, KeyError):
                        _answer(connection)
        path.unlink(missing_ok=True)


def _answer(connection: socket.socket) -> None:
    connection.settimeout(REQUEST_S)
    if not is_own(connection):
        return
    request = read_line(connection)
    if request is None:
        return
    os.chdir(request["folder"])
    for name in [name for name in os.environ if name.startswith(PASSED)]:
        del os.environ[name]
    os.environ.update(request["variables"])
    connection.sendall(json.dumps(run(request["arguments"])).encode() + b"\n")
    os.chdir("/")


def run(arguments: Sequence[str]) -> Mapping[str, Any]:
    """Run a command in this process and return what it prints and its exit code."""
    from aural.cli.main import main

    os.environ[IDLE_VARIABLE] = "0"
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["aural", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
    return {"out": out.getvalue(), "err": err.getvalue(), "code": code}


if __name__ == "__main__":
    serve(Path(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3]))
