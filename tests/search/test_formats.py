"""Libraries that earlier versions wrote open, are searched, extended, checked and repaired.

`tests/golden/formats/library-1.tar.gz` was written before there were checksums, with `SketchEmbedder`, sounds of
`write_sound` in /sounds, windows of 1 s, and one deleted row.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from aural.core.errors import DataError
from aural.search.check import check
from aural.search.library import Library
from aural.search.repair import repair
from library_toys import write_sound
from sketch import SketchEmbedder

STORED = Path(__file__).parents[1] / "golden" / "formats" / "library-1.tar.gz"


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    with tarfile.open(STORED) as tar:
        tar.extractall(tmp_path)
    return tmp_path / "library-1"


def test_a_library_of_format_1_is_searched_and_extended(earlier: Path, tmp_path: Path) -> None:
    library = Library(earlier)
    assert (library.card.aural, library.card.digest, "digest" in library.store.columns) == (1, "", False)
    sound = write_sound(tmp_path / "2.wav", 2.5, 2)
    query = SketchEmbedder().embed_audio([sound])[0]
    assert library.search(query, 1)[0].path == "/sounds/2.wav"
    assert sorted(library.files()) == ["/sounds/0.wav", "/sounds/1.wav", "/sounds/2.wav"]
    report = check(earlier)
    assert (report.problems, report.windows) == ([], 6)
    assert "safety/checksums.json: is missing; `aural library repair` writes it" in report.notes
    statuses = [result.status for result in library.add([sound], SketchEmbedder())]
    assert statuses == ["copied"]  # the same bytes as /sounds/2.wav
    report = check(earlier)
    assert (report.problems, report.windows) == ([], 9)
    assert report.files_checked >= 3


def test_a_repair_of_format_1_keeps_the_sound_rows(earlier: Path) -> None:
    library = Library(earlier)
    before = {path: library.vector(one.file) for path, one in library.files().items()}
    stored = library.windows(library.files()["/sounds/0.wav"].file)["vector"][0].as_py()
    data = next((earlier / "sounds.lance" / "data").iterdir())
    content = bytearray(data.read_bytes())
    content[content.find(np.array(stored, "<f4").tobytes()) + 3] ^= 0x40  # the exponent of a number
    data.write_bytes(content)
    assert check(earlier).problems == ["/sounds/0.wav: the vector of a window is not of length 1"]
    report = repair(earlier, lambda model: SketchEmbedder())
    assert (report.files_kept, report.windows_kept, report.embedded) == (2, 5, [])
    assert report.lost == ["/sounds/0.wav: a window's vector cannot be read, and the sound does not exist any more"]
    repaired = Library(earlier)
    assert "digest" in repaired.store.columns
    for path, one in repaired.files().items():
        np.testing.assert_array_equal(repaired.vector(one.file), before[path])
    assert (sorted(repaired.files()), check(earlier).problems) == (["/sounds/1.wav", "/sounds/2.wav"], [])


def test_a_missing_data_file_of_format_1_is_noticed_when_it_is_opened(earlier: Path) -> None:
    next((earlier / "sounds.lance" / "data").iterdir()).unlink()
    with pytest.raises(DataError, match=r"is damaged .*is missing"):
        Library(earlier)


def test_a_newer_format_is_refused(earlier: Path) -> None:
    card = json.loads((earlier / "library.json").read_text())
    (earlier / "library.json").write_text(json.dumps(card | {"aural": 3}))
    for use in (Library, check, lambda folder: repair(folder, lambda model: SketchEmbedder())):
        with pytest.raises(DataError, match=r"library\.json: has format 3, this version reads up to 2; update aural$"):
            use(earlier)
