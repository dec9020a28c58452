"""Rank files by sound and by words at once: cosines of vectors fused with full-text scores.

A file's rank value is `cosine + weight * b / (b + half)`, with the cosine of its best window and the BM25 score b of
the query's words in its name, folders and tags. Scores are combined rather than ranks (Bruch et al., arXiv 2210.11934).
Legend: E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from aural.core.types import FloatArray
from aural.search.filters import Filter, all_of, one_of
from aural.search.index import Hit, best_per_file


@dataclass(frozen=True)
class FuseConfig:
    """Weights of the fusion. They were chosen on the first half of bench/queries; see docs/search/ranking.md."""

    weight: float = 0.5
    """Largest amount that words add to a cosine."""
    half: float = 4.0
    """BM25 score that adds half of it."""
    candidates: int = 200
    """Files that each of the two rankings contributes at least."""
    word_candidates: int | None = None
    """Files that words contribute (None: as many as vectors); pages of one result need the same number."""


DEFAULT = FuseConfig()


def config_for(top: int) -> FuseConfig:
    """Return the weights for pages of `top` hits; every page has the same number of candidates by words."""
    return replace(DEFAULT, word_candidates=max(DEFAULT.candidates, 2 * top))


def fused(
    search: Callable[[FloatArray, int, Filter | None], list[Hit]],
    query: FloatArray,
    word_scores: Callable[[int], Mapping[str, float]],
    top: int,
    where: Filter | None = None,
    *,
    config: FuseConfig = DEFAULT,
) -> list[Hit]:
    """Return the `top` best files, each with its best window; `Hit.word_score` holds the BM25 score.

    search: as `aural.search.index.Index.search`. query: unit vector (E,). word_scores: returns that many files by their
    words, file id to BM25 score.
    """
    count = max(config.candidates, 2 * top)
    scores = word_scores(count if config.word_candidates is None else config.word_candidates)
    hits = best_per_file(lambda rows: search(query, rows, where), count)
    missing = sorted(scores.keys() - {hit.file for hit in hits})
    if missing:
        condition = one_of("file", missing) if where is None else all_of(one_of("file", missing), where)
        hits += best_per_file(lambda rows: search(query, rows, condition), len(missing))
    hits = [replace(hit, word_score=scores.get(hit.file, 0.0)) for hit in hits]
    return sorted(hits, key=lambda hit: (-value(hit, config), hit.file))[:top]


def value(hit: Hit, config: FuseConfig = DEFAULT) -> float:
    """Return the value by which a hit is ranked."""
    if not hit.word_score:
        return hit.score
    return hit.score + config.weight * hit.word_score / (hit.word_score + config.half)
