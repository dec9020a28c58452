"""The mapped index gives the hits of the exact index, follows the table, and is never used damaged or outdated."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

pytest.importorskip("numkong")

from aural.search import mapped, mapped_build
from aural.search.check import check
from aural.search.filters import all_of, one_of, parse_filter
from aural.search.index import Hit, Index
from aural.search.lance import LanceStore, schema, table_of, vectors_of
from aural.search.library import Library
from aural.search.mapped import MappedIndex
from aural.search.mapped_files import FOLDER, INDEX, is_readable, read_manifest
from aural.search.mapped_rows import MappedRows
from library_toys import random_filter, random_store
from sketch import DIM, SketchEmbedder

SCRIPT = Path(__file__).with_name("run_mapped.py")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make lists of small tables, and search them under filters that leave 20 rows."""
    monkeypatch.setattr(mapped_build, "LISTS_FROM_ROWS", 100)
    monkeypatch.setattr(mapped_build, "OUTSIDE", 50)
    monkeypatch.setattr(mapped_build, "MOST_OUTSIDE", 50)
    monkeypatch.setattr(mapped, "EXACT_ROWS", 20)


def built(store: LanceStore) -> MappedIndex:
    index = MappedIndex(store.folder, store)
    index.update(create=True)
    return index


def queries(count: int, seed: int) -> list[Any]:
    drawn = default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return list(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def same(actual: list[Hit], want: list[Hit]) -> None:
    """Compare hits: scores within the rounding of float16; rows whose scores are that close may be swapped."""
    assert len(actual) == len(want)
    for one, other in zip(actual, want, strict=True):
        assert abs(one.score - other.score) < 5e-4
    expected = {(hit.file, hit.window): hit for hit in want}
    for one in actual:
        other = expected.get((one.file, one.window))
        if other is None:
            assert one.score < want[-1].score + 5e-4
        else:
            assert (one.path, one.start_s, one.end_s) == (other.path, other.start_s, other.end_s)
            assert (one.duration_s, one.silent, one.tags) == (other.duration_s, other.silent, other.tags)


def agrees(index: Index, store: LanceStore, seed: int, count: int = 40) -> None:
    oracle, draw = store.exact(), random.Random(seed)
    for query in queries(count, seed):
        where = parse_filter(random_filter(draw)) if draw.random() < 0.7 else None
        assert index.count(where) == oracle.count(where)
        same(index.search(query, 10, where), oracle.search(query, 10, where))


def test_the_same_hits_as_the_exact_index(tmp_path: Path, small: None) -> None:
    store = random_store(tmp_path, 300)
    index = built(store).current()
    assert index is not None
    assert isinstance(index, Index)
    assert index.manifest.coded_slots == store.count() > 500
    agrees(index, store, 1, 100)
    files = [f"{i:016x}" for i in range(0, 40, 3)]
    for where in (one_of("file", files), all_of(one_of("file", [*files, "no such id"]), parse_filter("channels = 1"))):
        same(index.search(queries(1, 2)[0], 200, where), store.exact().search(queries(1, 2)[0], 200, where))
    assert index.search(queries(1, 2)[0], 5, one_of("file", ["f" * 16])) == []


def test_a_filter_that_leaves_few_rows_of_near_lists_is_still_answered_completely(tmp_path: Path, small: None) -> None:
    """The rows that meet it are the farthest from the query, so those of the nearest lists do not meet it."""
    store = random_store(tmp_path, 300)
    query = queries(1, 3)[0]
    far = [hit.file for hit in store.exact().search(query, 10_000)][-60:]
    where = parse_filter(f"file in ({', '.join(repr(file) for file in dict.fromkeys(far[:40]))})")
    index = built(store).current()
    assert index is not None
    assert where.files is None
    same(index.search(query, 10, where), store.exact().search(query, 10, where))


def test_the_index_follows_every_change_of_the_table(tmp_path: Path, small: None) -> None:
    store = random_store(tmp_path, 200)
    index = built(store)
    files = [f"{i:016x}" for i in range(200)]
    first = store.rows(schema(DIM).names, one_of("file", files[:1]))
    tags = {"file": files[3:6], "tags": [["new"]] * 3}

    def add(number: int, count: int) -> None:
        row = first.drop_columns("vector").to_pylist()[0]
        rows = [row | {"file": f"{number + i:016x}"} for i in range(count)]
        store.append(table_of(rows, np.stack(queries(count, number)), DIM))

    import pyarrow as pa

    changes = (
        lambda: store.remove(files[10:20]),
        lambda: store.replace(files[:2], first),
        lambda: store.revise(pa.table(tags, schema=pa.schema([schema(DIM).field(name) for name in tags]))),
        lambda: add(1000, 5),
        store.compact,
        lambda: add(2000, 80),
        lambda: store.remove(files[20:120]),
    )
    for number, change in enumerate(changes):
        before = read_manifest(store.folder / FOLDER)
        change()
        assert index.current() is None, "answers from before the change"
        index.update()
        snapshot = index.current()
        assert snapshot is not None
        assert len(snapshot.rows) == store.count()
        agrees(snapshot, store, 10 + number, 20)
        after = snapshot.manifest
        assert before is not None
        if number in (2, 4):  # no new vector
            assert (after.vectors, after.slots, after.codes) == (before.vectors, before.slots, before.codes)
        if number == 5:
            assert after.codes != before.codes
            assert after.vectors == before.vectors
        named = {*after.files, INDEX}
        assert {path.name for path in (store.folder / FOLDER).iterdir()} == named
    assert after.vectors != before.vectors  # more than a third of the vectors belonged to deleted rows
    assert after.slots == store.count()


def test_filters_give_the_same_rows_on_mapped_columns(tmp_path: Path) -> None:
    store = random_store(tmp_path, 150)
    rows, oracle, draw = MappedRows(mapped_table(store), store.count()), store.exact(), random.Random(2)
    some = 0
    texts = [
        "name ilike 'A_.WAV'",
        "name < 'b'",
        "path ilike '%K%'",
        "name in ('a1.wav', 'B2.wav')",
        "not tags has 'rain'",
    ]
    texts += [r"path like '%\%%'", r"name like 'a\_b%'", r"name like '\a%'", "path ilike 'é%'", "path like '%'"]
    for text in [*texts, *(random_filter(draw) for _ in range(200))]:
        where = parse_filter(text)
        mask = rows.mask(where)
        assert (mask.dtype, int(mask.sum())) == (np.dtype(bool), oracle.count(where)), text
        files = {hit.file for hit in oracle.search(queries(1, 1)[0], 10_000, where)}
        assert {hit.file for hit in rows.hits(np.flatnonzero(mask), np.zeros(int(mask.sum()), np.float32))} == files
        some += 0 < mask.sum() < len(mask)
    assert some > 100


def mapped_table(store: LanceStore) -> Path:
    """Return the file of metadata of a store's new mapped index."""
    index = built(store).current()
    assert index is not None
    return store.folder / FOLDER / index.manifest.table


def test_a_small_library_is_compared_exactly(tmp_path: Path) -> None:
    store = random_store(tmp_path, 300)
    index = built(store).current()
    assert index is not None
    assert (index.manifest.dtype, index.manifest.codes) == ("float32", None)
    oracle, draw = store.exact(), random.Random(9)
    for query in queries(60, 9):
        where = parse_filter(random_filter(draw)) if draw.random() < 0.5 else None
        actual, want = index.search(query, 300, where), oracle.search(query, 300, where)
        assert [(hit.file, hit.window) for hit in actual] == [(hit.file, hit.window) for hit in want]
        assert [hit.score for hit in actual] == pytest.approx([hit.score for hit in want], abs=2e-6)


def test_a_small_library_becomes_a_large_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = random_store(tmp_path, 100)
    index = built(store)
    monkeypatch.setattr(mapped_build, "LISTS_FROM_ROWS", 100)
    store.remove([f"{0:016x}"])
    index.update()
    snapshot = index.current()
    assert snapshot is not None
    assert snapshot.manifest.dtype == "float16"
    assert snapshot.manifest.coded_slots == store.count()
    agrees(snapshot, store, 1)
    store.remove([f"{i:016x}" for i in range(90)])
    index.update()
    snapshot = index.current()
    assert snapshot is not None
    assert (snapshot.manifest.dtype, snapshot.manifest.codes) == ("float32", None)
    agrees(snapshot, store, 2)


def test_few_lists_hold_most_of_the_nearest_rows(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in 40 clusters: a tenth of the lists is enough. The exact answer follows from all lists."""
    monkeypatch.setattr(mapped, "SEARCHED_ROWS", 1)
    store, draw = random_store(tmp_path, 400), default_rng(6)
    rows = store.rows([name for name in store.columns if name != "vector"]).to_pylist()
    centers = draw.standard_normal((40, DIM))
    vectors = (centers[draw.integers(0, 40, len(rows))] + 0.3 * draw.standard_normal((len(rows), DIM))).astype("f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store.overwrite(table_of(rows, vectors, DIM))
    index = built(store).current()
    assert index is not None
    count, oracle = round(4 * len(rows) ** 0.5), store.exact()
    recalls: dict[int, list[float]] = {count // 10: [], count: []}
    for center in centers.astype(np.float32):
        want = {(hit.file, hit.window) for hit in oracle.search(center, 10)}
        for lists, recall in recalls.items():
            hits = index.search(center, 10, lists=lists)
            recall.append(len({(hit.file, hit.window) for hit in hits} & want) / 10)
    assert np.mean(recalls[count // 10]) > 0.9
    assert np.mean(recalls[count]) > 0.995


@pytest.mark.parametrize("damage", ["bit", "cut", "gone", "folder"])
def test_damaged_files_are_noticed_and_written_again(tmp_path: Path, small: None, damage: str) -> None:
    store = random_store(tmp_path, 100)
    place = store.folder / FOLDER
    for name in [path.name for path in (built(store), place)[1].iterdir()]:
        path = place / name
        if damage == "bit":
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 16
            path.write_bytes(content)
        elif damage == "cut":
            os.truncate(path, path.stat().st_size - 3)
        else:
            path.unlink()
            if damage == "folder":
                path.mkdir()
        assert MappedIndex(store.folder, store).current() is None, name
        assert is_readable(place) == (damage == "gone" and name == INDEX), name
        again = MappedIndex(store.folder, store)
        again.update(create=True)
        snapshot = again.current()
        assert snapshot is not None, name
        agrees(snapshot, store, 3, 3)


def test_a_library_builds_uses_and_repairs_its_index(editable: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = SketchEmbedder()
    query = embedder.embed_text(["rain"])[0]
    assert editable.mapped.current() is None
    monkeypatch.setattr(mapped_build, "OUTSIDE", 10)
    with editable.writing():
        editable.mapped.update(create=True)
    assert editable.index() is editable.mapped.current()
    same(editable.search(query, 8, words=["00"]), editable.search(query, 8, words=["00"], exact=True))
    name = next(iter(editable.files()))
    Path(name).unlink()
    assert [one.status for one in editable.update(embedder)].count("removed") == 1
    assert editable.index() is editable.mapped.current()
    assert name not in [hit.path for hit in editable.search(query, 50)]
    assert check(editable).problems == []
    vectors = next((editable.folder / FOLDER).glob("vectors-*"))
    vectors.write_bytes(vectors.read_bytes()[:-9])
    assert any(problem.startswith("mapped: ") for problem in check(editable).problems)
    same(editable.search(query, 3), Library(editable.root).search(query, 3))


def test_a_search_needs_no_lancedb(editable: Library) -> None:
    with editable.writing():
        editable.mapped.update(create=True)
    editable.words.update()
    query = SketchEmbedder().embed_text(["rain"])[0].tolist()
    program = f"""
import sys, numpy
from aural.search.library import Library
library = Library({str(editable.root)!r})
hits = library.search(numpy.float32({query}), 3, library.filter("duration < 20"), words=["03"])
print("lancedb" in sys.modules, [hit.path for hit in hits])
print(len(library.files()), "lancedb" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    hits = editable.search(np.float32(query), 3, parse_filter("duration < 20"), words=["03"], exact=True)
    assert run.stdout.splitlines() == [f"False {[hit.path for hit in hits]}", f"{len(editable.files())} True"], (
        run.stderr
    )


@pytest.mark.parametrize("turns", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_while_it_is_written(tmp_path: Path, turns: int) -> None:
    """A process that appends rows and writes the index is killed; every answer is that of the exact index."""
    store, draw, killed = random_store(tmp_path, 100), random.Random(4), 0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for turn in range(turns):
        command = [sys.executable, str(SCRIPT), str(tmp_path), str(turn)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=environment, **pipes) as run:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n", run.communicate()[1]
            time.sleep(draw.uniform(0, 0.6))
            run.kill()
            _, err = run.communicate(timeout=60)
        assert "Error" not in err, err
        killed += run.returncode != 0
        snapshot = MappedIndex(tmp_path, store).current()
        agrees(snapshot or store, store, turn, 3)
        index = MappedIndex(tmp_path, store)
        index.update(create=True)
        snapshot = index.current()
        assert snapshot is not None
        agrees(snapshot, store, turn, 3)
        assert vectors_of(store.rows(["vector"]), DIM).shape[0] == len(snapshot.rows)
    assert killed > turns // 2
