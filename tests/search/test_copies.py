"""Copies of a sound are known after every change of a library, and are one hit in every search."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from aural.core.errors import WriteError
from aural.search import copies
from aural.search.check import check
from aural.search.copies import NEAR, CopyGroups, CopyIndex
from aural.search.filters import Filter, one_of, parse_filter
from aural.search.index import Hit, best_per_file
from aural.search.lance import LanceStore, schema, table_of
from aural.search.near import Groups
from aural.search.rank import Ranking
from aural.search.remove import remove
from library_toys import add_all, random_filter, random_store, write_sound
from sketch import DIM, SketchEmbedder


def near(vector: Any, cosine: float, seed: int) -> Any:
    """Return a unit vector with this cosine to a unit vector."""
    other = default_rng(seed).standard_normal(DIM)
    other -= (other @ vector) * vector
    return (cosine * vector + (1 - cosine**2) ** 0.5 * other / np.linalg.norm(other)).astype(np.float32)


def table(rows: list[tuple[str, str, float, Any]]) -> Any:
    """Return one window per file: file, hash, duration, vector."""
    fields: dict[str, Any] = dict.fromkeys(schema(DIM).names, "") | {"window": 0, "start": 0.0, "sample_rate": 8000}
    fields |= {"channels": 1, "size": 1, "mtime_ns": 1, "silent": False, "tags": []}
    values = [fields | {"file": f, "path": f"/{f}.wav", "hash": h, "duration": d, "end": d} for f, h, d, _ in rows]
    return table_of(values, np.stack([vector for *_, vector in rows]), DIM)


def partition(groups: CopyGroups) -> set[frozenset[str]]:
    assert all(groups.of_file[file] == group for group, files in groups.files.items() for file in files)
    return {frozenset(files) for files in groups.files.values()}


def names(*groups: str) -> set[frozenset[str]]:
    return {frozenset(f"{letter}" * 16 for letter in group) for group in groups}


def test_what_counts_as_a_copy(tmp_path: Path) -> None:
    x, y, z = np.eye(DIM, dtype=np.float32)[:3]
    rows = [
        ("a", "1", 10.0, x), ("b", "1", 10.0, x),  # the same bytes
        ("c", "2", 10.4, near(x, NEAR + 1e-3, 1)),  # near, 4% longer
        ("d", "3", 10.8, x),  # 8% longer than a, 3.8% longer than c: a copy of a copy
        ("e", "4", 12.0, x),  # too long
        ("f", "5", 10.0, near(x, NEAR - 1e-3, 2)),  # too far
        ("1", "6", 5.0, y), ("2", "7", 5.0, y), ("3", "8", 5.0, z),
    ]  # fmt: skip
    store = LanceStore(tmp_path, DIM, create=True)
    store.append(table([(16 * letter, content, *rest) for letter, content, *rest in rows]))  # type: ignore[misc]
    index = CopyIndex(tmp_path, store)
    assert index.groups() == copies.NO_COPIES  # nothing was written yet
    index.update()
    assert partition(index.groups()) == names("abcd", "12")
    store.remove(["c" * 16])
    index.update()
    assert partition(index.groups()) == names("ab", "12")  # c joined d with the others


def test_updates_give_the_groups_of_a_new_library(tmp_path: Path) -> None:
    draw, random_rows = random.Random(3), default_rng(3)
    centers = random_rows.standard_normal((6, DIM))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    store, index, number, some = LanceStore(tmp_path, DIM, create=True), None, 0, 0
    index = CopyIndex(tmp_path, store)
    for _ in range(25):
        rows = []
        for _ in range(draw.randrange(1, 8)):
            vector = near(centers[draw.randrange(6)], draw.choice([1.0, 0.998, 0.997]), number)
            rows.append((f"{number:016x}", f"{draw.randrange(40)}", draw.choice([1.0, 1.04, 1.08, 2.0]), vector))
            number += 1
        store.append(table(rows))
        if draw.random() < 0.6:
            present = store.rows(["file"])["file"].to_pylist()
            store.remove(draw.sample(present, min(len(present) - 1, 3)))
        index.update()
        shutil.rmtree(tmp_path / "again", ignore_errors=True)
        (tmp_path / "again").mkdir()
        again = CopyIndex(tmp_path / "again", store)
        again.update()
        assert partition(index.groups()) == partition(again.groups())
        some += len(index.groups().files)
    assert some > 50


def test_a_changed_file_leaves_its_group(tmp_path: Path) -> None:
    x, y = np.eye(DIM, dtype=np.float32)[:2]
    store = LanceStore(tmp_path, DIM, create=True)
    store.append(table([("a" * 16, "1", 1.0, x), ("b" * 16, "1", 1.0, x)]))
    index = CopyIndex(tmp_path, store)
    index.update()
    assert partition(index.groups()) == names("ab")
    store.replace(["b" * 16], table([("b" * 16, "2", 1.0, y)]))
    index.update()
    assert partition(index.groups()) == set()


@pytest.mark.parametrize("damage", ["cut", "empty", "folder", "text"])
def test_damaged_groups_are_reported_and_written_again(tmp_path: Path, damage: str) -> None:
    write_sound(tmp_path / "sounds" / "a.wav", 1.0, 1)
    shutil.copy(tmp_path / "sounds" / "a.wav", tmp_path / "sounds" / "b.wav")
    library = add_all(tmp_path)
    path, before = library.copies.path, partition(library.copies.groups())
    assert [len(group) for group in before] == [2]
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"no table"}[damage])
    assert library.copies.groups() == copies.NO_COPIES
    assert any("copies.arrow" in problem for problem in check(library).problems)
    library.optimize()
    assert partition(library.copies.groups()) == before
    assert not check(library).problems


def test_a_disk_that_refuses_does_not_stop_an_add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise WriteError("no space")

    write_sound(tmp_path / "sounds" / "a.wav", 1.0, 1)
    shutil.copy(tmp_path / "sounds" / "a.wav", tmp_path / "sounds" / "b.wav")
    with monkeypatch.context() as patch:
        patch.setattr(copies, "_write", refuse)
        library = add_all(tmp_path)
    assert (len(library.files()), library.copies.groups()) == (2, copies.NO_COPIES)
    list(library.update(SketchEmbedder()))
    assert len(library.copies.groups().files) == 1


def folded(ranked: list[Hit], groups: CopyGroups) -> list[tuple[str, list[str]]]:
    """Fold a complete ranking: the first file of each group with the others by path."""
    hits: list[tuple[str, list[str]]] = []
    done: set[int] = set()
    for hit in ranked:
        group = groups.of_file.get(hit.file)
        if group in done:
            continue
        others = [] if group is None else [one for one in ranked if groups.of_file.get(one.file) == group]
        hits.append((hit.file, [one.path for one in sorted(others, key=lambda one: one.path) if one.file != hit.file]))
        done |= set() if group is None else {group}
    return hits


def test_pages_fold_as_the_complete_ranking_does(tmp_path: Path) -> None:
    """Groups of arbitrary files, whose ranks are far apart, so that copies are on other pages."""
    store = random_store(tmp_path, 150).exact()
    draw = random.Random(5)
    for seed in range(30):
        groups = Groups(150)
        for _ in range(draw.randrange(60)):
            groups.join(draw.randrange(150), draw.randrange(150))
        files = {number: [f"{i:016x}" for i in some] for number, (some, _) in enumerate(groups.members())}
        groups_of = CopyGroups({file: number for number, some in files.items() for file in some}, files)
        query = default_rng(seed).standard_normal(DIM).astype(np.float32)
        query /= np.linalg.norm(query)
        where = parse_filter(random_filter(draw)) if draw.random() < 0.6 else None
        ranking = Ranking(store.search, query, where, groups=groups_of)
        everything = best_per_file(partial(store.search, query, where=where), 150)
        want = folded(everything, groups_of)
        got: list[tuple[str, list[str]]] = []
        top, place, more = draw.randrange(1, 20), -np.inf, True
        while more:
            page, more = ranking.best(top, lambda hit, place=place: -hit.score > place, len(got))  # type: ignore[misc]
            got += [(hit.file, [copy.path for copy in hit.copies]) for hit in page]
            place = -page[-1].score if page else place
        assert got == want
        listed = [file for file, _ in got] + [path for _, paths in got for path in paths]
        assert len(listed) == len(everything)


def test_the_best_copy_that_meets_the_filter_is_the_hit(tmp_path: Path) -> None:
    write_sound(tmp_path / "sounds" / "rain.wav", 1.0, 1)
    write_sound(tmp_path / "sounds" / "other.wav", 1.0, 2)
    for name in ("b.wav", "a.wav"):
        shutil.copy(tmp_path / "sounds" / "rain.wav", tmp_path / "sounds" / name)
    library, query = add_all(tmp_path), SketchEmbedder().embed_audio([tmp_path / "sounds" / "rain.wav"])[0]

    def search(where: Filter | None = None, **options: Any) -> list[tuple[str, list[str]]]:
        hits = library.search(query, 10, where, **options)
        return [(Path(hit.path).name, [Path(copy.path).name for copy in hit.copies]) for hit in hits]

    assert search(words=["rain"]) == [("rain.wav", ["a.wav", "b.wav"]), ("other.wav", [])]
    assert search(words=["rain"], exact=True) == search(words=["rain"])
    assert search(parse_filter("name != 'rain.wav'"), words=["rain"])[0][1] in (["a.wav"], ["b.wav"])
    assert len(search(fold=False)) == 4
    assert {paths for _, other in search(fold=False) for paths in other} == set()
    removed = remove(library, [str(tmp_path / "sounds" / "a.wav")])
    assert search(words=["rain"])[0] == ("rain.wav", ["b.wav"])
    assert library.search(query, 10, one_of("file", [removed[0].file])) == []
