"""The tools of `aural mcp`, called by the protocol's client in process, and once over stdin and stdout."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

import mcp

from aural.core.errors import ConfigError
from aural.core.scoring import NEUTRAL, Calibration, label_prompts
from aural.search.filters import parse_filter
from aural.search.library import Library
from aural.serve.mcp_tools import create_mcp_server
from sketch import SketchEmbedder


def call(server: Any, tool: str, **arguments: Any) -> Any:
    async def run() -> Any:
        async with mcp.Client(server) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def server(served: Library) -> Any:
    return create_mcp_server(served, SketchEmbedder())


def test_tools_are_described(server: Any) -> None:
    async def run() -> Any:
        async with mcp.Client(server) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(run())}
    assert tools.keys() == {"search", "classify", "info"}
    assert set(tools["search"].input_schema["properties"]) == {"words", "like", "unlike", "where", "top"}
    assert all(tool.description for tool in tools.values())


def test_search_gives_the_hits_of_the_library(server: Any, served: Library) -> None:
    answer = call(server, "search", words=["rain"], where="duration > 5", top=4)
    assert not answer.is_error
    sounds = answer.structured_content["sounds"]
    query = SketchEmbedder().embed_text(["rain"])[0]
    want = served.search(query, 4, parse_filter("duration > 5"), words=["rain"])
    assert [(one["path"], one["score"], one["tags"]) for one in sounds] == [
        (hit.path, round(hit.score, 4), list(hit.tags)) for hit in want
    ]
    like = call(server, "search", like=[want[0].path], top=1).structured_content["sounds"]
    assert (like[0]["path"], like[0]["score"]) == (want[0].path, pytest.approx(1, abs=0.05))


def test_classify_gives_the_scores_of_the_model(server: Any, served: Library) -> None:
    embedder, path = SketchEmbedder(), next(iter(served.files()))
    answer = call(server, "classify", file=path, labels=["rain", "wind", "dog"], top=2)
    labels = answer.structured_content["labels"]
    cosines = (
        embedder.embed_text(label_prompts(["rain", "wind", "dog", NEUTRAL])) @ embedder.embed_audio([Path(path)])[0]
    )
    scores = Calibration.of(embedder).scores(cosines[:-1], multi_label=False, neutral=cosines[-1])
    assert [one["score"] for one in labels] == pytest.approx(sorted(scores, reverse=True)[:2], abs=1e-5)


def test_info(server: Any, served: Library) -> None:
    library = call(server, "info").structured_content
    assert (library["files"], library["model"]) == (40, "sketch")
    path = next(iter(served.files()))
    assert call(server, "info", file=path).structured_content["path"] == path


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("search", {}, "nothing to search for"),
        ("search", {"words": ["rain"], "where": "duraton < 3"}, 'did you mean "duration"'),
        ("search", {"words": ["rain"], "top": 0}, "top"),
        ("classify", {"file": "/none.wav", "labels": ["rain"]}, "/none.wav"),
        ("classify", {"file": "/none.wav", "labels": []}, "give at least one"),
        ("info", {"file": "/none.wav"}, "/none.wav"),
    ],
)
def test_errors_are_one_sentence(server: Any, tool: str, arguments: dict[str, Any], message: str) -> None:
    answer = call(server, tool, **arguments)
    assert answer.is_error
    assert message in answer.content[0].text
    assert "Traceback" not in answer.content[0].text


def test_another_model_is_refused(served: Library) -> None:
    with pytest.raises(ConfigError, match="was created with the model sketch"):
        create_mcp_server(served, SketchEmbedder(1))


def test_over_stdin_and_stdout(served: Library) -> None:
    program = "import sys; from aural.models import load; from sketch import SketchEmbedder; "
    program += "Model = type('Model', (SketchEmbedder,), {'computes': 'fp32', 'precision': 'fp32'}); "
    program += "load.load = lambda *a, **k: Model(); from aural.cli.main import main; main()"
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]}
    arguments = ["-c", program, "mcp", "--library", str(served.folder)]
    process = mcp.StdioServerParameters(command=sys.executable, args=arguments, env=environment)
    answer = call(process, "search", words=["rain"], top=1)
    assert len(answer.structured_content["sounds"]) == 1
