"""Run an `aural` command in a process of its own and list the modules that it imported."""

from __future__ import annotations

import subprocess
import sys

RUN = """
import sys
from aural.cli.main import main
sys.argv = {words!r}
try: main()
except SystemExit as end: assert not end.code, end.code
print(sorted({modules!r} & set(sys.modules)))
"""


def run_without(words: list[str], modules: set[str]) -> str:
    """Run `aural WORDS...`, which must succeed without importing `modules`, and return what it printed."""
    code = RUN.format(words=["aural", *words], modules=modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
    return done.stdout
