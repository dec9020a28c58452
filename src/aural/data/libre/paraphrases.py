"""Read and write the file of paraphrases: rewordings of phrases by a language model that passed the check.

The file is `catalog/datasets/libre/paraphrases.json`. `aural corpus paraphrase` writes it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from aural.core.catalog import package_folder
from aural.core.files import write_text
from aural.data.libre.additions import EMPTY, Additions
from aural.data.libre.captions import bare
from aural.data.libre.cards import source_cards, taxonomy
from aural.data.libre.reword import rewordings
from aural.data.manifest import TRAINING_SPLITS, Row

FILE: Final = "paraphrases.json"
LEADS: Final = re.compile(r"^(the|a) (sound|noise|recording)s? (of|made by) ")


@lru_cache(maxsize=1)
def _stored() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((package_folder("datasets/libre") / FILE).read_text(encoding="utf-8"))
    return content


def refused_by_reading() -> dict[str, list[str]]:
    """Return phrase -> rewordings that passed the check and that a reader refused."""
    return dict(_stored()["refused_by_reading"])


def stored_paraphrases() -> dict[str, list[str]]:
    """Return phrase -> rewordings of the file in the catalog, without those that a reader refused."""
    refused = refused_by_reading()
    kept = {
        phrase: [text for text in texts if text not in refused.get(phrase, [])]
        for phrase, texts in _stored()["rewordings"].items()
    }
    return {phrase: texts for phrase, texts in kept.items() if texts}


@lru_cache(maxsize=1)
def _rule_phrases() -> dict[tuple[str, str, str], str]:
    """Return (source, class, label of the caption) -> phrase with its article, for the phrases of rules."""
    phrases = {}
    for card in source_cards():
        for what in card.rules.values():
            class_name, _, phrase = (part.strip() for part in what.partition(":"))
            if class_name != "-" and phrase:
                phrases[card.name, class_name, bare(phrase)] = phrase
    return phrases


def phrases_of(row: Row) -> list[str]:
    """Return the phrases of a recording, that of its rule first, else those of its class."""
    general = taxonomy().phrases.get(row.class_name, [])
    phrase = _rule_phrases().get((row.source, row.class_name, row.caption_label))
    return [phrase] if phrase and row.caption_label != bare(general[0]) else list(general)


def phrases_to_reword(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Return (class, phrase) of the training clips without speech, the phrases of most clips first."""
    uses: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row.split in TRAINING_SPLITS and not row.language:
            uses.update((row.class_name, phrase) for phrase in phrases_of(row))
    return [pair for pair, _ in uses.most_common()]


def cleaned(text: str) -> str:
    """Return a sample of the language model as a phrase, or "" if it is not one.

    >>> cleaned("The sound of a dog's bark."), cleaned("a bell that is made of"), cleaned("a b = c")
    ("a dog's bark", '', '')
    """
    text = text.strip().rstrip(".,;!").strip()
    text = LEADS.sub("", text[:1].lower() + text[1:])
    if not re.fullmatch(r"[A-Za-z][A-Za-z' -]*", text) or text.split()[-1] in EMPTY - {"sound", "noise", "person"}:
        return ""
    return text


def checked(
    pairs: Sequence[tuple[str, str]], samples: Mapping[str, Sequence[str]], check: Additions
) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Return (phrase -> accepted rewordings, counts of samples by result).

    A sample counts once per phrase. Repetitions of the phrase, of its class and of the grammar's rewordings are counted
    as "repeats", names of unseen classes as "unseen class".
    """
    counts: Counter[str] = Counter()
    accepted: dict[str, list[str]] = {}
    unseen = re.compile(rf"\b({'|'.join(sorted(map(re.escape, taxonomy().unseen)))})", re.IGNORECASE)
    for class_name, phrase in pairs:
        said = {phrase, *taxonomy().phrases.get(class_name, []), *rewordings(phrase)}
        for sample in dict.fromkeys(samples.get(phrase, ())):
            text = cleaned(sample)
            reason = check.reason(class_name, phrase, text) if text else "no phrase"
            if text in said or bare(text) in map(bare, said):
                reason = "repeats"
            elif not reason and unseen.search(text):
                reason = "unseen class"
            counts["accepted" if not reason else reason.partition(' "')[0]] += 1
            if not reason:
                accepted.setdefault(phrase, []).append(text)
                said.add(text)
    return accepted, dict(sorted(counts.items()))


def write_paraphrases(path: Path, about: Mapping[str, Any], accepted: Mapping[str, Sequence[str]]) -> None:
    """Write the file, phrases sorted, with the rewordings that a reader refused before."""
    rewordings_by_phrase = {phrase: list(accepted[phrase]) for phrase in sorted(accepted)}
    content = {**about, "refused_by_reading": refused_by_reading(), "rewordings": rewordings_by_phrase}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
