"""Test shards: equal bytes for equal manifests, atomic writes, webdataset compatibility, exactness at 16 bit."""

from __future__ import annotations

import io as bytes_io
import json
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from clips import manifest
from typer.testing import CliRunner

from aural.cli.data import app
from aural.core.errors import ConfigError, DataError
from aural.data import shards
from aural.data.manifest import read_manifest
from aural.data.shards import ShardConfig, write_shards


def tars(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*.tar"))}


def test_flac_shards_hold_the_samples_and_the_row(tmp_path: Path) -> None:
    source = manifest(tmp_path, 7)
    made = write_shards(source, str(tmp_path / "out"), ShardConfig(size=3))
    assert (made.samples, made.shards, made.skipped) == (7, tuple(f"shard-00000{n}.tar" for n in range(3)), ())
    with tarfile.open(tmp_path / "out" / "shard-000001.tar") as tar:
        assert tar.getnames() == [f"0000000{n}.{s}" for n in (3, 4, 5) for s in ("json", "flac")]
        for number in (3, 4, 5):
            sound = tar.extractfile(f"0000000{number}.flac")
            meta = tar.extractfile(f"0000000{number}.json")
            assert sound is not None and meta is not None  # noqa: PT018
            samples, rate = soundfile.read(bytes_io.BytesIO(sound.read()), dtype="int16", always_2d=True)
            wanted, wanted_rate = soundfile.read(tmp_path / f"wav/{number}.wav", dtype="int16", always_2d=True)
            np.testing.assert_array_equal(samples, wanted)
            facts = json.loads(meta.read())
            assert rate == wanted_rate == facts["sample_rate_hz"]
            assert facts["captions"] == [f"noise {number}", f"Rauschen Nº {number}"]
            assert (facts["name"], facts["source"], facts["tags"]) == (f"wav/{number}.wav", "toy", ["noise"])


@pytest.mark.parametrize("codec", ["flac", "opus", "copy"])
def test_the_same_manifest_gives_the_same_tars(codec: Any, tmp_path: Path) -> None:
    source = manifest(tmp_path, 8)
    config = ShardConfig(size=3, codec=codec, seed=5)
    write_shards(source, str(tmp_path / "one"), config, jobs=1)
    write_shards(source, str(tmp_path / "three"), config, jobs=3)
    assert tars(tmp_path / "one") == tars(tmp_path / "three")
    assert len(tars(tmp_path / "one")) == 3
    write_shards(source, str(tmp_path / "other"), ShardConfig(size=3, codec=codec, seed=6))
    assert tars(tmp_path / "one") != tars(tmp_path / "other")


def test_webdataset_reads_them(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    write_shards(manifest(tmp_path, 5), str(tmp_path / "out"), ShardConfig(size=2))
    urls = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    found = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in found] == [f"0000000{n}" for n in range(5)]
    assert json.loads(found[4]["json"])["captions"][0] == "noise 4"
    assert soundfile.info(bytes_io.BytesIO(found[4]["flac"])).frames == 64


def test_a_failed_run_leaves_whole_tars_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = manifest(tmp_path, 9), tmp_path / "out"
    write_shards(source, str(tmp_path / "whole"), ShardConfig(size=2))
    real, calls = shards._sound, []

    def dies(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(shards, "_sound", dies)
    with pytest.raises(KeyboardInterrupt):
        write_shards(source, str(out), ShardConfig(size=2), jobs=1)
    monkeypatch.undo()
    assert set(tars(out).items()) < set(tars(tmp_path / "whole").items())
    assert not list(out.glob(".*.part"))
    made = write_shards(source, str(out), ShardConfig(size=2))
    assert made.resumed >= 2
    assert tars(out) == tars(tmp_path / "whole")
    assert (out / "index.json").read_bytes() == (tmp_path / "whole" / "index.json").read_bytes()


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """kill -9 at any moment: every .tar in place is whole, and the next run completes the folder to the same bytes."""
    source, out = manifest(tmp_path, 600), tmp_path / "out"
    write_shards(source, str(tmp_path / "whole"), ShardConfig(size=5))
    whole = tars(tmp_path / "whole")
    code = f"from aural.data.shards import *; write_shards({str(source)!r}, {str(out)!r}, ShardConfig(size=5), jobs=2)"
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.tar"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = tars(out)
    assert all(whole[name] == content for name, content in left.items())
    write_shards(source, str(out), ShardConfig(size=5))
    assert tars(out) == whole
    assert (out / "index.json").read_bytes() == (tmp_path / "whole" / "index.json").read_bytes()


def test_broken_clips_are_named(tmp_path: Path) -> None:
    made = write_shards(manifest(tmp_path, 6, broken=(1, 4)), str(tmp_path / "out"), ShardConfig(size=4))
    assert (made.samples, [skip.path for skip in made.skipped]) == (4, ["wav/1.wav", "wav/4.wav"])
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [shard["samples"] for shard in index["shards"].values()] == [3, 1]
    assert "wav/4.wav" in index["shards"]["shard-000001.tar"]["skipped"][0]["why"]


def test_other_shards_are_not_written_over(tmp_path: Path) -> None:
    source = manifest(tmp_path, 4)
    write_shards(source, str(tmp_path / "out"), ShardConfig(size=2))
    with pytest.raises(DataError, match="contains shards of another manifest or with other options"):
        write_shards(source, str(tmp_path / "out"), ShardConfig(size=3))
    with pytest.raises(DataError, match="contains shards of another manifest"):
        write_shards(read_manifest(source).filter(split="train"), str(tmp_path / "out"), ShardConfig(size=2))
    with pytest.raises(DataError, match="has no rows"):
        write_shards(read_manifest(source).filter(split="valid"), str(tmp_path / "none"))


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = manifest(tmp_path, 4), tmp_path / "out"

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "_add", full)
    with pytest.raises(
        DataError,
        match=r"shard-00000\d\.tar: cannot be written \(No space left on device\); check the folder and the free space",
    ):
        write_shards(source, str(out), ShardConfig(size=2))
    monkeypatch.undo()
    assert not tars(out)
    assert not list(out.glob(".*.part*"))
    assert write_shards(source, str(out), ShardConfig(size=2)).samples == 4
    with pytest.raises(DataError, match="cannot be created"):
        write_shards(source, str(tmp_path / "wav" / "0.wav" / "out"))


def test_resampled_mono_parts(tmp_path: Path) -> None:
    made = ShardConfig(sample_rate_hz=8_000, mono=True)
    write_shards(manifest(tmp_path, 4), str(tmp_path / "out"), made)
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        sound = tar.extractfile("00000003.flac")
        assert sound is not None
        info = soundfile.info(bytes_io.BytesIO(sound.read()))
    assert (info.samplerate, info.channels) == (8_000, 1)


def test_an_object_store_gets_the_same_bytes(tmp_path: Path) -> None:
    import fsspec

    source, store = manifest(tmp_path, 5), fsspec.filesystem("memory")
    write_shards(source, str(tmp_path / "here"), ShardConfig(size=2))
    write_shards(source, "memory://shards-there/a", ShardConfig(size=2))
    assert {name: store.cat_file(f"/shards-there/a/{name}") for name in tars(tmp_path / "here")} == tars(
        tmp_path / "here"
    )
    assert write_shards(source, "memory://shards-there/a", ShardConfig(size=2)).resumed == 3


def test_commands(tmp_path: Path) -> None:
    source, out = manifest(tmp_path, 6, broken=(2,)), str(tmp_path / "out")
    run = CliRunner().invoke(app, ["shard", str(source), out, "--size", "2"])
    assert run.exit_code == 0, run.output
    assert run.output.startswith(f"{out}: 3 shards, 5 clips, ")
    assert "left out: 00000002: " in run.output
    look = CliRunner().invoke(app, ["inspect", out])
    assert look.exit_code == 0
    assert "3 shards, 5 samples" in look.output
    assert "10 captions" in look.output
    assert "split: train 3, test 2" in look.output
    assert "00000000.flac: noise 0" in look.output
    shard = tmp_path / "out" / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    look = CliRunner().invoke(app, ["inspect", out])
    assert look.exit_code == 1
    assert "damaged or skipped" in look.output
    assert "shard-000001.tar" in look.output


def test_wrong_options_are_one_sentence(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["shard", str(manifest(tmp_path, 1)), str(tmp_path / "out"), "--codec", "mp3"])
    assert isinstance(run.exception, ConfigError)
    assert "codec" in str(run.exception)
