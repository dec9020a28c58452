"""Load source cards and the class table from `catalog/datasets/libre/*.toml`.

Everything that differs between sources is stored in these files.
"""

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
    """Version and checksum of a distribution package at the time the card was written."""

    version: str = ""
    sha256: str = ""  # of the .deb


class SourceCard(Config):
    """One source: its packages, how to read them, and rules that map names of sounds to classes."""

    renamed_keys: ClassVar = {"licence": "license", "licences": "licenses"}

    name: str
    version: str  # of this card; increment it with every correction
    title: str
    packages: dict[str, Package]
    edition: int = 1  # of the corpus that added the source; a source never displaces clips of earlier editions
    reader: str
    license: str  # of sounds that the package's copyright file does not list separately
    licenses: dict[str, str] = Field(default_factory=dict)  # pattern of names -> license; overrides the copyright file
    split: Literal["auto", "train", "test", "eval-only"] = "auto"
    root: str = ""  # folder inside the package; names are relative to it
    include: list[str] = Field(default_factory=lambda: ["*"])  # patterns of names below the root
    archives: list[str] = Field(default_factory=list)  # patterns of zip containers (pk3, wz, zip) to read
    group: Literal["stem", "folder", "source", "class"] = "stem"  # unit of splitting, unless the reader sets it
    group_prefix: str = ""  # prefix of the group, equal in sources that share recordings; default: the card's name
    held_out: list[str] = Field(default_factory=list)  # patterns of groups that are used only for testing
    cap: int = 0  # maximum clips per class (per language for speech); 0 = no limit
    language: str = ""
    speaker: str = ""
    options: dict[str, Any] = Field(default_factory=dict)  # options of the reader
    rules: dict[str, str] = Field(
        default_factory=dict
    )  # "pattern | pattern" -> "class" | "class: phrase" | "-: reason to skip"
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Meaning:
    """Result of matching a name against the rules: a class with an optional phrase, or the reason to skip the sound."""

    class_name: str = ""
    phrase: str = ""
    refused: str = ""


NUMBER = re.compile(r"[-_. ]*\(?\d+\)?$")


def plain_name(name: str) -> str:
    """Return the form of a name that rules match: lower case, without suffix and trailing number.

    >>> plain_name("Doors/Open_02.ogg")
    'doors/open'
    """
    stem = re.sub(r"\.(wav|ogg|oga|flac|mp3|aiff?|au|opus|wv|g722|pat)$", "", name, flags=re.IGNORECASE).lower()
    return NUMBER.sub("", stem) or stem


def meaning(card: SourceCard, name: str) -> Meaning:
    """Return the result of the first rule whose pattern matches the plain name."""
    plain = plain_name(name)
    for patterns, what in card.rules.items():
        if any(fnmatchcase(plain, pattern.strip()) for pattern in patterns.split(" | ")):
            class_name, _, phrase = (part.strip() for part in what.partition(":"))
            return Meaning(refused=phrase or "left out") if class_name == "-" else Meaning(class_name, phrase)
    return Meaning(refused="no rule matches its name")


@dataclass(frozen=True)
class Taxonomy:
    """The class table: family and phrases per class. Clips of `unseen` classes are never used for training."""

    families: dict[str, str]
    phrases: dict[str, list[str]]
    unseen: frozenset[str]

    def check(self, class_name: str, where: str) -> None:
        """Raise a ConfigError that starts with `where` if the table has no such class."""
        if class_name not in self.families:
            raise ConfigError(f'{where}: unknown class "{class_name}"; {near_miss(class_name, self.families)}')


@lru_cache(maxsize=1)
def taxonomy() -> Taxonomy:
    """Return the class table in `catalog/datasets/libre/taxonomy.toml`."""
    values = read_mapping(package_folder("datasets/libre") / "taxonomy.toml")
    families: dict[str, str] = {}
    phrases: dict[str, list[str]] = {}
    for family, classes in values["family"].items():
        for name, wordings in classes.items():
            if name in families:
                raise ConfigError(
                    f'taxonomy.toml: class "{name}" is in the families {families[name]} and {family}; remove one'
                )
            families[name] = family
            phrases[name] = wordings
    table = Taxonomy(families, phrases, frozenset(values["unseen"]))
    for name in table.unseen:
        table.check(name, "taxonomy.toml: unseen")
    return table


def _check_rules(card: SourceCard, path: Path) -> None:
    """Check that every class in the rules of a card is in the class table."""
    for meaning_text in card.rules.values():
        class_name = meaning_text.partition(":")[0].strip()
        if class_name != "-":
            taxonomy().check(class_name, str(path))


def source_catalog(folder: str | Path) -> Catalog[SourceCard]:
    """Return the source cards of a folder of the package's catalog, or of any folder by its absolute path."""
    return Catalog("source", str(folder), SourceCard, check=_check_rules, skip=("taxonomy", "tags"))


SOURCES = source_catalog("datasets/libre")


def source_cards(only: Iterable[str] | None = None, folder: Path | None = None) -> list[SourceCard]:
    """Return the named source cards sorted by name, or all of them; `folder` replaces the package's cards."""
    cards = SOURCES if folder is None else source_catalog(folder.resolve())
    return [cards.card(name) for name in (sorted(set(only)) if only else cards)]
