"""The manifest: round trip, hash by hand, refusals that name file and row."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aural.core.errors import DataError
from aural.core.types import Clip
from aural.data.manifest import SPLITS, Row, from_rows, pcm_sha256, read_manifest, schema, write_manifest

ROWS = [
    Row(path="a/hen.ogg", source="libre-x", split="train", label="hen", tags=["animal"], duration_s=1.5, meta="{}"),
    Row(path="a/bell.wav", source="libre-y", split="test", label="bell", captions=["a bell", "ringing"]),
    Row(path="b/bell.wav", source="libre-y", split="eval-only", fingerprint=b"\x00\x01"),
]


def test_round_trip_keeps_every_field(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "manifest.parquet", ROWS)
    again = read_manifest(tmp_path)
    assert list(again) == ROWS
    assert again[1] == ROWS[1]
    assert len(again) == 3
    assert again.file(again[0]) == tmp_path / "a/hen.ogg"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no part file is left


def test_a_folder_holds_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, "."):
        assert write_manifest(folder, ROWS) == Path(folder) / "manifest.parquet"
        assert list(read_manifest(folder)) == ROWS


def test_filter_by_column_by_list_and_by_function(tmp_path: Path) -> None:
    manifest = from_rows(ROWS, tmp_path)
    assert manifest.filter(source="libre-y").column("path") == ["a/bell.wav", "b/bell.wav"]
    assert len(manifest.filter(split=["train", "test"])) == 2
    assert len(manifest.filter(lambda row: row.duration_s > 1)) == 1
    with pytest.raises(DataError, match='did you mean "split"'):
        manifest.filter(splt="train")


def test_pcm_hash_by_hand() -> None:
    clip = Clip(np.array([[0.0, 1.0], [-1.0, 0.5]], np.float32), 8000)
    # interleaved: 0, -32767, 32767, round(16383.5) = 16384 (ties to even)
    body = b"".join(n.to_bytes(2, "little", signed=True) for n in (0, -32767, 32767, 16384))
    assert pcm_sha256(clip) == hashlib.sha256(b"aural-pcm-1 8000 2\n" + body).hexdigest()
    assert pcm_sha256(Clip(clip.samples, 16000)) != pcm_sha256(clip)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"path": "/abs.wav"}, "row 2: path .* must be relative"),
        ({"path": "../up.wav"}, "row 2: path .* must be relative"),
        ({"path": "a/hen.ogg"}, "row 2 .*is a duplicate of row 1"),
        ({"source": ""}, "row 2 .*source is empty"),
        ({"split": "tset"}, 'row 2 .*unknown split "tset"; did you mean "test"'),
        ({"duration_s": float("nan")}, "row 2 .*must be finite"),
        ({"sha256": "xyz"}, "row 2 .*64 hexadecimal"),
    ],
)
def test_refusals_name_file_and_row(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    rows = [ROWS[0], dataclasses.replace(ROWS[1], **change), ROWS[2]]  # type: ignore[arg-type]
    with pytest.raises(DataError, match=sentence) as caught:
        write_manifest(tmp_path / "m.parquet", rows)
    assert "m.parquet" in str(caught.value)
    assert not (tmp_path / "m.parquet").exists()


def test_foreign_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such manifest"):
        read_manifest(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="not a parquet table"):
        read_manifest(tmp_path / "bad.parquet")
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "plain.parquet")
    with pytest.raises(DataError, match="manifest version unknown"):
        read_manifest(tmp_path / "plain.parquet")
    short = from_rows(ROWS, tmp_path).table.drop(["label"]).replace_schema_metadata(schema().metadata)
    pq.write_table(short, tmp_path / "short.parquet")
    with pytest.raises(DataError, match='column "label" is missing'):
        read_manifest(tmp_path / "short.parquet")


def test_splits_are_fixed() -> None:
    assert SPLITS == ("train", "valid", "test", "eval-only")
