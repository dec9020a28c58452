"""`aural library analyze`, `facets` and `write-tags`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("lancedb")
pytest.importorskip("mutagen")
pytest.importorskip("pyloudnorm")

from aural.audio.metadata import read_metadata
from library_toys import named_library


def test_commands(
    run_aural: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = named_library(tmp_path)
    monkeypatch.setenv("AURAL_LIBRARY", str(library.root))
    assert run_aural("library", "analyze")[::2] == (0, "5 sounds\n")
    assert run_aural("library", "analyze")[::2] == (0, "")
    assert "      2  category = RAIN\n" in run_aural("library", "facets")[1]
    first = json.loads(run_aural("library", "facets", "--json", "--where", "lufs > -15")[1].splitlines()[0])
    assert first == {"facet": "tags", "counts": {}}
    assert len(run_aural("library", "list", "--where", "category = 'RAIN'")[1].splitlines()) == 2
    path = next(path for path in library.files() if path.endswith("click.flac"))
    library.notebook.write_note([library.files()[path].hash], "too loud")
    code, _, err = run_aural("library", "write-tags", path, "--description", "{note}: {name}", "--genre", "")
    assert (code, err.splitlines()[0]) == (0, "tags of 1 files written")
    assert read_metadata(path).description == "too loud: click"
    assert run_aural("library", "write-tags", path)[0] == 2
