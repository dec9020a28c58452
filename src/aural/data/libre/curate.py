"""Curate the rows of all sources: remove duplicates, apply caps, assign splits without leaks, and write captions.

Every choice depends only on the rows and the cards, and ties are broken by a hash. The manifest is therefore the same
for any order of building.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from aural.data.fingerprint import similar
from aural.data.libre.captions import captions, note_captions, speech_captions
from aural.data.libre.cards import SourceCard, taxonomy
from aural.data.manifest import Row

TEST_SHARE, VALID_SHARE = 0.14, 0.06  # shares of the groups of a source that is split by group
SALT: Final = "aural-libre-1"
NOTE_READERS: Final = frozenset(("soundfont",))


@dataclass(frozen=True, slots=True)
class Dropped:
    """A clip that was left out, with the reason."""

    path: str
    reason: str


def curate(rows: Iterable[Row], cards: Mapping[str, SourceCard]) -> tuple[list[Row], list[Dropped]]:
    """Return (kept rows with splits and captions, dropped clips), both sorted by path."""
    dropped: list[Dropped] = []
    # Of equal sounds the first is kept: test-only sources come first, then sources of earlier editions.
    ordered = sorted(
        rows, key=lambda row: (cards[row.source].split != "eval-only", cards[row.source].edition, row.path)
    )
    ordered = _without_unseen_words(ordered, cards, dropped)
    ordered = _exact(ordered, cards, dropped)
    ordered = _near(ordered, cards, dropped)
    ordered = _capped(ordered, cards, dropped)
    splits = _splits(ordered, cards)
    kept = [_finished(row, split) for row, split in zip(ordered, splits, strict=True)]
    return sorted(kept, key=lambda row: row.path), sorted(dropped, key=lambda drop: drop.path)


def _without_unseen_words(rows: list[Row], cards: Mapping[str, SourceCard], dropped: list[Dropped]) -> list[Row]:
    """Drop training speech whose transcript names an unseen class, because its caption quotes the transcript."""
    named = re.compile(rf"\b({'|'.join(sorted(map(re.escape, taxonomy().unseen)))})", re.IGNORECASE)
    kept = [r for r in rows if cards[r.source].split == "eval-only" or not named.search(r.transcript)]
    paths = {row.path for row in kept}
    dropped += [Dropped(row.path, "its transcript names an unseen class") for row in rows if row.path not in paths]
    return kept


def _exact(rows: list[Row], cards: Mapping[str, SourceCard], dropped: list[Dropped]) -> list[Row]:
    """Keep one row per sound. Drop all rows of a sound with contradicting labels, except in test-only sources.

    Labels of later editions do not count, so that a source that is added does not remove clips of the corpus.
    """
    by_sound: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_sound[row.sha256].append(row)
    kept: list[Row] = []
    for same in by_sound.values():
        first = same[0]
        tested = cards[first.source].split == "eval-only"
        peers = [row for row in same if cards[row.source].edition == cards[first.source].edition]
        truth = {row.class_name if not row.transcript else row.transcript for row in peers}
        if len(truth) == 1 or tested:
            kept.append(first)
            dropped += [Dropped(row.path, f"same sound as {first.path}") for row in same[1:]]
        else:
            dropped += [Dropped(row.path, f"same sound with {len(truth)} different labels") for row in same]
    return kept


def _near(rows: list[Row], cards: Mapping[str, SourceCard], dropped: list[Dropped]) -> list[Row]:
    """Keep the first of several near-duplicates. Keep all rendered notes, which differ in key or velocity."""
    notes = [cards[row.source].reader in NOTE_READERS for row in rows]
    removed: set[int] = set()
    for i, j in sorted(similar([row.fingerprint for row in rows])):
        if i not in removed and j not in removed and not (notes[i] and notes[j]) and not _both_speech(rows[i], rows[j]):
            removed.add(j)
            dropped.append(Dropped(rows[j].path, f"near-duplicate of {rows[i].path}"))
    return [row for number, row in enumerate(rows) if number not in removed]


def _both_speech(a: Row, b: Row) -> bool:
    """Return whether both rows are speech of one group.

    Two sentences of one speaker may have similar fingerprints; exact copies were removed before.
    """
    return bool(a.language and b.language and a.group == b.group)


def _capped(rows: list[Row], cards: Mapping[str, SourceCard], dropped: list[Dropped]) -> list[Row]:
    """Keep at most `cap` clips per source and class (per language for speech), selected by a hash of the path."""
    by_class: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_class[row.source, row.class_name, row.language].append(row)
    over: set[str] = set()
    for (source, _, _), some in by_class.items():
        cap = cards[source].cap
        if cap and len(some) > cap:
            rank = sorted(some, key=lambda row: _hash(row.path))
            over.update(row.path for row in rank[cap:])
    dropped += [Dropped(row.path, "over the cap of its class") for row in rows if row.path in over]
    return [row for row in rows if row.path not in over]


def _splits(rows: Sequence[Row], cards: Mapping[str, SourceCard]) -> list[str]:
    """Return one split per row. A group has one split, and groups of unseen classes are used only for testing."""
    unseen = taxonomy().unseen
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row.group].append(row)
    chosen: dict[str, str] = {}
    for group, some in members.items():
        card = cards[some[0].source]
        inside = group.partition("/")[2]
        if card.split != "auto" and (card.split != "train" or not any(row.class_name in unseen for row in some)):
            chosen[group] = card.split
        elif any(row.class_name in unseen for row in some) or any(fnmatchcase(inside, p) for p in card.held_out):
            chosen[group] = "test"
        elif card.split == "train" or card.held_out:  # other groups of a source that lists its test groups
            chosen[group] = "valid" if _share(group) < VALID_SHARE else "train"
        else:
            chosen[group] = _split_of(_share(group))
    return [chosen[row.group] for row in rows]


def _split_of(share: float) -> str:
    """Return the split of a group from its number in [0, 1)."""
    if share < TEST_SHARE:
        return "test"
    return "valid" if share < TEST_SHARE + VALID_SHARE else "train"


def _finished(row: Row, split: str) -> Row:
    """Return the row with split, tags and captions. Its `caption_label` must contain the phrase of the rule."""
    if row.language:
        who = json.loads(row.meta).get("who", "a person") if row.meta else "a person"
        texts = speech_captions(row.path, row.language, row.transcript, who)
    elif "velocity" in row.meta:
        meta = json.loads(row.meta)
        texts = note_captions(row.path, row.class_name, meta["key"], meta["velocity"])
    else:
        texts = captions(row.path, row.class_name, row.caption_label, row.duration_s, row.fingerprint)
    return dataclasses.replace(
        row,
        split=split,
        tags=[row.family, *(["unseen"] if row.class_name in taxonomy().unseen else [])],
        caption_label=texts.label,
        caption_short=texts.short,
        caption_detailed=texts.detailed,
        captions=texts.others,
    )


def _hash(text: str) -> str:
    return hashlib.sha256(f"{SALT}\n{text}".encode()).hexdigest()


def _share(group: str) -> float:
    """Return a number in [0, 1) that depends only on the name of the group."""
    return int(_hash(group)[:8], 16) / 2**32
