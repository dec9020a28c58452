"""Source cards and the class table: all that differs between sources is data in `catalog/datasets/libre/*.toml`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from aural.core.catalog import Catalog, package_folder
from aural.core.config import Config, read_mapping
from aural.core.errors import ConfigError, near_miss


class Package(Config):
    """A distribution package as it was when the card was written."""

    version: str = ""
    sha256: str = ""  # of the .deb


class SourceCard(Config):
    """One source: its packages, how they are read, what each name means."""

    renamed_keys: ClassVar = {"licence": "license", "licences": "licenses"}

    name: str
    version: str  # of this card; a correction is a new version
    title: str
    packages: dict[str, Package]
    reader: str
    license: str  # where the package's copyright file does not single a sound out
    licenses: dict[str, str] = Field(default_factory=dict)  # pattern -> license, before the copyright file
    split: Literal["auto", "train", "test", "eval-only"] = "auto"
    root: str = ""  # the folder inside the package that names start from
    include: list[str] = Field(default_factory=lambda: ["*"])  # patterns of names below the root
    archives: list[str] = Field(default_factory=list)  # zip containers (pk3, wz, zip) to look into
    group: Literal["stem", "folder", "source", "class"] = "stem"  # what never straddles splits, unless the reader knows
    group_prefix: str = ""  # before the group; sources that share recordings share it (default: the card's name)
    held_out: list[str] = Field(default_factory=list)  # patterns of groups that are for testing
    cap: int = 0  # most clips of one class (for speech: one language), 0 = all
    language: str = ""
    speaker: str = ""
    options: dict[str, Any] = Field(default_factory=dict)  # the reader's own
    rules: dict[str, str] = Field(
        default_factory=dict
    )  # "pattern | pattern" -> "class" | "class: phrase" | "-: why not"
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The result of a rule for a name: a class and optionally a phrase, or the reason why the sound is skipped."""

    class_name: str = ""
    phrase: str = ""
    refused: str = ""


NUMBER = re.compile(r"[-_. ]*\(?\d+\)?$")


def plain_name(name: str) -> str:
    """Normalize a name for rules (lower case, no suffix, no trailing number): "Doors/Open_02.ogg" -> "doors/open"."""
    stem = re.sub(r"\.(wav|ogg|oga|flac|mp3|aiff?|au|opus|wv|g722|pat)$", "", name, flags=re.IGNORECASE).lower()
    return NUMBER.sub("", stem) or stem


def meaning(card: SourceCard, name: str) -> Meaning:
    """Return the first rule whose pattern fits the plain name."""
    plain = plain_name(name)
    for patterns, what in card.rules.items():
        if any(fnmatchcase(plain, pattern.strip()) for pattern in patterns.split(" | ")):
            class_name, _, phrase = (part.strip() for part in what.partition(":"))
            return Meaning(refused=phrase or "left out") if class_name == "-" else Meaning(class_name, phrase)
    return Meaning(refused="its name says nothing")


@dataclass(frozen=True)
class Taxonomy:
    """The class table: class -> family and phrases; `unseen` classes are never in training."""

    families: dict[str, str]
    phrases: dict[str, list[str]]
    unseen: frozenset[str]

    def check(self, class_name: str, where: str) -> None:
        if class_name not in self.families:
            raise ConfigError(f'{where}: unknown class "{class_name}"; {near_miss(class_name, self.families)}')


@lru_cache(maxsize=1)
def taxonomy() -> Taxonomy:
    """Return the table in `catalog/datasets/libre/taxonomy.toml`."""
    values = read_mapping(package_folder("datasets/libre") / "taxonomy.toml")
    families: dict[str, str] = {}
    phrases: dict[str, list[str]] = {}
    for family, classes in values["family"].items():
        for name, said in classes.items():
            if name in families:
                raise ConfigError(f'taxonomy.toml: class "{name}" stands in {families[name]} and in {family}')
            families[name], phrases[name] = family, said
    table = Taxonomy(families, phrases, frozenset(values["unseen"]))
    for name in table.unseen:
        table.check(name, "taxonomy.toml: unseen")
    return table


def _check_rules(card: SourceCard, path: Path) -> None:
    """Check that the rules of a card name known classes."""
    for meaning_text in card.rules.values():
        class_name = meaning_text.partition(":")[0].strip()
        if class_name != "-":
            taxonomy().check(class_name, str(path))


def source_catalog(folder: str | Path) -> Catalog[SourceCard]:
    """Return the source cards of a folder of the package's catalog, or of any folder by its absolute path."""
    return Catalog("source", str(folder), SourceCard, check=_check_rules, skip=("taxonomy",))


SOURCES = source_catalog("datasets/libre")


def source_cards(only: Iterable[str] | None = None, folder: Path | None = None) -> list[SourceCard]:
    """Return the named source cards in order of name, or all; `folder` replaces the package's cards."""
    cards = SOURCES if folder is None else source_catalog(folder.resolve())
    return [cards.card(name) for name in (sorted(set(only)) if only else cards)]
