"""Facts of the sounds of a library: filters and facets by them, tags written back, damage."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mutagen")
pytest.importorskip("pyloudnorm")

from aural.audio.metadata import read_metadata, write_tags
from aural.core.errors import AudioError, ConfigError
from aural.search import analyze as module
from aural.search.analyze import analyze, write_file_tags
from aural.search.check import check
from aural.search.facets import facets
from aural.search.facts import Facts
from aural.search.filters import FACT_COLUMNS, parse_filter
from aural.search.folder import UnusableLibraryError
from aural.search.library import Library
from aural.search.notebook import Marks
from aural.search.select import select
from library_toys import named_library
from sketch import SketchEmbedder


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return named_library(tmp_path)


def names(library: Library, where: str) -> list[str]:
    condition = library.filter(where)
    oracle = library.store.exact()
    in_memory = {hit.file for hit in oracle.search(oracle.vectors[0], 99, condition)}
    files = select(library, [], condition)
    assert {one.file for one in files} == in_memory
    return [Path(one.path).stem.partition("_")[0] for one in files]


def test_filters_and_facets(library: Library) -> None:
    assert names(library, "lufs > -100") == []
    assert [one.status for one in analyze(library)] == ["added"] * 5
    assert list(analyze(library)) == []
    assert names(library, "category = 'RAIN'") == ["RAINGlas", "RAINMetl"]
    assert names(library, "lufs < -25 and duration > 0.5") == ["RAINGlas", "RAINMetl"]
    assert names(library, "peak_db between -21 and -19 or genre = 'field'") == ["DOORWood", "plain"]
    assert names(library, "brightness_hz > 1900") == ["plain"]
    assert names(library, "not loop") == ["click"]
    assert names(library, "loop and creator in ('XY', 'Z')") == ["DOORWood"]
    assert names(library, "artist like 'm%' and lufs in (1, 2)") == []
    assert names(library, "lufs != 3") == ["DOORWood", "RAINGlas", "RAINMetl", "plain"]  # the click is too short
    counts = facets(library)
    assert counts["category"] == {"RAIN": 2, "DOORS": 1}
    assert (counts["genre"], counts["loop"]) == ({"field": 1}, {"true": 4, "false": 1})
    assert counts["subcategory"] == {"METAL": 1, "GLASS": 1, "WOOD": 1}
    assert counts["duration"] == {"..1": 1, "1..5": 4}
    assert sum(counts["brightness_hz"].values()) == 5
    for low_high, count in counts["brightness_hz"].items():
        low, high = (edge or other for edge, other in zip(low_high.split(".."), ("0", "1e9"), strict=True))
        assert len(names(library, f"brightness_hz >= {low} and brightness_hz < {high}")) == count
    assert sum(counts["lufs"].values()) == 4  # the click is too short
    assert facets(library, library.filter("lufs > -15"))["category"] == {}
    assert check(library).problems == []


def test_a_filter_needs_the_facts_of_a_library() -> None:
    with pytest.raises(ConfigError, match=r"Library\.filter"):
        parse_filter("lufs < -20")


def test_values_of_the_columns(library: Library) -> None:
    list(analyze(library))
    columns = library.facts.columns()
    assert columns.keys() == {"hash", *FACT_COLUMNS}
    lufs = sorted(value for value in columns["lufs"] if np.isfinite(value))
    np.testing.assert_allclose(np.diff(lufs), 10, atol=1.6)  # loudness rises with the frequency, 500 to 2000 Hz
    peaks = {path.rpartition("/")[2]: one.hash for path, one in library.files().items()}
    at = list(columns["hash"]).index(peaks["plain.wav"])
    assert columns["peak_db"][at] == pytest.approx(-10, abs=0.1)
    assert columns["brightness_hz"][at] == pytest.approx(2000, abs=5)


def test_an_interrupted_analysis_continues(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES_PER_COMMIT", 2)
    results = analyze(library)
    next(results)
    results.close()
    assert len(library.facts.columns()["hash"]) == 2
    assert len(list(analyze(Library(library.root)))) == 3


@pytest.mark.slow
def test_two_processes_give_the_same_facts(library: Library) -> None:
    damaged = next(path for path in library.files() if path.endswith("click.flac"))
    Path(damaged).write_bytes(b"no sound")
    one = list(analyze(library))
    before = {name: column.tolist() for name, column in library.facts.columns().items()}
    two = list(analyze(library, again=True, jobs=2))
    assert [(done.path, done.status, str(done.error)) for done in two] == [
        (done.path, done.status, str(done.error)) for done in one
    ]
    assert [done.status for done in two].count("skipped") == 1
    np.testing.assert_equal({name: column.tolist() for name, column in library.facts.columns().items()}, before)


def test_tags_are_written_back(library: Library) -> None:
    list(analyze(library))
    files = select(library, ["RAIN*"])
    library.notebook.rate([files[0].hash], 4)
    before = {row["file"]: row["vector"] for row in library.store.rows(["file", "vector"]).to_pylist()}
    done = list(write_file_tags(library, files, lambda file: {"genre": "rain", "title": Path(file.path).stem}))
    assert [one.status for one in done] == ["changed", "changed"]
    assert read_metadata(files[0].path).genre == "rain"
    stored = library.files()[files[0].path]
    assert stored.hash != files[0].hash
    assert library.notebook.marks([stored.hash]) == {stored.hash: Marks(stars=4)}
    assert {row["file"]: row["vector"] for row in library.store.rows(["file", "vector"]).to_pylist()} == before
    assert names(library, "genre = 'rain' and category = 'RAIN'") == ["RAINGlas", "RAINMetl"]
    embedder = SketchEmbedder()
    assert (list(library.update(embedder)), embedder.sounds) == ([], 1)  # the reference sound
    assert check(library, hashes=True).problems == []


def test_a_full_disk_skips_the_file_with_its_reason(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    from mutagen import MutagenError
    from mutagen.wave import WAVE

    def refuse(self: WAVE) -> None:
        raise MutagenError(OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(WAVE, "save", refuse)
    path = next(path for path in library.files() if path.endswith(".wav"))
    before = Path(path).read_bytes()
    with pytest.raises(AudioError, match=r"\.wav: cannot be written \(No space left on device\); "):
        write_tags(path, {"genre": "rain"})
    assert Path(path).read_bytes() == before


def test_a_file_that_changed_is_skipped(library: Library) -> None:
    (file,) = select(library, ["plain.wav*"])
    write_tags(file.path, {"genre": "other"})
    (result,) = write_file_tags(library, [file], lambda _: {"genre": "x"})
    assert "run `aural library update` first" in str(result.error)
    assert read_metadata(file.path).genre == "other"


def test_an_analysis_killed_before_its_first_write_has_no_facts(library: Library) -> None:
    library.facts.path.touch()
    assert len(library.facts.columns()["hash"]) == 0
    assert [one.status for one in analyze(library)] == ["added"] * 5


def test_damaged_facts_are_deleted(library: Library) -> None:
    list(analyze(library))
    path = library.facts.path
    path.write_bytes(path.read_bytes()[:4096] + b"x" * 4096)
    with pytest.raises(UnusableLibraryError, match="aural library analyze"):
        Facts(library.root).columns()
    assert not path.exists()
    assert len(list(analyze(Library(library.root)))) == 5
