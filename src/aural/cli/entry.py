"""The entry point of `aural`: a running background process answers a search, otherwise this process does."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    arguments = sys.argv[1:]
    if arguments[:1] != ["search"]:
        from aural.cli.main import main as run

        run()
        return
    from aural.cli import warm

    minutes = warm.idle_minutes(arguments)
    code = warm.answered(arguments) if minutes else None
    if code is not None:
        sys.exit(code)
    from aural.cli.main import main as run

    try:
        run()
    except SystemExit as ended:
        if minutes and not ended.code:
            warm.start(arguments, minutes)
        raise
    if minutes:
        warm.start(arguments, minutes)
