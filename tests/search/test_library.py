"""The library: add and update for each kind of file, hits, tags, duplicates, map, export and check."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pyarrow import csv, parquet

from aural.core.errors import ConfigError, DataError
from aural.search.check import check
from aural.search.duplicates import duplicates
from aural.search.export import export
from aural.search.filters import parse_filter
from aural.search.folder import writer_lock
from aural.search.index import best_per_file
from aural.search.library import FileResult, Library
from aural.search.query import QueryWeights, combine
from aural.search.sound_map import lay_out, sound_map, write_map
from aural.search.tag import tag
from library_toys import RATE_HZ, random_store, write_sound
from sketch import DIM, SketchEmbedder


def statuses(done: list[FileResult]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for one in done:
        names.setdefault(one.status, []).append(Path(one.path).name)
    return {status: sorted(names) for status, names in names.items()}


def test_what_is_added(library: Library) -> None:
    stored = library.files()
    assert (len(stored), library.store.count()) == (13, 39)
    assert not [path for path in stored if path.endswith("broken.wav")]
    report = check(library, hashes=True)
    assert (report.files, report.windows, report.problems) == (13, 39, [])
    assert [note.rpartition("/")[2] for note in report.notes] == [
        "broken.wav: not in the library yet (or cannot be decoded)"
    ]
    assert library.store.rows(["name"], parse_filter("silent"))["name"].to_pylist() == ["silent.wav"]


def test_windows_reach_from_start_to_end(library: Library) -> None:
    longest = next(stored for stored in library.files().values() if stored.path.endswith("11.wav"))  # 26.7 s
    rows = library.windows(longest.file)
    assert [round(x, 6) for x in rows["start"].to_pylist()] == [0, 5, 10, 15, 20, 21.7]
    assert [round(x, 6) for x in rows["end"].to_pylist()] == [5, 10, 15, 20, 25, 26.7]
    assert set(rows["duration"].to_pylist()) == {26.7}


def test_vectors_are_those_of_the_embedder(library: Library, embedder: SketchEmbedder) -> None:
    stored = next(one for one in library.files().values() if one.path.endswith("11.wav"))
    samples, rate = soundfile.read(stored.path, dtype="float32")
    rows = library.windows(stored.file)
    parts = [
        (samples[round(a * rate) : round(b * rate)], rate)
        for a, b in zip(rows["start"].to_pylist(), rows["end"].to_pylist(), strict=True)
    ]
    want = embedder.embed_audio(parts)
    np.testing.assert_allclose(np.stack(rows["vector"].to_numpy(zero_copy_only=False)), want, atol=1e-5)
    fresh = np.array([5, 5, 5, 5, 5, 1.7], np.float32)
    mean = (want * fresh[:, None]).sum(axis=0)
    np.testing.assert_allclose(library.vector(stored.file), mean / np.linalg.norm(mean), atol=1e-5)


def test_a_hit_gives_the_place_in_the_file(tmp_path: Path, embedder: SketchEmbedder) -> None:
    t = np.arange(5 * RATE_HZ) / RATE_HZ
    wanted = (0.3 * np.sin(2 * np.pi * 2500 * t)).astype(np.float32)
    noise = 0.05 * np.random.default_rng(0).standard_normal(20 * RATE_HZ).astype(np.float32)
    soundfile.write(tmp_path / "storm.wav", np.concatenate([noise[: 10 * RATE_HZ], wanted, noise]), RATE_HZ)
    library = Library.create(tmp_path / "l", embedder, model="sketch", window_s=5.0)
    list(library.add([tmp_path / "storm.wav"], embedder))
    hit = library.search(embedder.embed_audio([(wanted, RATE_HZ)])[0], 1)[0]
    assert (hit.start_s, hit.end_s, hit.duration_s) == (10.0, 15.0, 35.0)


def test_one_hit_a_file_and_as_many_as_there_are(library: Library, embedder: SketchEmbedder) -> None:
    query = embedder.embed_text(["rain"])[0]
    hits = library.search(query, 20)
    assert len(hits) == len({hit.file for hit in hits}) == 13
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    oracle = library.store.exact()
    want = best_per_file(lambda rows: oracle.search(query, rows), 20)
    assert [(h.file, h.window) for h in hits] == [(h.file, h.window) for h in want]
    assert library.search(query, 3) == hits[:3]
    with pytest.raises(ConfigError, match="top is 0"):
        library.search(query, 0)


def test_update_finds_new_changed_moved_touched_and_vanished_files(editable: Library, tmp_path: Path) -> None:
    embedder, sounds = SketchEmbedder(), tmp_path / "sounds"
    write_sound(sounds / "new.wav", 1.0, 99)
    write_sound(sounds / "Effects" / "00.wav", 7.0, 100)  # changed, longer
    write_sound(sounds / "Effects" / "10.wav", 1.0, 101)  # changed, shorter
    os.rename(sounds / "Effects" / "02.wav", sounds / "moved.wav")
    shutil.copy(sounds / "Effects" / "04.wav", sounds / "copy.wav")
    os.utime(sounds / "Effects" / "06.wav", ns=(1, 10**18))
    os.unlink(sounds / "Effects" / "08.wav")
    before = embedder.sounds
    changes = statuses(list(editable.update(embedder)))
    assert changes == {
        "added": ["new.wav"],
        "changed": ["00.wav", "10.wav"],
        "copied": ["copy.wav", "moved.wav"],
        "touched": ["06.wav"],
        "removed": ["02.wav", "08.wav"],
        "skipped": ["broken.wav"],
    }
    assert embedder.sounds - before == 1 + 2 + 1 + 1  # reference sound, 00, 10, new
    report = check(editable, hashes=True)
    assert (report.problems, len(report.notes)) == ([], 1)
    assert editable.store.count(parse_filter("name = '10.wav'")) == 1
    assert (
        editable.windows(editable.files()[str(sounds / "Effects" / "06.wav")].file)["modified"][0]
        .as_py()
        .startswith("2001-09-09")
    )
    assert statuses(list(editable.update(embedder))) == {"skipped": ["broken.wav"]}


def test_a_disk_that_is_not_mounted_loses_nothing_unless_asked(editable: Library, tmp_path: Path) -> None:
    os.rename(tmp_path / "sounds", tmp_path / "away")
    notes: list[str] = []
    assert list(editable.update(SketchEmbedder(), on_plan=lambda plan: notes.extend(plan.notes))) == []
    assert len(notes) == 1
    assert "does not exist any more; 13 of its files are kept" in notes[0]
    assert set(statuses(list(editable.update(SketchEmbedder(), prune=True)))) == {"removed"}
    assert editable.store.count() == 0


def test_adding_again_reads_nothing(editable: Library, tmp_path: Path) -> None:
    embedder = SketchEmbedder()
    files = sorted((tmp_path / "sounds").rglob("*.wav"))
    assert statuses(list(editable.add(files, embedder))) == {"skipped": ["broken.wav"]}
    assert (embedder.sounds, editable.store.count()) == (1, 39)


def test_another_model_is_refused(editable: Library, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use --model sketch"):
        list(editable.update(SketchEmbedder(seed=1)))
    with pytest.raises(ConfigError, match="use --model sketch"):
        Library.create(tmp_path / "library", SketchEmbedder(seed=1), model="other")


def test_one_writer_and_many_readers(editable: Library, tmp_path: Path) -> None:
    with writer_lock(editable.folder):
        code = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from aural.search.library import Library\nfrom sketch import SketchEmbedder\n"
            "library = Library(sys.argv[2])\nprint(library.store.count())\n"
            "try: library.optimize()\nexcept Exception as error: print(error)\n"
        )
        arguments = [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(editable.folder)]
        out = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[0] == "39"
    assert f"process {os.getpid()} is writing to this library" in out[1]


def test_a_reader_sees_new_files_without_opening_again(editable: Library, tmp_path: Path) -> None:
    reader = Library(editable.folder)
    assert reader.store.count() == 39
    list(editable.add([write_sound(tmp_path / "more.wav", 1.0, 50)], SketchEmbedder()))
    assert reader.store.count() == 40


def test_names_that_are_not_utf8_and_files_that_are_gone(editable: Library, tmp_path: Path) -> None:
    bad = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))
    write_sound(tmp_path / "x.wav", 0.5, 1).rename(bad)
    (tmp_path / "empty").mkdir()
    done = list(editable.add([bad, tmp_path / "gone.wav", tmp_path / "empty"], SketchEmbedder()))
    assert [one.status for one in done] == ["skipped"] * 3
    assert "contains no sound files" in str(done[2].error)
    assert "not UTF-8" in str(done[0].error)
    assert "No such file" in str(done[1].error)


def test_queries_combine_words_sounds_and_minus(embedder: SketchEmbedder) -> None:
    rain, wind, thunder = embedder.embed_text(["rain", "wind", "thunder"])
    sound = -wind
    want = 2 * (rain + wind) + 0.5 * sound - 0.25 * thunder
    query = combine(["rain", "wind"], [sound], ["thunder"], embedder.embed_text, QueryWeights(2, 0.5, 0.25))
    np.testing.assert_allclose(query, want / np.linalg.norm(want), atol=1e-6)
    for words, minus, message in (
        ([], ["rain"], "to be subtracted from"),
        ([], [], "give words"),
        ([" "], [], "blank"),
    ):
        with pytest.raises(ConfigError, match=message):
            combine(words, [], minus, embedder.embed_text)
    with pytest.raises(ConfigError, match="cancel out"):
        combine(["rain"], [], ["rain"], embedder.embed_text, QueryWeights(minus=1))
    with pytest.raises(ConfigError, match="weight of not"):
        QueryWeights(minus=-1)


def test_tags_are_kept_until_they_are_replaced(editable: Library, embedder: SketchEmbedder) -> None:
    counts = tag(editable, embedder, ["rain", "wind", "rain", "a dog"], top=2)
    rows = editable.store.rows(["file", "window", "tags"]).to_pylist()
    stored = Counter(label for row in rows if row["window"] == 0 for label in row["tags"])
    assert counts == {label: stored[label] for label in ("rain", "wind", "a dog")}
    neutral, *prompts = embedder.embed_text([f"the sound of {word}" for word in ("something", "rain", "wind", "a dog")])
    for row in rows:
        cosine = {label: editable.vector(row["file"]) @ p for label, p in zip(counts, prompts, strict=True)}
        above = [label for label in cosine if cosine[label] > editable.vector(row["file"]) @ neutral]
        assert row["tags"] == sorted(above, key=lambda label: -cosine[label])[:2]
    assert editable.store.count(parse_filter("tags has 'rain'")) == sum("rain" in row["tags"] for row in rows) > 0
    assert check(editable).problems == []
    tag(editable, embedder, ["wind"], top=1)
    assert editable.store.count(parse_filter("tags has 'rain'")) == 0


def test_duplicates(editable: Library, tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    shutil.copy(sounds / "Effects" / "04.wav", sounds / "copy.wav")
    samples, rate = soundfile.read(sounds / "Effects" / "06.wav", dtype="float32")
    soundfile.write(sounds / "same.flac", 0.9 * samples, rate)
    soundfile.write(sounds / "short.flac", samples[: rate * 5], rate)  # similar, but shorter
    list(editable.update(SketchEmbedder()))
    groups = duplicates(editable, 0.999)
    assert [(group.kind, [Path(path).name for path in group.paths]) for group in groups] == [
        ("same", ["04.wav", "copy.wav"]),
        ("near", ["06.wav", "same.flac"]),
    ]
    with pytest.raises(ConfigError, match="near is 2"):
        duplicates(editable, 2)


def test_map_is_stored_and_updated(editable: Library, tmp_path: Path) -> None:
    drawn = sound_map(editable)
    assert (drawn.files, drawn.xy.shape) == (sorted(drawn.files), (13, 2))
    assert np.abs(drawn.xy).max() <= 1
    again = sound_map(editable)
    np.testing.assert_array_equal(drawn.xy, again.xy)
    list(editable.add([write_sound(tmp_path / "more.wav", 1.0, 50)], SketchEmbedder()))
    assert len(sound_map(editable).files) == 14
    for suffix in ("csv", "parquet", "svg"):
        write_map(drawn, tmp_path / f"map.{suffix}")
    assert csv.read_csv(tmp_path / "map.csv").num_rows == parquet.read_table(tmp_path / "map.parquet").num_rows == 13
    assert (tmp_path / "map.svg").read_text().count("<circle") == 13
    with pytest.raises(ConfigError, match="csv"):
        write_map(drawn, tmp_path / "map.png")


def test_clusters_stay_clusters_on_the_map() -> None:
    draw = np.random.default_rng(0)
    centers = np.eye(4, 16, dtype=np.float32)
    vectors = np.repeat(centers, 30, axis=0) + 0.05 * draw.standard_normal((120, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    xy, method = lay_out(vectors)
    distances = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    nearest = (distances + np.eye(120) * 9).argmin(axis=1)
    assert method == "t-SNE"
    assert (nearest // 30 == np.arange(120) // 30).mean() > 0.98
    np.testing.assert_array_equal(xy, lay_out(vectors)[0])


def test_export(library: Library, tmp_path: Path) -> None:
    assert export(library, tmp_path / "all.parquet") == 39
    table = parquet.read_table(tmp_path / "all.parquet")
    assert table.schema.metadata[b"model"] == b"sketch"
    assert np.stack(table["vector"].to_numpy()).shape == (39, DIM)
    count = export(library, tmp_path / "some.csv", where=parse_filter("duration < 5"))
    assert (count, csv.read_csv(tmp_path / "some.csv").num_rows) == (
        library.store.count(parse_filter("duration < 5")),
    ) * 2
    with pytest.raises(ConfigError, match=r"\.csv, \.parquet, \.m3u or \.m3u8"):
        export(library, tmp_path / "all.json")
    with pytest.raises(ConfigError, match="does not exist"):
        export(library, tmp_path / "none" / "all.csv")


def test_check_finds_planted_damage(tmp_path: Path, editable: Library) -> None:
    stored = editable.files()[str(tmp_path / "sounds" / "Effects" / "10.wav")]
    editable.store._table.delete(f"file = '{stored.file}' AND `window` = 1")
    editable.store._table.update(where="name = '00.wav'", values={"path": "/elsewhere.wav"})
    editable.store.append(
        editable.windows(editable.files()[str(tmp_path / "sounds" / "silent.wav")].file).select(
            editable.store._table.schema.names
        )
    )
    problems = check(editable).problems
    assert len(problems) == 3
    assert any("10.wav: its windows are not each there once" in p for p in problems)
    assert any("/elsewhere.wav: its id does not follow" in p for p in problems)
    assert any("silent.wav: its windows are not each there once" in p for p in problems)


def test_no_library_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a sound library"):
        Library(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        Library.create(tmp_path / "file", SketchEmbedder(), model="sketch")
    with pytest.raises(ConfigError, match="window_s"):
        Library.create(tmp_path / "l", SketchEmbedder(), model="sketch", window_s=0)


def test_every_window_is_reached_though_one_file_fills_the_first_page(tmp_path: Path) -> None:
    store = random_store(tmp_path, 30)
    query = np.eye(1, DIM, dtype=np.float32)[0]
    requested: list[int] = []

    def search(rows: int) -> list:  # type: ignore[type-arg]
        requested.append(rows)
        hits = store.search(query, 1000)
        return ([hits[0]] * 40 + hits)[:rows]

    assert len(best_per_file(search, 10)) == 10
    assert requested == [28, 112]
