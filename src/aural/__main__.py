"""`python -m aural` is the `aural` command."""

from aural.cli.entry import main

main()
