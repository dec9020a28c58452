"""Compare the library in this process, the server and the exact index on random queries with filters.

    python bench/congruence.py LIBRARY --queries 200

A query has a few words, sometimes words to subtract and a stored sound to resemble, and mostly a random filter. It is
answered by the library in this process, by a server over HTTP, and by the exact index in memory. The script reports how
many answers differ by more than rounding (2e-6 in the score), and recall@10 of the library's approximate index if there
is one. The exit code is 1 if served and exact answers differ.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

WORDS = ["rain", "wind", "dog", "bird", "engine", "bell", "steps", "water", "door", "crowd", "violin", "drum", "voice"]
WORDS += ["laughter", "glass", "thunder", "train"]
CLOSE = 2e-6


def random_filter(draw: random.Random, tags: list[str], depth: int = 0) -> str:
    """Return a random filter that often keeps some of the sounds."""
    if depth < 2 and draw.random() < 0.4:
        joined = [random_filter(draw, tags, depth + 1) for _ in range(2)]
        text = f" {draw.choice(['and', 'or'])} ".join(joined)
        return f"not ({text})" if draw.random() < 0.3 else f"({text})"
    length = round(draw.uniform(0.2, 12), 2)
    return draw.choice(
        [
            f"duration {draw.choice(['<', '>=', '!='])} {length}",
            f"duration between {length} and {length + 3}",
            f"path {draw.choice(['like', 'not like', 'ilike'])} '%{draw.choice('aeirst')}{draw.choice('aelno')}%'",
            f"start {draw.choice(['<', '>='])} {length}",
            f"size > {draw.randrange(1_000_000)}",
            f"channels = {draw.randrange(1, 3)}",
            "not silent",
            "modified > '2020-01-01'",
            *([f"tags has '{draw.choice(tags)}'"] if tags else []),
        ]
    )


def differ(scores: list[float], want: list[float]) -> bool:
    """Return whether the scores of two answers differ by more than rounding; files with equal scores may swap."""
    if len(scores) != len(want):
        return True
    return any(abs(one - other) > CLOSE for one, other in zip(scores, want, strict=True))


def ask_all(folder: Path, address: str, count: int, top: int, seed: int) -> dict[str, Any]:
    import httpx

    import aural
    from aural.search.filters import parse_filter
    from aural.search.index import best_per_file
    from aural.search.library import Library
    from aural.search.query import combine

    library = Library(folder)
    model: Any = aural.load(library.card.model)
    oracle, draw = library.store.exact(), random.Random(seed)
    files = sorted(one.file for one in library.files().values())
    counts: dict[str, Any] = {"embedded": 0, "served": 0, "hits": 0, "wanted": 0, "filtered": 0, "some": 0}
    with httpx.Client(base_url=address, timeout=60) as client:
        tags = list(client.get("/v1/library").json()["tags"])
        for _ in range(count):
            words = [" ".join(draw.sample(WORDS, draw.randrange(1, 4)))]
            minus = [draw.choice(WORDS)] if draw.random() < 0.3 else []
            like = [draw.choice(files)] if draw.random() < 0.3 else []
            source = random_filter(draw, tags) if draw.random() < 0.8 else None
            where = None if source is None else parse_filter(source)
            query = combine(words, [library.vector(file) for file in like], minus, model.embed_text)
            want = best_per_file(lambda rows, q=query, w=where: oracle.search(q, rows, w), top)  # type: ignore[misc]
            here = library.search(query, top, where)
            body = {"words": words, "minus": minus, "like": like, "where": source, "top": top}
            answer = client.post("/v1/search", json=body)
            answer.raise_for_status()
            served = [hit["score"] for hit in answer.json()["hits"]]
            exact = [hit.score for hit in want]
            counts["embedded"] += differ([hit.score for hit in here], exact)
            counts["served"] += differ(served, exact)
            counts["hits"] += len({hit.file for hit in here} & {hit.file for hit in want})
            counts["wanted"] += len(want)
            counts["filtered"] += source is not None
            counts["some"] += source is not None and 0 < oracle.count(where) < oracle.count()
    return counts | {"index": library.store.stats()["index"], "files": len(files), "windows": oracle.count()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    from serve import serving  # bench/serve.py

    with serving(chosen.library) as (address, _):
        counts = ask_all(chosen.library, address, chosen.queries, chosen.top, chosen.seed)
    print(f"{counts['files']} files, {counts['windows']} windows, index {counts['index']}; {chosen.queries} queries, ")
    print(f"{counts['filtered']} with a filter, {counts['some']} of them keep some windows and drop some")
    print(f"served differs from exact: {counts['served']}; embedded differs from exact: {counts['embedded']}")
    print(f"recall@{chosen.top} of embedded: {counts['hits'] / max(1, counts['wanted']):.4f}")
    raise SystemExit(1 if counts["served"] else 0)


if __name__ == "__main__":
    main()
