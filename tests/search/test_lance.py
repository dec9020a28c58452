"""The table and the exact index give the same hits for random queries and filters, before and after every commit."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from aural.core.errors import ConfigError, DataError
from aural.search.checksums import COPIES, newest_version
from aural.search.filters import COLUMNS, one_of, parse_filter
from aural.search.folder import TABLE_FOLDER
from aural.search.index import ExactIndex, Hit, Index
from aural.search.lance import LanceStore, schema, vectors_of
from library_toys import random_filter, random_store
from sketch import DIM


def same(actual: list[Hit], want: list[Hit]) -> None:
    """Compare hits: equal rows in equal order and scores within rounding; rows with equal scores may be swapped."""
    assert len(actual) == len(want)
    np.testing.assert_allclose([hit.score for hit in actual], [hit.score for hit in want], atol=2e-6)
    for one, other in zip(actual, want, strict=True):
        if (one.file, one.window) != (other.file, other.window):
            assert abs(one.score - other.score) < 2e-6
        else:
            assert one.path == other.path
            assert (one.start_s, one.end_s, one.duration_s) == (other.start_s, other.end_s, other.duration_s)
            assert (one.silent, one.tags) == (other.silent, other.tags)


def queries(count: int, seed: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    drawn = default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return list(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def test_exact_index_and_table_agree_on_random_queries_with_filters(tmp_path: Path) -> None:
    store = random_store(tmp_path, 300)
    oracle, draw = store.exact(), random.Random(1)
    assert isinstance(store, Index)
    assert isinstance(oracle, Index)
    some = 0
    for query in queries(200, 1):
        where = parse_filter(random_filter(draw)) if draw.random() < 0.8 else None
        count = oracle.count(where)
        some += 0 < count < oracle.count()
        assert store.count(where) == count
        same(store.search(query, 10, where), oracle.search(query, 10, where))
    assert some > 60


def test_filter_indexes_change_no_answer(tmp_path: Path) -> None:
    store = random_store(tmp_path, 300)
    assert store.optimize(build_from=300)
    assert {"duration", "tags", "silent"} <= {column for index in store.indexes() for column in index}
    row = store.rows(schema(DIM).names, parse_filter("window = 0")).slice(0, 20)
    store.remove(row["file"].to_pylist()[:10])
    store.append(row.slice(0, 5))  # not in the indexes yet
    oracle, draw = store.exact(), random.Random(5)
    for turn in range(2):
        for query in queries(100, 6 + turn):
            where = parse_filter(random_filter(draw))
            assert store.count(where) == oracle.count(where), where.text
            same(store.search(query, 10, where, exact=True), oracle.search(query, 10, where))
        store.compact()


def test_replace_revise_and_remove(tmp_path: Path) -> None:
    store = random_store(tmp_path, 40)
    files = [f"{i:016x}" for i in range(3)]
    before, others = store.count(), store.count(parse_filter(f"file not in ('{files[0]}', '{files[1]}')"))
    one_window = store.rows(schema(DIM).names, parse_filter(f"file = '{files[0]}' and window = 0"))
    version = store.version
    store.replace(files[:2], one_window)  # file 0 shrinks to one window, file 1 has none
    assert store.version == version + 1
    assert store.count() == others + 1 < before
    assert store.count(one_of("file", files[1:2])) == 0
    same(store.search(queries(1, 2)[0], 20), store.exact().search(queries(1, 2)[0], 20))
    store.remove(files)
    assert store.count(one_of("file", files)) == 0


def test_an_approximate_index_finds_nearly_all_and_new_rows_at_once(tmp_path: Path) -> None:
    store = random_store(tmp_path, 800)
    assert store.optimize(build_from=1000)
    assert not store.optimize(build_from=1000)  # it is there
    assert store.stats()["index"] is not None
    oracle = store.exact()
    hits = sum(
        len({(h.file, h.window) for h in store.search(q, 10)} & {(h.file, h.window) for h in oracle.search(q, 10)})
        for q in queries(50, 3)
    )
    assert hits / 500 > 0.9
    for query in queries(5, 4):
        same(store.search(query, 10, exact=True), oracle.search(query, 10))
    row = store.rows(schema(DIM).names, parse_filter("window = 0")).slice(0, 1)
    query = -vectors_of(row, DIM)[0]
    columns = {name: row[name] for name in row.column_names}
    import pyarrow as pa

    columns["file"] = pa.array(["f" * 16])
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(query), DIM)
    store.append(pa.table(columns, schema=row.schema))
    assert store.search(query, 1)[0].file == "f" * 16  # found although it is not indexed yet


def test_copies_of_deleted_lists_leave_no_folder(tmp_path: Path) -> None:
    store = random_store(tmp_path, 40)
    copies = store.folder / COPIES / TABLE_FOLDER
    store.remove([f"{i:016x}" for i in range(20)])  # enough for a compaction to drop the rows
    assert len(list((copies / "_deletions").iterdir())) == 1
    store.compact()
    assert [path.name for path in copies.iterdir()] == ["_versions"]


def test_a_truncated_index_is_taken_back_when_reading_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LanceDB may commit an index whose last bytes the disk refused, and fail when it reads it afterwards."""
    store = random_store(tmp_path, 300)
    store.build_index()
    table, before = store.folder / TABLE_FOLDER, store.version
    present = set(newest_version(store.folder).indexes)
    create = store._table.create_index

    def refused(*arguments: Any, **options: Any) -> None:
        create(*arguments, **options)
        added = next(name for name in newest_version(store.folder).indexes if name not in present)
        path = next((table / added).iterdir())
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        raise RuntimeError("lance error: failed to fill whole buffer")

    with monkeypatch.context() as patch:
        patch.setattr(store._table, "create_index", refused)
        with pytest.raises(DataError, match=r"the disk refused a part of sounds\.lance/_indices/"):
            store.index_filters()
    again = LanceStore(store.folder, DIM)
    assert again.version == before
    again.index_filters()


def test_a_truncated_list_of_deleted_rows_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = random_store(tmp_path, 40)
    before, rows = store.version, store.count()
    delete = store._table.delete

    def refused(where: str) -> None:
        delete(where)
        (path,) = (store.folder / TABLE_FOLDER / "_deletions").iterdir()
        path.write_bytes(b"")

    with monkeypatch.context() as patch:
        patch.setattr(store._table, "delete", refused)
        with pytest.raises(DataError, match=r"the disk refused a part of sounds\.lance/_deletions/"):
            store.remove([f"{1:016x}"])
    again = LanceStore(store.folder, DIM)
    assert (again.version, again.count()) == (before, rows)


def test_refused_rows_leave_no_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_store(tmp_path / "one", 3).rows(schema(DIM).names)
    store = LanceStore(tmp_path / "two", DIM, create=True)
    data = store.folder / TABLE_FOLDER / "data"

    def refused(_: object) -> None:
        data.mkdir()
        raise OSError("No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(store._table, "add", refused)
        with pytest.raises(DataError, match=r"the disk is full|No space left"):
            store.append(rows)
    assert not data.exists()
    store.append(rows)
    assert store.count() == len(rows)


def test_one_optimization_merges_new_rows_with_indexed_ones(tmp_path: Path) -> None:
    store = random_store(tmp_path, 300)
    assert store.optimize(build_from=300)
    row = store.rows(schema(DIM).names, parse_filter("window = 0")).slice(0, 5)
    store.append(row)
    store.optimize(build_from=300)
    first = store.stats()
    assert (first["fragments"], first["unindexed_rows"]) == (1, 0)
    store.optimize(build_from=300)
    second = store.stats()
    assert {name: first[name] for name in ("rows", "fragments")} == {
        name: second[name] for name in ("rows", "fragments")
    }


@pytest.mark.parametrize("query", [np.zeros(DIM), np.full(DIM, np.nan), np.ones(DIM + 1)])
def test_bad_queries_are_refused(tmp_path: Path, query: np.ndarray) -> None:  # type: ignore[type-arg]
    store = random_store(tmp_path, 3)
    for index in (store, store.exact()):
        with pytest.raises(DataError, match="query"):
            index.search(query.astype(np.float32), 5)


def test_a_folder_without_a_table_and_a_wrong_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is damaged .*was not found"):
        LanceStore(tmp_path / "none", DIM)
    with pytest.raises(ConfigError, match="IVF_PQ"):
        random_store(tmp_path, 3).build_index("BEST")
    with pytest.raises(DataError, match="column"):
        ExactIndex(np.zeros((1, DIM), np.float32), {})


def test_a_search_without_a_filter_does_not_copy_the_matrix() -> None:
    rows = 4096
    columns: dict[str, Any] = dict.fromkeys(COLUMNS, np.zeros(rows)) | {"file": np.arange(rows).astype(str)}
    columns["tags"] = np.array([[]] * rows + [None], object)[:rows]
    index = ExactIndex(np.tile(np.eye(1, 512, dtype=np.float32), (rows, 1)), columns)
    query = np.eye(1, 512, dtype=np.float32)[0]
    tracemalloc.start()
    index.search(query, 1)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < rows * 512 * 4 / 4
