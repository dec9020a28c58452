"""Rank the files of a library for one query, by sound alone or by sound and words, with copies folded.

Copies of one sound (`aural.search.copies`) are one hit: the best-ranked copy, which holds the others in `Hit.copies`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from aural.core.types import FloatArray
from aural.search.copies import NO_COPIES, CopyGroups
from aural.search.filters import Filter, all_of, one_of
from aural.search.fuse import DEFAULT, FuseConfig, fused
from aural.search.index import Hit, best_per_file

MOST_HITS: Final = 10_000
"""Files that a query ranks at most."""


@dataclass(frozen=True)
class Ranking:
    """The files of a library in the order of one query.

    search: as `aural.search.index.Index.search`. query: unit vector (E,). word_scores: see `aural.search.fuse.fused`;
    None ranks by the vector alone. groups: the copies that are folded.
    """

    search: Callable[[FloatArray, int, Filter | None], list[Hit]]
    query: FloatArray
    where: Filter | None = None
    word_scores: Callable[[int], Mapping[str, float]] | None = None
    groups: CopyGroups = NO_COPIES
    config: FuseConfig = DEFAULT

    def best(self, top: int, after: Callable[[Hit], bool] = lambda hit: True, shown: int = 0) -> tuple[list[Hit], bool]:
        """Return the `top` best hits that come `after` a place in the ranking, and whether there are more.

        shown: about the number of hits before that place.
        """
        count = min(shown + top + 1, MOST_HITS)
        while True:
            ranked = self._files(count)
            hits = [hit for hit in self._folded(ranked) if after(hit)]
            if len(hits) > top or len(ranked) < count or count == MOST_HITS:
                return self._with_copies(hits[:top]), len(hits) > top
            count = min(2 * count, MOST_HITS)  # copies were folded, or sounds that were added since rank before

    def _files(self, count: int) -> list[Hit]:
        if self.word_scores is None:
            return best_per_file(lambda rows: self.search(self.query, rows, self.where), count)
        return fused(self.search, self.query, self.word_scores, count, self.where, config=self.config)

    def _folded(self, ranked: list[Hit]) -> list[Hit]:
        """Return the best file of each group, with its ranked copies, and the files without copies."""
        first: dict[int, int] = {}
        hits: list[Hit] = []
        for hit in ranked:
            group = self.groups.of_file.get(hit.file)
            if group is not None and group in first:
                best = hits[first[group]]
                hits[first[group]] = replace(best, copies=(*best.copies, hit))
                continue
            if group is not None:
                first[group] = len(hits)
            hits.append(hit)
        return hits

    def _with_copies(self, hits: list[Hit]) -> list[Hit]:
        """Add the copies that rank below the files that were looked at, and sort all of them by path."""
        missing: dict[str, int] = {}
        for place, hit in enumerate(hits):
            present = {hit.file, *(copy.file for copy in hit.copies)}
            group = self.groups.of_file.get(hit.file)
            files = () if group is None else self.groups.files[group]
            missing |= {file: place for file in files if file not in present}
        copies = [list(hit.copies) for hit in hits]
        if missing:
            among = one_of("file", sorted(missing))
            where = among if self.where is None else all_of(among, self.where)
            for other in best_per_file(lambda rows: self.search(self.query, rows, where), len(missing)):
                copies[missing[other.file]].append(other)
        ordered = (tuple(sorted(some, key=lambda copy: copy.path)) for some in copies)
        return [replace(hit, copies=some) for hit, some in zip(hits, ordered, strict=True)]
