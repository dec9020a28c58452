"""Curate the rows of all sources: remove duplicates, apply caps, split without leaks, write captions.

Every choice follows from the rows and the cards alone (ties by hash), so any order of building gives one manifest.
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

TEST_SHARE, VALID_SHARE = 0.14, 0.06  # of the groups of a source that is split by group
SALT: Final = "aural-libre-1"
NOTE_READERS: Final = frozenset(("soundfont",))


@dataclass(frozen=True, slots=True)
class Dropped:
    """A clip that was left out, and why."""

    path: str
    reason: str


def curate(rows: Iterable[Row], cards: Mapping[str, SourceCard]) -> tuple[list[Row], list[Dropped]]:
    """Return (kept rows with splits and captions, what was dropped), both in order of path."""
    dropped: list[Dropped] = []
    # A sound that a source for testing only also holds stays there: such sources come first everywhere below.
    ordered = sorted(rows, key=lambda row: (cards[row.source].split != "eval-only", row.path))
    ordered = _silent_about_unseen(ordered, cards, dropped)
    ordered = _exact(ordered, cards, dropped)
    ordered = _near(ordered, cards, dropped)
    ordered = _capped(ordered, cards, dropped)
    splits = _splits(ordered, cards)
    kept = [_finished(row, split) for row, split in zip(ordered, splits, strict=True)]
    return sorted(kept, key=lambda row: row.path), sorted(dropped, key=lambda drop: drop.path)


def _silent_about_unseen(rows: list[Row], cards: Mapping[str, SourceCard], dropped: list[Dropped]) -> list[Row]:
    """Without speech that names a class which no training caption may name: its words stand in the caption."""
    named = re.compile(rf"\b({'|'.join(sorted(map(re.escape, taxonomy().unseen)))})", re.IGNORECASE)
    kept = [r for r in rows if cards[r.source].split == "eval-only" or not named.search(r.transcript)]
    paths = {row.path for row in kept}
    dropped += [Dropped(row.path, "its words name an unseen class") for row in rows if row.path not in paths]
    return kept


def _exact(rows: list[Row], cards: Mapping[str, SourceCard], dropped: list[Dropped]) -> list[Row]:
    """One of each sound; where its names contradict each other, none (but what is for testing only stays there)."""
    by_sound: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_sound[row.sha256].append(row)
    kept: list[Row] = []
    for same in by_sound.values():
        first = same[0]
        tested = cards[first.source].split == "eval-only"
        truth = {row.class_name if not row.transcript else row.transcript for row in same}
        if len(truth) == 1 or tested:
            kept.append(first)
            dropped += [Dropped(row.path, f"same sound as {first.path}") for row in same[1:]]
        else:
            dropped += [Dropped(row.path, f"one sound under {len(truth)} names") for row in same]
    return kept


def _near(rows: list[Row], cards: Mapping[str, SourceCard], dropped: list[Dropped]) -> list[Row]:
    """Drop near-duplicates except the first. Rendered notes differ by key and velocity and are kept."""
    notes = [cards[row.source].reader in NOTE_READERS for row in rows]
    gone: set[int] = set()
    for i, j in sorted(similar([row.fingerprint for row in rows])):
        if i not in gone and j not in gone and not (notes[i] and notes[j]) and not _both_speech(rows[i], rows[j]):
            gone.add(j)
            dropped.append(Dropped(rows[j].path, f"near-duplicate of {rows[i].path}"))
    return [row for number, row in enumerate(rows) if number not in gone]


def _both_speech(a: Row, b: Row) -> bool:
    """The same speaker saying two different things may sound alike; exact copies are gone already."""
    return bool(a.language and b.language and a.group == b.group)


def _capped(rows: list[Row], cards: Mapping[str, SourceCard], dropped: list[Dropped]) -> list[Row]:
    """At most `cap` clips of a class (of a language, for speech) from one source, spread over its groups by hash."""
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
    """A split per row. Groups never straddle; unseen classes are tested, never trained."""
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
        elif card.split == "train" or card.held_out:  # a source that names its test groups keeps the others
            chosen[group] = "valid" if _share(group) < VALID_SHARE else "train"
        else:
            share = _share(group)
            chosen[group] = "test" if share < TEST_SHARE else "valid" if share < TEST_SHARE + VALID_SHARE else "train"
    return [chosen[row.group] for row in rows]


def _finished(row: Row, split: str) -> Row:
    """With split, tags and captions. `caption_label` still holds the rule's phrase."""
    if row.language:
        who = json.loads(row.meta).get("who", "a person") if row.meta else "a person"
        said = speech_captions(row.path, row.language, row.transcript, who)
    elif "velocity" in row.meta:
        meta = json.loads(row.meta)
        said = note_captions(row.path, row.class_name, meta["key"], meta["velocity"])
    else:
        said = captions(row.path, row.class_name, row.caption_label, row.duration_s, row.fingerprint)
    return dataclasses.replace(
        row,
        split=split,
        tags=[row.family, *(["unseen"] if row.class_name in taxonomy().unseen else [])],
        caption_label=said.label,
        caption_short=said.short,
        caption_detailed=said.detailed,
        captions=said.others,
    )


def _hash(text: str) -> str:
    return hashlib.sha256(f"{SALT}\n{text}".encode()).hexdigest()


def _share(group: str) -> float:
    """A number in [0, 1) that a group keeps for ever."""
    return int(_hash(group)[:8], 16) / 2**32
