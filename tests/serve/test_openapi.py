"""The OpenAPI description says all there is to say, and schemathesis finds no answer that it does not describe."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from live import live_server

from aural.search.library import Library
from aural.serve.settings import Settings

ROUTES = {
    ("get", "/v1/library"),
    ("post", "/v1/search"),
    ("post", "/v1/similar"),
    ("post", "/v1/classify"),
    ("post", "/v1/embed"),
    ("post", "/v1/locate"),
    ("post", "/v1/audio/{id}/locate"),
    ("post", "/v1/caption"),
    ("post", "/v1/ask"),
    ("post", "/v1/audio/{id}/caption"),
    ("post", "/v1/audio/{id}/ask"),
    ("post", "/v1/embed/sound"),
    ("post", "/v1/embeddings"),
    ("post", "/v1/session"),
    ("post", "/v1/browse"),
    ("get", "/v1/sounds/{id}"),
    ("get", "/v1/map"),
    ("get", "/v1/facets"),
    ("post", "/v1/marks"),
    ("patch", "/v1/marks/{id}"),
    ("get", "/v1/collections"),
    ("put", "/v1/collections/{name}/{id}"),
    ("delete", "/v1/collections/{name}/{id}"),
    ("delete", "/v1/collections/{name}"),
    ("get", "/v1/history"),
    ("delete", "/v1/history"),
    ("get", "/v1/audio/{id}"),
    ("get", "/v1/audio/{id}/excerpt"),
    ("get", "/health"),
    ("get", "/metrics"),
}


def test_every_route_says_what_it_does_and_gives(client: TestClient) -> None:
    found = client.get("/openapi.json").json()
    assert {(method, path) for path, item in found["paths"].items() for method in item} == ROUTES
    for path, item in found["paths"].items():
        for operation in item.values():
            assert operation["summary"], path
            assert operation["description"], path
            assert operation["tags"], path
            for status, response in operation["responses"].items():
                assert response["description"], (path, status)
                assert response.get("content") or status in ("204", "304"), (path, status)


def test_the_page_of_the_api_lists_every_route() -> None:
    page = (Path(__file__).parents[2] / "docs" / "serve" / "api.md").read_text(encoding="utf-8")
    listed = {(method.lower(), path) for method, path in re.findall(r"(GET|POST|PUT|PATCH|DELETE) (/[\w/{}]+)", page)}
    assert listed == ROUTES | {("get", "/metrics")}


def checked(strategy: Any, label: str, calls: dict[str, int], examples: int) -> Callable[[], None]:
    """A function that makes requests of one operation and holds the answers to the description."""

    from schemathesis.specs.openapi.checks import positive_data_acceptance

    @hypothesis_settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=strategy)
    def call(case: Any) -> None:
        response = case.call()
        calls[label] = calls.get(label, 0) + 1
        assert response.status_code < 500, (label, response.text)
        # A schema cannot say what a filter's grammar is or which bytes are a sound: refusing those is no failure.
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    return call


def run_schemathesis(library: Library, examples: int) -> dict[str, int]:
    """Call every operation with made-up requests, good and bad; how many calls each operation got."""
    schemathesis = pytest.importorskip("schemathesis")
    calls: dict[str, int] = {}
    limits = Settings(max_upload_bytes=1 << 20, max_duration_s=5.0)
    with live_server(library, limits) as address:
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        modes = schemathesis.GenerationMode
        for found in schema.get_all_operations():
            operation = found.ok()
            for mode in (modes.POSITIVE, modes.NEGATIVE):
                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                except Exception:  # nothing to get wrong: no parameters, no body
                    assert mode is modes.NEGATIVE
                    continue

                call = checked(strategy, operation.label, calls, examples)
                try:
                    call()
                except Exception as error:
                    if "Unsatisfiable" not in type(error).__name__:
                        raise
    return calls


def test_schemathesis_finds_nothing(served: Library) -> None:
    calls = run_schemathesis(served, 15)
    assert len(calls) == len(ROUTES)


@pytest.mark.slow
def test_schemathesis_finds_nothing_in_many_calls(served: Library) -> None:
    calls = run_schemathesis(served, 300)
    assert len(calls) == len(ROUTES)
