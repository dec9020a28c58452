"""Read file names of the Universal Category System (UCS): `CatID_FXName_CreatorID_SourceID_UserData`.

Source: the file-name convention and the category list 8.2.1 published at universalcategorysystem.com. The CatID is one
of 752 names such as `RAINMetl`, and may be followed by a user category after a dash. `ucs.tsv` holds CatID, category
and subcategory, from the edition of ucs-community, which is dedicated to the public domain (CC0-1.0).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final

TABLE: Final = "ucs.tsv"
LEAST_FIELDS: Final = 2
FIELDS_OF_A_WORD: Final = 4
"""Least number of fields after a CatID that is also a word in capitals, such as `MIX`."""


@dataclass(frozen=True, slots=True)
class UcsName:
    """The parts of a UCS file name; category and subcategory are the names of the list. Missing fields are empty."""

    category: str
    subcategory: str
    fx_name: str
    creator: str = ""
    source: str = ""


@functools.cache
def categories() -> Mapping[str, tuple[str, str]]:
    """Return category and subcategory per CatID.

    >>> categories()["RAINMetl"]
    ('RAIN', 'METAL')
    """
    lines = Path(__file__).with_name(TABLE).read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return MappingProxyType({cat_id: (category, subcategory) for cat_id, category, subcategory in rows})


def parse_ucs(path: str) -> UcsName | None:
    """Return the parts of a file name, or None if it does not begin with a CatID of the list and a name.

    >>> name = parse_ucs("/sfx/RAINMetl_Tin Roof Heavy_ABC_Storms.wav")
    >>> name.category, name.subcategory, name.fx_name, name.creator
    ('RAIN', 'METAL', 'Tin Roof Heavy', 'ABC')
    >>> parse_ucs("rain_on_tin_roof.wav") is None
    True
    """
    fields = PurePosixPath(path).stem.split("_")
    cat_id = fields[0].partition("-")[0]
    least = FIELDS_OF_A_WORD if cat_id.isupper() else LEAST_FIELDS
    if cat_id not in categories() or len(fields) < least or not all(fields[1:least]):
        return None
    return UcsName(*categories()[cat_id], *fields[1:4])
