"""Measure throughput, latency, errors and memory of a server with many clients.

    python bench/serve.py LIBRARY --clients 64 --seconds 120

The server runs in a separate process on loopback (`aural serve`), the clients in this one. Each client sends one
request after the other: 75% searches by words (out of 46,656 sentences, ten times the size of the server's cache), 10%
uploaded sounds, and the rest filters and parts of files. Only loopback addresses are possible.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ["rain", "wind", "dog", "bird", "engine", "bell", "steps", "water", "door", "crowd", "violin", "drum", "voice"]
WORDS += ["laughter", "glass", "thunder", "train", "cat"]
PLACES = ["in a hall", "on a tin roof", "far away", "in the street", "at night", "under a bridge", "close by", ""]


Answer = tuple[str, float, int]  # kind of request, milliseconds, HTTP status


def upload() -> bytes:
    """Return two seconds of noise as wav."""
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, 0.1 * np.random.default_rng(0).standard_normal(64_000), 32_000, format="WAV")
    return out.getvalue()


def rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


async def client(
    number: int, session: Any, ids: list[str], until: float, answers: list[tuple[str, float, int]]
) -> None:
    draw, sound = random.Random(number), upload()
    while time.monotonic() < until:
        words = f"{draw.choice(WORDS)}, {draw.choice(WORDS)} and {draw.choice(WORDS)} {draw.choice(PLACES)}"
        kind, began = draw.random(), time.perf_counter()
        try:
            if kind < 0.75:
                name, answer = "search", await session.post("/v1/search", json={"words": [words], "top": 20})
            elif kind < 0.85:
                name, answer = "similar", await session.post("/v1/similar", files={"sound": sound}, data={"top": 20})
            elif kind < 0.95:
                body = {"words": [words], "where": f"duration < {draw.randrange(1, 20)}", "minus": ["music"]}
                name, answer = "filter", await session.post("/v1/search", json=body)
            else:
                part = {"Range": "bytes=0-65535"}
                name, answer = "audio", await session.get(f"/v1/audio/{draw.choice(ids)}", headers=part)
            status = answer.status_code
        except Exception as error:
            name, status = type(error).__name__, 0
        answers.append((name, 1000 * (time.perf_counter() - began), status))


async def load(address: str, clients: int, seconds: float, pid: int) -> None:
    import httpx

    limits = httpx.Limits(max_connections=clients + 4, max_keepalive_connections=clients + 4)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as session:
        first = await session.post("/v1/search", json={"words": ["rain"], "top": 50})
        ids = [hit["id"] for hit in first.json()["hits"]]
        warm: list[Answer] = []
        await asyncio.gather(*(client(i, session, ids, time.monotonic() + 5, warm) for i in range(clients)))
        answers: list[Answer] = []
        memory = [rss_mib(pid)]
        began = time.monotonic()
        asking = [asyncio.create_task(client(i, session, ids, began + seconds, answers)) for i in range(clients)]
        while not all(task.done() for task in asking):
            await asyncio.sleep(min(10, seconds / 4))
            memory.append(rss_mib(pid))
        await asyncio.gather(*asking)
        took = time.monotonic() - began
    print(f"{clients} clients, {took:.0f} s: {len(answers)} answers, {len(answers) / took:.1f} per second")
    bad = [(name, status) for name, _, status in answers if status not in (200, 206)]
    print(f"errors: {len(bad)} {sorted(set(bad))[:5]}")
    print("| request | answers | p50, ms | p99, ms |\n|---|--:|--:|--:|")
    for name in sorted({name for name, _, _ in answers}):
        times = [ms for one, ms, _ in answers if one == name]
        print(f"| {name} | {len(times)} | {np.percentile(times, 50):.0f} | {np.percentile(times, 99):.0f} |")
    print(f"server's memory, MiB, every {min(10, seconds / 4):g} s: {' '.join(f'{m:.0f}' for m in memory)}")


@contextmanager
def serving(library: Path) -> Iterator[tuple[str, int]]:
    """Run `aural serve` on loopback in a separate process; yield its address and process id."""
    command = [sys.executable, "-m", "aural", "serve", "--library", str(library), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
            if address is None:
                raise SystemExit(f"the server did not start: {line}")
            yield address[0], server.pid
        finally:
            server.terminate()
            server.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    chosen = parser.parse_args()
    with serving(chosen.library) as (address, pid):
        time.sleep(2)
        print(f"{os.cpu_count()} cores shared with the clients, load {os.getloadavg()[0]:.1f}")
        asyncio.run(load(address, chosen.clients, chosen.seconds, pid))
        print(f"load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
