"""The server as a process: it stops after active requests are answered, and leaves nothing behind when killed."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from processes import children, free_port, running

from aural.core.errors import ConfigError
from aural.search.check import check
from aural.search.library import Library
from aural.serve.run import listen, serve, within_file_limit
from aural.serve.settings import Settings
from library_toys import write_sound
from sketch import SketchEmbedder


def test_a_stopped_server_answers_first_and_logs_json(served: Library) -> None:
    port, answers = free_port(), []
    with running(served.folder, port, seconds=1.0) as process:

        def ask() -> None:
            answers.append(httpx.post(f"http://127.0.0.1:{port}/v1/search", json={"words": ["rain"]}, timeout=30))

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.4)
        process.send_signal(signal.SIGTERM)
        asking.join()
        _, err = process.communicate(timeout=30)
    assert [answer.status_code for answer in answers] == [200]
    assert process.returncode in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in err.splitlines()]
    assert [(line["path"], line["status"]) for line in lines][-1] == ("/v1/search", 200)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/health")


def kill_often(tmp_path: Path, times: int) -> None:
    """Kill the server at random moments while it answers and another process adds; the library stays complete.

    The library has an approximate index of the default kind, and the server searches by it.
    """
    draw, embedder = random.Random(4), SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch", window_s=2.0)
    held = [write_sound(tmp_path / "held" / f"{i}.wav", 2.5, i) for i in range(160)]
    assert len(list(library.add(held, embedder))) == 160
    assert library.optimize(build_from=256)
    port = free_port()
    for i in range(times):
        path = write_sound(tmp_path / f"{i}.wav", draw.uniform(0.3, 6), i)
        with running(library.folder, port) as process:
            stop = threading.Event()

            def ask(stop: threading.Event = stop, path: Path = path) -> None:
                with contextlib.suppress(httpx.TransportError):
                    while not stop.is_set():
                        assert (
                            httpx.post(f"http://127.0.0.1:{port}/v1/search", json={"words": ["a"]}).status_code == 200
                        )
                        sound = {"sound": path.read_bytes()}
                        assert httpx.post(f"http://127.0.0.1:{port}/v1/similar", files=sound).status_code == 200

            asking = threading.Thread(target=ask)
            asking.start()
            assert [one.status for one in library.add([path], embedder)] == ["added"]
            time.sleep(draw.uniform(0, 0.6))
            decoders = children(process.pid)
            process.kill()
            process.wait()
            stop.set()
            asking.join()
        until = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in decoders) and time.monotonic() < until:
            time.sleep(0.02)
        assert not [pid for pid in decoders if Path(f"/proc/{pid}").exists()], "a decoder outlived its server"
        report = check(library)
        assert (report.files, report.problems) == (161 + i, [])
        assert library.store.stats()["index"] == "IvfRq"


def test_killed_twice(tmp_path: Path) -> None:
    kill_often(tmp_path, 2)


@pytest.mark.slow
def test_killed_seventeen_times(tmp_path: Path) -> None:
    kill_often(tmp_path, 17)


def test_a_used_port_is_reported(served: Library) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: cannot be used"):
            serve(served, SketchEmbedder(), Settings(port=port))


def test_connections_send_small_answers_at_once() -> None:
    listener = listen(Settings(port=0))
    try:
        assert listener.proto == socket.IPPROTO_TCP  # asyncio sets TCP_NODELAY only on such sockets
    finally:
        listener.close()


def test_connections_stay_below_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"now": (256, 1024)}
    monkeypatch.setattr("resource.getrlimit", lambda _: limits["now"])
    monkeypatch.setattr("resource.setrlimit", lambda _, new: limits.update(now=new))
    assert within_file_limit(Settings()).max_connections == 462
    assert limits["now"] == (1024, 1024)
    limits["now"] = (20_000, 20_000)
    assert within_file_limit(Settings()).max_connections == 1000
