"""A server follows its library to another space and back, and no search fails meanwhile, whatever is killed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from processes import free_port, running

from aural.search.check import check
from aural.search.library import Library
from aural.search.reindex import delete_space, missing_files, new_space, reindex, rollback, switch
from aural.search.spaces import read_pointer
from aural.serve.app import create_app
from aural.serve.settings import Settings
from sketch import SketchEmbedder

SCRIPT = Path(__file__).with_name("run_reindex.py")


@pytest.fixture
def editable(served: Library, tmp_path: Path) -> Library:
    shutil.copytree(served.folder, tmp_path / "library")
    return Library(tmp_path / "library")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_follows_a_switch_and_a_rollback(editable: Library) -> None:
    root, asked = editable.root, list[str]()
    embedders = {"sketch": SketchEmbedder(), "sketch-1": SketchEmbedder(1)}

    def open_model(name: str) -> SketchEmbedder:
        asked.append(name)
        return embedders[name]  # KeyError for a model that cannot be loaded

    settings = Settings(space_poll_s=0.02)
    app = create_app(editable, embedders["sketch"], settings, open_model=open_model)
    with TestClient(app, "http://localhost") as client:

        def model() -> str:
            return str(client.get("/v1/library").json()["model"])

        def hits() -> list[tuple[str, float]]:
            answer = client.post("/v1/search", json={"words": ["rain"], "top": 5, "names": False})
            assert answer.status_code == 200
            return [(hit["id"], hit["score"]) for hit in answer.json()["hits"]]

        before, failures, stop = hits(), list[Exception](), threading.Event()

        def ask() -> None:
            while not stop.is_set():
                try:
                    hits()
                except Exception as error:
                    failures.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        space = new_space(root, embedders["sketch-1"], model="sketch-1", name="new", window_s=2.5)
        list(reindex(editable, space, embedders["sketch-1"]))
        assert (model(), hits()) == ("sketch", before)
        switch(root, "new")
        until(lambda: model() == "sketch-1")
        query = embedders["sketch-1"].embed_text(["rain"])[0]
        hide = app.state.service.ids.hide
        want = [(hide(hit.file), hit.score) for hit in Library(root).search(query, 5)]
        assert hits() == [(id, pytest.approx(score, abs=1e-5)) for id, score in want]
        rollback(root)
        until(lambda: model() == "sketch")
        assert hits() == before

        list(reindex(Library(root), new_space(root, SketchEmbedder(2), model="lost", name="lost"), SketchEmbedder(2)))
        switch(root, "lost")
        until(lambda: "lost" in asked)
        time.sleep(0.1)
        assert (model(), hits(), asked.count("lost")) == ("sketch", before, 1)
        stop.set()
        asking.join()
    assert failures == []


@pytest.mark.slow
@pytest.mark.parametrize(("count", "most_kills"), [(8, 3), (64, 20)])
def test_clients_and_kills(editable: Library, count: int, most_kills: int) -> None:
    """Clients search all the time; reindexing is killed many times, then switched, rolled back and deleted."""
    root, port, draw = editable.root, free_port(), random.Random(6)
    failures, answered, stop = list[str](), [0] * count, threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            while not stop.is_set():
                answer = client.post("/v1/search", json={"words": [f"rain {number % 7}"], "top": 5})
                answered[number] += 1
                if answer.status_code != 200 or len(answer.json()["hits"]) != 5:
                    failures.append(answer.text)

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    kills = switches = 0
    with running(root, port, log=subprocess.DEVNULL):
        clients = [threading.Thread(target=ask, args=[number]) for number in range(count)]
        for client in clients:
            client.start()
        while kills < most_kills:
            seed = 1 + switches % 3
            name = f"space-{seed}"
            if read_pointer(root).active == name:
                rollback(root)
                switches += 1
                continue
            command = [sys.executable, str(SCRIPT), str(root), name, str(seed)]
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n", process.communicate()
                time.sleep(draw.uniform(0, 1.5))
                process.kill()
                out, err = process.communicate(timeout=60)
            assert "Error" not in err, err
            kills += process.returncode != 0
            done = [line.split(" ", 1)[1] for line in out.splitlines() if " " in line]
            space = Library(root, space=name) if (root / "spaces" / name / "library.json").exists() else None
            assert not done or (space is not None and space.files().keys() >= set(done)), "reported, but lost"
            assert Library(root).files().keys() == editable.files().keys()
            if draw.random() < 0.3:
                finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
                if read_pointer(root).active != name:
                    assert "is in use" in finished.stderr, finished.stderr
                assert missing_files(editable, Library(root)) == []
                switches += 1
        stop.set()
        for client in clients:
            client.join()
    if read_pointer(root).active != "first":
        switch(root, "first")
    for seed in (1, 2, 3):
        if (root / "spaces" / f"space-{seed}").exists():
            delete_space(root, f"space-{seed}")
    assert check(root).problems == []
    print(f"{count} clients, {kills} kills, {switches} switches, {sum(answered)} searches, {len(failures)} failed")
    assert failures == []
    assert min(answered) > 0
    assert switches > 0 or most_kills < 20
