"""The embedding over Ray on this machine, one worker killed midway: the same table as from one process."""

from __future__ import annotations

import os
import signal
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from aural.search.check import check
from aural.search.library import Library
from library_toys import write_sound
from sketch import SketchEmbedder

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray", reason='needs pip install "aural[ray]"')


class LoggingEmbedder(SketchEmbedder):
    """Slow, and tells its process, so that the test can kill one that is at work."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log

    def embed_audio(self, clips):  # type: ignore[no-untyped-def]
        with self._log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.05)
        return super().embed_audio(clips)


def test_a_killed_worker_loses_and_doubles_nothing(tmp_path: Path) -> None:
    from aural.search.ray_workers import ray_workers

    for i in range(120):
        write_sound(tmp_path / "sounds" / f"{i:03}.wav", 0.3 + i % 5, i)
    (tmp_path / "sounds" / "broken.wav").write_bytes(b"x")
    shards = sorted((tmp_path / "sounds").glob("*7.wav"))
    with tarfile.open(tmp_path / "sounds" / "shard.tar", "w") as tar:
        for path in shards:
            tar.add(path, path.name)
            path.unlink()
    files = sorted((tmp_path / "sounds").iterdir())
    log = tmp_path / "log"
    log.touch()
    ray.init(
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": ":".join(sys.path)}},
    )
    killed: list[int] = []

    def kill_one() -> None:
        while len(lines := log.read_text().split()) < 20:
            time.sleep(0.01)
        victim = int(lines[-1])
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    try:
        library = Library.create(tmp_path / "ray", SketchEmbedder(), model="sketch", window_s=1.0)
        engine = ray_workers(lambda: LoggingEmbedder(log), 1.0, workers=3, files_per_task=4, batch=4)
        killer = threading.Thread(target=kill_one)
        killer.start()
        done = list(library.add(files, SketchEmbedder(), embed_with=engine))
        killer.join()
    finally:
        ray.shutdown()
    workers = set(map(int, log.read_text().split()))
    assert killed
    assert len(workers) >= 4  # three, and one that took the dead one's place
    assert [one.status for one in done].count("added") == 120
    assert [Path(one.path).name for one in done if one.error] == ["broken.wav"]
    assert check(library).problems == []
    alone = Library.create(tmp_path / "alone", SketchEmbedder(), model="sketch", window_s=1.0)
    list(alone.add(files, SketchEmbedder()))
    names, order = (
        ["file", "window", "start", "end", "hash", "duration", "vector"],
        [("file", "ascending"), ("window", "ascending")],
    )
    one, other = (found.store.rows(names).sort_by(order) for found in (library, alone))
    for name in names[:-1]:
        assert one[name].to_pylist() == other[name].to_pylist()
    np.testing.assert_array_equal(np.stack(one["vector"].to_numpy()), np.stack(other["vector"].to_numpy()))
