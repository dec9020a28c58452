"""Real words: the readers on two small files in the formats of the packages, and the world over them."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from aural.core.errors import DataError
from aural.data.text.real import GLOSSES, PICTURES, build_texts, read_descriptions, read_glosses
from aural.data.worlds import open_world

NOUNS = """  1 This software and database is being provided to you, the LICENSEE, by
00005930 03 n 01 dwarf 0 001 @ 00004475 n 0000 | a plant or animal that is atypically small
00006269 03 n 02 life 0 living_thing(p) 1 000 | living things collectively; "the oceans are teeming with life"
"""


def written(folder: Path) -> Path:
    pictures = folder / "stamps" / "animals"
    pictures.mkdir(parents=True)
    (pictures / "dog.txt").write_text(
        "A dog.\nde.utf8=Ein Hund.\nfr.utf8=\nca@valencia.utf8=Un gos.\n", encoding="utf-8"
    )
    (pictures / "cat.txt").write_text("A cat.\nde.utf8=Eine Katze.\n", encoding="utf-8")
    (pictures / "empty.txt").write_text("\n")
    (folder / "data.noun").write_text(NOUNS)
    records = [*read_descriptions(folder / "stamps"), *read_glosses(folder / "data.noun")]
    file = folder / "texts.jsonl"
    file.write_text("".join(json.dumps(asdict(one)) + "\n" for one in records))
    return file


def test_readers(tmp_path: Path) -> None:
    written(tmp_path)
    cat, dog = read_descriptions(tmp_path / "stamps")
    assert dog.texts == {"en": "A dog.", "de": "Ein Hund.", "ca@valencia": "Un gos."}
    assert (cat.key, cat.source, cat.license) == ("picture animals/cat", PICTURES, "GPL-2.0-or-later")
    dwarf, life = read_glosses(tmp_path / "data.noun")
    assert (dwarf.words, dwarf.texts["en"]) == (["dwarf"], "a plant or animal that is atypically small")
    assert (life.words, life.texts["en"]) == (["life", "living thing"], "living things collectively")


def test_the_world_gives_translations_and_words_as_paraphrases(tmp_path: Path) -> None:
    file = written(tmp_path)
    items = []
    for split in ("train", "test"):
        for source, languages in ((PICTURES, ["de", "en"]), (GLOSSES, ["en"])):
            options = {"file": str(file), "source": source, "split": split, "languages": languages}
            try:
                world = open_world("real-texts", options)
            except DataError:
                continue  # no record of the source fell into this split
            items += [world.item(i) for i in range(len(world))]
    captions = {item.captions for item in items}
    assert captions == {
        ("Ein Hund.", "A dog."), ("Eine Katze.", "A cat."), ("a plant or animal that is atypically small", "dwarf"),
        ("living things collectively", "life, living thing"),
    }  # fmt: skip


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="aural corpus texts"):
        open_world("real-texts", {"file": str(tmp_path / "none.jsonl")})
    with pytest.raises(DataError, match="xx"):
        open_world("real-texts", {"file": str(written(tmp_path)), "languages": ["xx"]})


def test_a_package_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tuxpaint-stamps-default_2022.06.04-1_all.deb").write_bytes(b"!<arch>\nother")
    with pytest.raises(DataError, match=r"is not version 2022\.06\.04-1"):
        build_texts(tmp_path / "out", debs=tmp_path)
