"""Read file names of the Universal Category System (UCS): `CatID_FXName_CreatorID_SourceID_UserData`.

Source: the file-name convention published at universalcategorysystem.com. The CatID joins a category in capitals and a
subcategory (`RAINMetl`, `AMBFrst`), and may be followed by a user category after a dash. The table of full names is not
included; the short names are those of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

_CAT_ID: Final = re.compile(r"([A-Z]{2,4})([A-Z][a-z]{1,5})(?:-[\w ]+)?")
LEAST_FIELDS: Final = 4


@dataclass(frozen=True, slots=True)
class UcsName:
    """The parts of a UCS file name."""

    category: str
    subcategory: str
    fx_name: str
    creator: str
    source: str


def parse_ucs(path: str) -> UcsName | None:
    """Return the parts of a file name, or None if it does not follow the convention.

    >>> name = parse_ucs("/sfx/RAINMetl_Tin Roof Heavy_ABC_Storms.wav")
    >>> name.category, name.subcategory, name.fx_name, name.creator
    ('RAIN', 'Metl', 'Tin Roof Heavy', 'ABC')
    >>> parse_ucs("rain_on_tin_roof.wav") is None
    True
    """
    fields = PurePosixPath(path).stem.split("_")
    match = _CAT_ID.fullmatch(fields[0])
    if match is None or len(fields) < LEAST_FIELDS or not all(fields[1:4]):
        return None
    return UcsName(match.group(1), match.group(2), *fields[1:4])
