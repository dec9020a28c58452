"""Full text over names, folders and tags, and its fusion with vectors."""

from __future__ import annotations

import math
import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aural.core.vectors import unit_rows
from aural.search.analyze import analyze
from aural.search.filters import COLUMNS, FACT_COLUMNS, parse_filter
from aural.search.fuse import FuseConfig, fused, value
from aural.search.index import Hit
from aural.search.lance import LanceStore, table_of
from aural.search.words import FILE, WordIndex, indexed_texts, query_of, split_name
from library_toys import named_library


def row(path: str, tags: tuple[str, ...] = (), number: int = 0) -> dict[str, Any]:
    """Return a row of the table with a path and tags; every other column has a default of its kind."""
    defaults: dict[str, Any] = {"text": "", "number": 0, "truth": False, "list": []}
    values = {name: defaults[kind] for name, kind in COLUMNS.items()}
    return values | {
        "file": f"{number:032x}",
        "path": path,
        "end": 1.0,
        "duration": 1.0,
        "tags": list(tags),
        "mtime_ns": 0,
    }


PATHS = ("/fx/weather/RainOnTinRoof_02.wav", "/fx/ui/click3.wav", "/fx/Water/044_River.wav", "/fx/rain/steps.wav")


def store_of(
    folder: Path, paths: tuple[str, ...] = PATHS, tags: dict[int, tuple[str, ...]] | None = None
) -> LanceStore:
    store = LanceStore(folder, 4, create=True)
    rows = [row(path, (tags or {}).get(n, ()), n) for n, path in enumerate(paths)]
    vectors = unit_rows(np.random.default_rng(0).standard_normal((len(paths), 4)))
    store.append(table_of(rows, vectors, 4))
    return store


def names(scores: dict[str, float]) -> list[int]:
    return [int(file, 16) for file in scores]


def test_names_are_split_into_words() -> None:
    split = {"RainOnTinRoof_02": "Rain On Tin Roof 02", "044_Tremolo_Strings": "044 Tremolo Strings", "__": ""}
    split |= {"UIClick3b": "UI Click 3 b", "Türöffnen": "Türöffnen", "dog-bark": "dog-bark"}
    assert {name: split_name(name) for name in split} == split


def test_what_is_indexed_of_a_path() -> None:
    expected = ("Rain", "FX Weather Heavy", "wet, loud")
    assert indexed_texts("/disk/FX/Weather/Heavy/Rain.wav", ["wet, loud"]) == expected
    assert indexed_texts("s3://bucket/a/RainDrop.tar!inner/x.wav", []) == ("x", "bucket a Rain Drop.tar!inner", "")


def test_stop_words_and_syntax_of_a_query_are_ignored() -> None:
    assert query_of(["the sound of the"]) == ""
    assert query_of(['rain" OR name:*', "Rain"]) == '"rain" OR "name"'


def test_files_are_found_by_name_folder_and_tag(tmp_path: Path) -> None:
    index = WordIndex(tmp_path, store_of(tmp_path, tags={1: ("button",)}))
    assert names(index.search(["rain on a tin roof"], 10)) == [0, 3]  # by name before by folder
    assert names(index.search(["rivers"], 10)) == [2]  # stemmed
    assert names(index.search(["buttons"], 10)) == [1]
    assert index.search(["the"], 10) == {}
    assert names(index.search(["rain"], 1)) == [0]


def test_bm25_by_hand(tmp_path: Path) -> None:
    """One column, all documents of one word: idf * (k1 + 1) / (1 + k1), with k1 = 1.2 and SQLite's idf."""
    paths = ("/rain.wav", "/wind.wav", "/fire.wav", "/rain.mp3", "/bell.wav")
    scores = WordIndex(tmp_path, store_of(tmp_path, paths)).search(["wind"], 5)
    assert list(scores.values()) == pytest.approx([math.log((5 - 1 + 0.5) / (1 + 0.5))])


def test_the_index_follows_the_table(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    index = WordIndex(tmp_path, store)
    assert names(index.search(["thunder"], 5)) == []
    store.append(table_of([row("/fx/Thunder.wav", (), 9)], unit_rows(np.ones((1, 4))), 4))
    assert names(index.search(["thunder"], 5)) == [9]
    store.remove([f"{9:032x}"])
    assert names(index.search(["thunder"], 5)) == []
    other = WordIndex(tmp_path, LanceStore(tmp_path, 4))
    assert names(other.search(["river"], 5)) == [2]


@pytest.mark.parametrize("damage", [b"", b"not a database at all " * 300])
def test_a_damaged_index_is_built_again(tmp_path: Path, damage: bytes) -> None:
    index = WordIndex(tmp_path, store_of(tmp_path))
    index.update()
    (tmp_path / FILE).write_bytes(damage)
    assert names(index.search(["river"], 5)) == [2]
    assert names(WordIndex(tmp_path, index.store).search(["river"], 5)) == [2]


def test_an_index_of_another_version_is_built_again(tmp_path: Path) -> None:
    index = WordIndex(tmp_path, store_of(tmp_path))
    index.update()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE state SET version = 0")
        connection.execute("DELETE FROM docs")
    assert names(index.search(["river"], 5)) == [2]


def test_where_the_folder_cannot_be_written_memory_holds_the_index(tmp_path: Path) -> None:
    store = store_of(tmp_path / "library")
    (tmp_path / "library" / FILE).mkdir()  # SQLite cannot open a folder
    index = WordIndex(tmp_path / "library", store)
    assert names(index.search(["river"], 5)) == [2]
    assert os.listdir(tmp_path / "library" / FILE) == []


def hit(file: str, score: float) -> Hit:
    return Hit(file, f"/{file}.wav", 0, 0.0, 1.0, 1.0, score)


def test_fusion_by_hand() -> None:
    config = FuseConfig(weight=0.5, half=4.0, candidates=2)
    hits = {"a": 0.6, "b": 0.5, "c": 0.1}

    def search(query: Any, rows: int, where: Any) -> list[Hit]:
        names = [n for n in hits if where is None or "'" + n + "'" in where.sql]
        return [hit(n, hits[n]) for n in names][:rows]

    ranked = fused(search, np.ones(2, np.float32), lambda top: {"c": 12.0, "b": 1.0}, 3, config=config)
    assert [one.file for one in ranked] == ["a", "b", "c"]  # 0.6, 0.5 + 0.5 / 5, 0.1 + 0.5 * 12 / 16
    assert [value(one, config) for one in ranked] == pytest.approx([0.6, 0.6, 0.475])
    ranked = fused(search, np.ones(2, np.float32), lambda top: {"c": 1000.0}, 1, config=config)
    assert (ranked[0].file, ranked[0].score, ranked[0].word_score) == ("a", 0.6, 0.0)


def test_words_bring_files_that_the_vectors_miss_and_filters_hold(tmp_path: Path) -> None:
    paths = (*(f"/noise/{n}.wav" for n in range(300)), "/x/Glockenspiel.wav")
    store = store_of(tmp_path, paths)
    vectors = store.exact().vectors
    query = -unit_rows(vectors[300])  # the file is the last one by its vector
    index = WordIndex(tmp_path, store)

    def run(where: str | None, store_search: Any) -> list[Hit]:
        condition = parse_filter(where) if where else None
        return fused(store_search, query, lambda top: index.search(["glockenspiel"], top), 301, condition)

    hits = {h.path: h for h in run(None, store.search)}
    assert hits["/x/Glockenspiel.wav"].score == pytest.approx(-1, abs=1e-5)
    assert hits["/x/Glockenspiel.wav"].word_score > 0
    assert all("noise" in h.path for h in run("path like '%noise%'", store.search))
    exact = store.exact()
    assert [h.file for h in run(None, exact.search)] == [h.file for h in run(None, store.search)]


def test_embedded_metadata_is_indexed(tmp_path: Path) -> None:
    """What `analyze` reads from a file is searched, and found again after it changed."""
    library = named_library(tmp_path)
    assert library.words.search(["field recording"], 5) == {}
    list(analyze(library))
    by_path = {one.file: Path(path).name for path, one in library.files().items()}
    assert [by_path[file] for file in library.words.search(["field recording"], 5)] == ["plain.wav"]
    content = library.files()[str(tmp_path / "sounds" / "click.flac")].hash
    columns = library.facts.columns()
    at = list(columns["hash"]).index(content)
    values = {name: columns[name][at] for name in FACT_COLUMNS}
    library.facts.write({content: values | {"description": "a field mouse"}})
    assert {by_path[file] for file in library.words.search(["field"], 5)} == {"plain.wav", "click.flac"}
