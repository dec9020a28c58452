"""Audit a model: is a tower collapsed, how far apart are the modalities, which groups are served worse, what leaks.

Legend: N items, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Final

import numpy as np

from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.core.vectors import mean_cosine
from aural.evaluate.audit import geometry
from aural.evaluate.audit.clips import Clips
from aural.evaluate.audit.groups import GroupGap, Membership, group_gaps, hits, membership
from aural.models.embedding import EmbeddingModel

FEWEST = 8  # fewer sounds give no audit
VERDICTS: Final = {"collapsed": 0.95, "anisotropic": 0.60}
"""The mean cosine from which a tower gets a verdict. At 0.95 its outputs differ by 18 degrees on average."""


@dataclass(frozen=True)
class Tower:
    """The shape of one tower's outputs; see `aural.evaluate.audit.geometry` for the measures."""

    items: int
    mean_cosine: float
    effective_rank: float
    """At most the smaller one of items and dimensions, `most_rank`."""
    most_rank: int
    uniformity: float

    @property
    def verdict(self) -> str:
        """The first of `VERDICTS` whose mean cosine is reached, else "fine"."""
        return next((name for name, bound in VERDICTS.items() if self.mean_cosine >= bound), "fine")


@dataclass(frozen=True)
class Audit:
    """The results of an audit; None or empty where the data do not allow a measure."""

    model: str
    text: Tower
    sound: Tower
    modality_gap: float
    alignment: float | None
    groups: dict[str, list[GroupGap]]
    membership: Membership | None
    skipped: tuple[str, ...]
    names: Membership | None = None
    """Whether trained names are anomalies among gibberish, see `name_membership`."""

    @property
    def warnings(self) -> list[str]:
        """One sentence per problem."""
        lines = []
        for name, tower in (("text", self.text), ("audio", self.sound)):
            if tower.verdict != "fine":
                lines.append(
                    f"the {name} tower is {tower.verdict}: the mean cosine of {tower.items} different items is "
                    f"{tower.mean_cosine:.2f}"
                )
        for column, gaps in self.groups.items():
            lines += [
                f"{column} {gap.group}: own caption in the top 10 for {gap.score:.0%} of {gap.clips} clips, "
                f"{100 * gap.gap:+.0f} points against the others [{100 * gap.low:+.0f}, {100 * gap.high:+.0f}]"
                for gap in gaps
                if gap.high < 0
            ]
        if self.membership is not None and self.membership.leaks:
            m = self.membership
            lines.append(
                f"trained clips are recognized: AUROC {m.auroc:.3f} [{m.low:.3f}, {m.high:.3f}] from the similarity of "
                "sound and caption"
            )
        if self.names is not None and self.names.leaks:
            n = self.names
            lines.append(
                f"trained names are recognized from text alone: AUROC {n.auroc:.3f} [{n.low:.3f}, {n.high:.3f}]"
            )
        return lines

    def record(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        values = asdict(self)
        values["text"]["verdict"], values["sound"]["verdict"] = self.text.verdict, self.sound.verdict
        return values | {"warnings": self.warnings}


def probe_texts() -> list[str]:
    """Return the captions of clearly different sounds with which a text tower is examined."""
    text = resources.files("aural").joinpath("catalog", "audit-captions.txt").read_text(encoding="utf-8")
    return text.splitlines()


def audit(
    model: EmbeddingModel,
    clips: Clips,
    *,
    columns: Sequence[str] = (),
    trained_on: Sequence[str] = (),
    generator: np.random.Generator,
    follow: Callable[[Any, int], Any] = lambda items, total: items,
) -> Audit:
    """Measure the model on the clips.

    columns: columns of the manifest whose values are compared as groups.
    trained_on: splits of the manifest that the model was trained on, for membership.
    follow: wraps the stream of results, such as a progress bar.

    Raises:
        DataError: fewer than 8 sounds can be read, or the manifest lacks a column, split or captions.
    """
    facts = {column: clips.facts(column) for column in columns}
    splits = np.asarray(clips.facts("split")) if trained_on else np.empty(0)
    rows, kept, skipped = _embedded(model, clips, follow)
    if len(kept) < FEWEST:
        why = f" (the first skipped one: {skipped[0]})" if skipped else ""
        raise DataError(
            f"{len(kept)} sounds can be read{why}, but an audit needs at least {FEWEST}; give more with --data"
        )
    texts, sounds = model.embed_text(probe_texts()), rows[kept]
    captions = [clips.captions[n] for n in kept]
    captioned = np.array([bool(caption) for caption in captions])
    if (columns or trained_on) and not captioned.any():
        raise DataError("the clips have no captions, which groups and membership need; use a manifest with captions")
    matching = model.embed_text([caption for caption in captions if caption]) if captioned.any() else None
    units = clips.units[kept]
    groups: dict[str, list[GroupGap]] = {}
    members = None
    if matching is not None and columns:
        recalled = hits(sounds[captioned], matching, [caption for caption in captions if caption])
        for column, values in facts.items():
            names = [values[n] for n, has in zip(kept, captioned, strict=True) if has]
            groups[column] = group_gaps(recalled, names, units[captioned], generator)
    if matching is not None and trained_on:
        similarity = np.einsum("ne,ne->n", sounds[captioned].astype(np.float64), matching.astype(np.float64))
        trained = np.isin(splits[kept][captioned], list(trained_on))
        if not 0 < trained.sum() < len(trained):
            raise DataError(
                f"--trained-on {', '.join(trained_on)}: {int(trained.sum())} of {len(trained)} clips are in these "
                f"splits; the manifest has {', '.join(sorted(set(splits)))}, and both kinds are needed"
            )
        members = membership(similarity, trained, units[captioned], generator)
    return Audit(
        model.name,
        _tower(texts),
        _tower(sounds),
        geometry.modality_gap(sounds, texts if matching is None else matching),
        None if matching is None else geometry.alignment(sounds[captioned], matching),
        groups,
        members,
        tuple(skipped),
    )


def _embedded(
    model: EmbeddingModel, clips: Clips, follow: Callable[[Any, int], Any]
) -> tuple[FloatArray, list[int], list[str]]:
    """Return rows (N, E), the numbers of the clips that were read, and why others were not."""
    rows = np.full((len(clips.sources), model.embed_dim), np.nan, np.float32)
    kept, skipped = [], []
    for result in follow(model.stream_audio(clips.sources), len(clips.sources)):
        if result.error is not None:
            skipped.append(str(result.error))
        else:
            rows[result.index] = result.embedding
            kept.append(result.index)
    return rows, kept, skipped


def _tower(rows: FloatArray) -> Tower:
    return Tower(
        len(rows),
        mean_cosine(rows),
        geometry.effective_rank(rows),
        min(rows.shape),
        geometry.uniformity(rows),
    )
