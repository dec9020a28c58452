"""Readers: templates, files, tables and records by property; what is wrong is one sentence with its place."""

from __future__ import annotations

import csv
import io
import json
import pickle
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from downloads import put, sound
from hypothesis import given, settings
from hypothesis import strategies as st

from aural.core.errors import ConfigError, DataError
from aural.data.readers import READERS, Item
from aural.data.readers.files import AUDIO, Files, find_root, glob_pattern, strip
from aural.data.readers.lookup import Lookup
from aural.data.readers.tables import records
from aural.data.readers.template import fill

NAME = st.text(string.ascii_letters + string.digits + "-_ .#", min_size=1, max_size=12)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), max_size=12)


def same(table: str, text: str) -> str:
    return text


def write(root: Path, tables: dict[str, str | bytes], sounds: tuple[str, ...] = ()) -> Files:
    for path, content in tables.items():
        put(root / path, content.encode() if isinstance(content, str) else content)
    for path in sounds:
        put(root / path, sound(".wav"))
    return Files(root)


def items(reader: str, files: Files, **values: Any) -> list[Item]:
    return list(READERS[reader].parse({"split": "train", **values}, "test").items(files))


# ---- templates ----


@given(before=NAME, value=TEXT, after=NAME)
def test_a_template_is_text_around_values(before: str, value: str, after: str) -> None:
    assert fill(f"{before}{{x}}{after}", {"x": value}, same) == before + value + after


@given(st.integers(0, 999_999))
def test_numbers_are_padded(number: int) -> None:
    for text in (str(number), f"{number}.0"):
        assert fill("{n:06d}", {"n": text}, same) == f"{number:06d}"


@pytest.mark.parametrize(
    ("template", "record", "sentence"),
    [
        ("{fiename}", {"filename": "a"}, 'has no column "fiename"; did you mean "filename"'),
        ("{a.__class__}", {"a": "x"}, 'has no column "a.__class__"'),
        ("{n:06d}", {"n": "six"}, 'column "n" contains "six", but the format 06d needs a number'),
    ],
)
def test_templates_that_do_not_fit(template: str, record: dict[str, str], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        fill(template, record, same)


# ---- files ----


@given(st.lists(st.tuples(NAME, NAME, st.sampled_from(sorted(AUDIO))), min_size=1, max_size=8))
@settings(max_examples=60)
def test_a_sound_is_found_by_path_stem_tail_and_other_container(paths: list[tuple[str, str, str]]) -> None:
    files = Files.__new__(Files)
    files.sizes = dict.fromkeys((f"{folder}/{stem}x{end}" for folder, stem, end in paths), 1)
    for folder, stem, end in paths:
        path = f"{folder}/{stem}x{end}"
        assert files.sound([path]) == path
        assert strip(files.sound([f"{folder}/{stem}x"])) == strip(path)
        assert strip(files.sound([f"{folder}/{stem}x.flac"])) == strip(path)
        assert files.sound([f"**/{stem}x"]).endswith(stem + "x" + end) or len(paths) > 1
    assert files.sound(["no such thing", "**/nor this"]) == ""


def test_the_case_of_names_counts_and_order_decides(tmp_path: Path) -> None:
    files = write(tmp_path, {}, ("a/aBc.wav", "b/abC.wav", "b/x.flac"))
    assert files.sound(["**/abC"]) == "b/abC.wav"
    assert files.sound(["**/ABC"]) == ""
    assert files.sound(["a/none", "b/x", "a/aBc"]) == "b/x.flac"


def test_hidden_files_and_mac_leftovers_are_passed_over(tmp_path: Path) -> None:
    files = write(tmp_path, {}, ("a.wav", ".hidden.wav", "__MACOSX/a.wav", ".git/a.wav", "b/._a.wav"))
    assert files.audio == ("a.wav",)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.wav", "a.wav", True),
        ("*.wav", "b/a.wav", False),
        ("**/*.wav", "a.wav", True),
        ("**/*.wav", "b/c/a.wav", True),
        ("Actor_*/03-0?.wav", "Actor_01/03-02.wav", True),
        ("[a-z]*/x", "_noise/x", False),
        ("a.b", "aXb", False),
    ],
)
def test_globs_stop_at_slashes(pattern: str, path: str, fits: bool) -> None:
    assert bool(glob_pattern(pattern).fullmatch(path)) == fits


def test_the_root_is_the_outermost_folder_that_fits(tmp_path: Path) -> None:
    write(tmp_path, {"x/meta.csv": "", "x/y/meta.csv": "", "z/meta.csv": "", "z/more.csv": ""})
    assert find_root(tmp_path, ["meta.csv"]).root == tmp_path / "x"
    assert find_root(tmp_path, ["meta.csv", "more.csv"]).root == tmp_path / "z"
    assert find_root(tmp_path, ["none.csv"]).root == tmp_path


# ---- tables ----


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=6), st.sampled_from([",", "\t", ";"]))
@settings(max_examples=60, deadline=None)
def test_csv_round_trip(rows: list[tuple[str, str, str]], delimiter: str) -> None:
    """What csv writes is what is read, but for blanks behind a delimiter, which published tables pad with."""
    import tempfile

    rows = [(f"k{n}", a.lstrip(), b.lstrip()) for n, (_, a, b) in enumerate(rows)]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("key", "a", "b"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder), {"t.csv": text.getvalue()})
        read = [(r["key"], r["a"], r["b"]) for _, r in records(files, "t.csv", delimiter)]
    assert read == rows


def test_damaged_tables_are_named_with_their_line(tmp_path: Path) -> None:
    files = write(tmp_path, {"t.csv": "a,b\n1,2\n1,2,3\n", "l.csv": b"a,b\n\xff\xfe,2\n", "e.csv": ""})
    with pytest.raises(DataError, match=r"t\.csv: line 3 has 3 fields, expected 2"):
        list(records(files, "t.csv"))
    with pytest.raises(DataError, match=r"l\.csv: is not text in utf-8"):
        list(records(files, "l.csv"))
    with pytest.raises(DataError, match=r"e\.csv: is empty"):
        list(records(files, "e.csv"))
    with pytest.raises(DataError, match=r'tt\.csv: no such table; did you mean "t\.csv"'):
        list(records(files, "tt.csv"))


def test_comments_are_no_rows_and_keep_the_count(tmp_path: Path) -> None:
    files = write(tmp_path, {"t.csv": '# YTID, labels\na, "/m/1,/m/2"\n# more\nb, "x"\n'})
    found = [(where, r["id"], r["labels"]) for where, r in records(files, "t.csv", ",", ("id", "labels"), comment="#")]
    assert found == [("t.csv: line 2", "a", "/m/1,/m/2"), ("t.csv: line 4", "b", "x")]


def test_several_header_rows_join(tmp_path: Path) -> None:
    files = write(tmp_path, {"t.csv": ",track,track\n,title,genre\nid,,\n7,Song,Rock\n"})
    assert [r for _, r in records(files, "t.csv", header_rows=3)] == [
        {"table": "t.csv", "at": "", "id": "7", "track.title": "Song", "track.genre": "Rock"}
    ]


def test_rows_of_one_clip_become_one_item(tmp_path: Path) -> None:
    table = "file,label,on,off,text\na,dog,0.5,1,A dog.\nb,cat,0,0.1,A cat.\na,cat,2,2.5,A dog.\n"
    files = write(tmp_path, {"t.csv": table}, ("a.wav", "b.wav"))
    found = items("timed-events", files, file="t.csv", audio=["{file}"], label="{label}", onset_s="{on}",
                  offset_s="{off}", captions=["{text}"])  # fmt: skip
    assert [(i.path, i.labels, i.captions) for i in found] == [
        ("a.wav", ("dog", "cat"), ("A dog.",)),
        ("b.wav", ("cat",), ("A cat.",)),
    ]
    assert [(e.onset_s, e.offset_s, e.label) for e in found[0].events] == [(0.5, 1.0, "dog"), (2.0, 2.5, "cat")]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [("a,dog,x,1", '"x" is not a time in seconds'), ("a,dog,2,1", "onset 2.0 s and offset 1.0 s must satisfy")],
)
def test_impossible_times(row: str, sentence: str, tmp_path: Path) -> None:
    files = write(tmp_path, {"t.csv": f"file,label,on,off\n{row}\n"})
    with pytest.raises(DataError, match=rf"t\.csv: line 2: {sentence}"):
        items("timed-events", files, file="t.csv", audio=["{file}"], label="{label}", onset_s="{on}", offset_s="{off}")


def test_names_that_do_not_follow_the_rule(tmp_path: Path) -> None:
    files = write(tmp_path, {}, ("x/1_dog.wav", "x/oops.wav"))
    with pytest.raises(DataError, match=r'x/oops\.wav: "oops" does not match'):
        items("folder-per-class", files, glob="*/*.wav", extract={"title": r"^(?P<n>\d+)_(?P<c>\w+)$"})


# ---- lookups ----


def test_lookups(tmp_path: Path) -> None:
    files = write(tmp_path, {"c.csv": 'mid,name\n/m/1,"Dog, big"\n', "v.txt": "a/1.wav\r\n\n", "t.txt": "a/2.wav"})
    assert Lookup(file="c.csv", key="mid", value="name").pairs(files) == {"/m/1": "Dog, big"}
    assert Lookup(lists={"valid": "v.txt", "test": "t.txt"}).pairs(files) == {"a/1.wav": "valid", "a/2.wav": "test"}
    with pytest.raises(ConfigError, match="exactly one of the keys values, file, lists"):
        Lookup()
    put(tmp_path / "a/1.wav", sound(".wav"))
    wrong = {"glob": "a/*.wav", "label": "{folder|names}", "tables": {"names": {"values": {"b": "bell"}}}}
    with pytest.raises(DataError, match='"a" is not in table "names"'):
        items("folder-per-class", Files(tmp_path), **wrong)
    with pytest.raises(ConfigError, match='the card has no table "namse"; did you mean "names"'):
        items("folder-per-class", Files(tmp_path), **(wrong | {"label": "{folder|namse}"}))


# ---- JSON and its like ----

ENTRIES = [{"id": "1", "caption": "A dog."}, {"id": "2", "caption": "Ein Hund, groß."}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.jsonl", "\n".join(map(json.dumps, ENTRIES)) + "\n\n"),
        ("t.json", json.dumps(ENTRIES)),
        ("t.yaml", yaml.safe_dump(ENTRIES)),
        ("t.pkl", pickle.dumps(ENTRIES)),
    ],
)
def test_one_list_in_four_formats(name: str, content: str | bytes, tmp_path: Path) -> None:
    files = write(tmp_path, {name: content}, ("1.wav", "2.wav"))
    found = items("jsonl", files, file=name, audio=["{id}"], captions=["{caption}"])
    assert [(i.path, i.captions) for i in found] == [("1.wav", ("A dog.",)), ("2.wav", ("Ein Hund, groß.",))]


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run!",)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.pkl", pickle.dumps([Evil()]), "contains builtins.print; only pickles of plain strings"),
        ("t.pkl", b"", "cannot be read"),
        ("t.json", '{"data": 1', "cannot be read"),
        ("t.json", '{"date": []}', 'has no "data"; did you mean "date"'),
        ("t.json", '{"data": [1]}', "entry 1: is int, expected a mapping"),
        ("t.yaml", "a: [", "cannot be read"),
        ("t.xml", "<a/>", r"\.xml is not supported"),
    ],
)
def test_what_is_no_list_of_records(
    name: str, content: str | bytes, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write(tmp_path, {name: content})
    with pytest.raises(DataError, match=sentence) as error:
        items("jsonl", files, file=name, at="data" if name == "t.json" else "", audio=["{id}"])
    assert str(tmp_path / name) in str(error.value)
    assert capsys.readouterr().out == ""
