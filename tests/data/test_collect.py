"""From a download to its manifest: rows, measured facts, refusals and --partial."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from downloads import put, write
from published_layouts import LAYOUTS
from typer.testing import CliRunner

from aural.cli.data import app
from aural.core.errors import DataError
from aural.data import cards
from aural.data.collect import collect, folds
from aural.data.manifest import pcm_sha256, read_manifest

PUBLIC = [name for name in cards.names() if not name.startswith("libre")]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_card_gives_a_manifest(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    made = collect(cards.card(name), write(layout, tmp_path / "data"), tmp_path)
    rows = list(read_manifest(tmp_path))
    assert made.rows == len(rows) == len(layout.items)
    for row, (path, split, labels, captions) in zip(rows, layout.items, strict=True):
        assert (row.path, row.split) == (f"data/{path}", split)
        assert (tuple(row.tags), tuple(row.captions)) == (labels, captions)
        assert (row.source, row.sample_rate_hz, row.channels) == (name, 16_000, 1)
        assert row.duration_s == pytest.approx(0.05, abs=0.08 if path.endswith(".mp3") else 1e-6)
        assert row.license


def test_folds_and_events_stand_in_meta(tmp_path: Path) -> None:
    collect(cards.card("esc50"), write(LAYOUTS["esc50"], tmp_path), tmp_path)
    assert list(folds(list(read_manifest(tmp_path)))) == ["1", "5"]
    collect(cards.card("dcase2019-task4"), write(LAYOUTS["dcase2019-task4"], tmp_path / "d"), tmp_path / "d")
    rows = list(read_manifest(tmp_path / "d").filter(split="valid"))
    assert json.loads(rows[0].meta) == {"events": [[0.0, 9.971, "Frying"]]}
    assert rows[1].meta == ""


def test_hashes_are_those_of_the_decoded_samples(tmp_path: Path) -> None:
    from aural.audio import io

    made = collect(cards.card("sesa"), write(LAYOUTS["sesa"], tmp_path), tmp_path, hashes=True)
    manifest = read_manifest(made.path)
    assert [row.sha256 for row in manifest] == [pcm_sha256(io.read(manifest.file(row))) for row in manifest]


def test_missing_and_broken_sounds(tmp_path: Path) -> None:
    write(LAYOUTS["clotho"], tmp_path)
    (tmp_path / "evaluation/evaluation rain.wav").unlink()
    put(tmp_path / "development/development rain.wav", b"noise")
    card = cards.card("clotho")
    with pytest.raises(DataError, match=r"1 of 3 sounds are missing, the first is evaluation/evaluation rain\.wav"):
        collect(card, tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"development rain\.wav: .*--partial"):
        collect(card, tmp_path, tmp_path, splits=["train"])
    made = collect(card, tmp_path, tmp_path, partial=True)
    assert (made.rows, made.missing) == (1, ("evaluation/evaluation rain.wav",))
    assert [path for path, _ in made.broken] == ["development/development rain.wav"]


def test_a_manifest_must_be_above_its_sounds(tmp_path: Path) -> None:
    write(LAYOUTS["sesa"], tmp_path / "data")
    with pytest.raises(DataError, match="in or above the folder of its sounds"):
        collect(cards.card("sesa"), tmp_path / "data", tmp_path / "elsewhere")


def test_commands(tmp_path: Path) -> None:
    write(LAYOUTS["sesa"], tmp_path)
    run = CliRunner().invoke(app, ["manifest", "sesa", str(tmp_path), str(tmp_path)])
    assert run.output == f"{tmp_path / 'manifest.parquet'}: 2 clips\n"
    listed = CliRunner().invoke(app, ["list"]).output
    assert all(name in listed for name in PUBLIC)
    assert "license: CC BY-NC-SA 4.0" in CliRunner().invoke(app, ["show", "ravdess"]).output


def test_the_page_of_the_documentation_is_fresh() -> None:
    page = Path(__file__).parents[2] / "docs" / "data" / "datasets.md"
    assert CliRunner().invoke(app, ["list", "--markdown"]).output == page.read_text(), (
        "run `aural data list --markdown > docs/data/datasets.md`"
    )
