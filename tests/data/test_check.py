"""`aural data check` finds what was planted: missing, unexpected, broken, miscounted, unknown, leaking, known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from downloads import put, sound, write
from published_layouts import LAYOUTS, Layout
from typer.testing import CliRunner

from aural.cli.data import app
from aural.core.errors import DataError
from aural.data import cards
from aural.data.check import Report, check

PUBLIC = [name for name in cards.names() if not name.startswith("libre")]
# Cards whose `ignore` covers all sounds, so that no file can be unexpected.
DEAF = {"macs", "esc50-actions", "common-voice"}


def kinds(report: Report) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for problem in report.problems:
        if problem.kind != "count":  # a tiny folder never has the published count
            found.setdefault(problem.kind, []).append(problem.where)
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_a_whole_download_has_no_fault(name: str, tmp_path: Path) -> None:
    report = check(cards.card(name), write(LAYOUTS[name], tmp_path), decode=True)
    assert kinds(report) == {}
    assert sum(report.present.values()) == len(LAYOUTS[name].items)


@pytest.mark.parametrize("name", PUBLIC)
def test_planted_faults_are_found(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    card = cards.card(name)
    write(layout, tmp_path)
    first = layout.items[0][0]
    put(tmp_path / first, b"")
    put(tmp_path / "zzz" / "stray" / "leftover.wav", sound(".wav"))
    found = kinds(check(card, tmp_path))
    assert found.get("broken") == [first]
    if name not in DEAF:
        assert "zzz/stray/leftover.wav" in found.get("unexpected", []) or name == "freesound-pack"
    put(tmp_path / first, b"this is no sound at all")
    assert kinds(check(card, tmp_path))["broken"] == [first]
    (tmp_path / first).unlink()
    if any(part.kind != "folder-per-class" for part in card.parts):
        assert len(kinds(check(card, tmp_path))["missing"]) == 1


@pytest.mark.parametrize("name", [name for name in PUBLIC if LAYOUTS[name].tables])
def test_a_missing_table_is_named(name: str, tmp_path: Path) -> None:
    card = cards.card(name)
    needed = {path for part in card.parts if not part.optional for path in part.needs()}
    tables = [path for path in LAYOUTS[name].tables if path in needed]
    if not tables:
        pytest.skip("its tables are named by patterns")
    write(LAYOUTS[name], tmp_path)
    (tmp_path / tables[0]).unlink()
    assert tables[0] in kinds(check(card, tmp_path))["table"]


def test_counts_labels_and_leaks(tmp_path: Path) -> None:
    layout = LAYOUTS["esc50"]
    table = layout.tables["meta/esc50.csv"]
    assert isinstance(table, str)
    write(Layout({"meta/esc50.csv": table.replace(",dog,", ",dgo,")}, layout.sounds, ()), tmp_path)
    report = check(cards.card("esc50"), tmp_path)
    assert kinds(report) == {"label": ["dgo"]}
    assert [problem.why for problem in report.of("count")] == ["the tables list 2 clips, but 2,000 are published"]
    write(LAYOUTS["audiocaps"], tmp_path / "caps")
    (tmp_path / "caps/dataset/val.csv").write_text((tmp_path / "caps/dataset/test.csv").read_text())
    assert kinds(check(cards.card("audiocaps"), tmp_path / "caps"))["split"] == ["other/Y7fmOlUlwoNg.wav"]


def test_decoding_finds_cut_and_silent_sounds(tmp_path: Path) -> None:
    write(LAYOUTS["gtzan"], tmp_path)
    noise = np.random.default_rng(0).normal(size=40_000) * 0.1
    soundfile.write(tmp_path / "genres/blues/cut.flac", noise, 16_000)
    whole = (tmp_path / "genres/blues/cut.flac").read_bytes()
    put(tmp_path / "genres/blues/cut.flac", whole[: len(whole) // 2])
    soundfile.write(tmp_path / "genres/jazz.wav", np.zeros(100), 16_000)
    (tmp_path / "genres/rock").mkdir()
    (tmp_path / "genres/jazz.wav").rename(tmp_path / "genres/rock/silent.wav")
    card = cards.card("gtzan")
    assert kinds(check(card, tmp_path)) == {}
    assert kinds(check(card, tmp_path, decode=True)) == {"broken": ["genres/blues/cut.flac", "genres/rock/silent.wav"]}


def test_known_defects_are_listed_separately(tmp_path: Path) -> None:
    write(LAYOUTS["crema-d"], tmp_path)
    put(tmp_path / "AudioWAV/1076_MTI_SAD_XX.wav", b"")
    report = check(cards.card("crema-d"), tmp_path)
    assert kinds(report) == {}
    assert [problem.where for problem in report.known_defects] == ["AudioWAV/1076_MTI_SAD_XX.wav"]


def test_archives_are_hashed(tmp_path: Path) -> None:
    write(LAYOUTS["sesa"], tmp_path)
    put(tmp_path / "SESA.zip", b"half an archive")
    assert kinds(check(cards.card("sesa"), tmp_path, checksums=True)) == {"checksum": ["SESA.zip"]}


def test_the_command_prints_problems_and_fixes(tmp_path: Path) -> None:
    write(LAYOUTS["clotho"], tmp_path)
    (tmp_path / "evaluation/evaluation rain.wav").unlink()
    run = CliRunner().invoke(app, ["check", "clotho", str(tmp_path)])
    assert run.exit_code == 1
    assert "missing: 1 (unpack the archives again" in run.output
    assert "evaluation/evaluation rain.wav: no such sound file" in run.output
    assert "test: 1 clips in the tables of 1,045 published, 0 with a sound file" in run.output


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        check(cards.card("clotho"), tmp_path / "none")
