"""Clips for scenes out of a manifest: what a caption may call them, and which are backgrounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aural.audio.io import write
from aural.core.errors import DataError
from aural.core.types import Clip
from aural.data.libre.captions import NOTE_SHORT, SHORT, fill
from aural.data.manifest import Row, from_rows
from aural.data.simulate.corpus import clips_of, noun_phrase


@pytest.mark.parametrize("template", SHORT)
def test_every_sentence_of_the_corpus_gives_back_its_phrase(template: str) -> None:
    assert noun_phrase(fill(template, "a hen clucking", "")) == "a hen clucking"


@pytest.mark.parametrize("template", NOTE_SHORT)
def test_a_note_gives_its_instrument(template: str) -> None:
    assert noun_phrase(fill(template, "a sitar", "")) in ("a sitar", "")


@pytest.mark.parametrize("caption", ["A man is talking while rain falls.", "Two dogs are barking."])
def test_whole_sentences_give_no_phrase(caption: str) -> None:
    assert noun_phrase(caption) == ""


def test_clips_with_their_phrases_and_roles(tmp_path: Path) -> None:
    rows = [
        Row(path="a.wav", source="s", split="train", duration_s=0.5, class_name="dog", caption_label="dog barking",
            caption_short="You can hear a dog barking.", captions=["A barking dog.", "A dog is barking."]),
        Row(path="b.wav", source="s", split="train", duration_s=0.5, class_name="rain", caption_label="rain"),
        Row(path="c.wav", source="s", split="test", duration_s=0.5, class_name="dog", caption_label="dog"),
    ]  # fmt: skip
    for row in rows:
        write(tmp_path / row.path, Clip(np.full((1, 4000), 0.1, np.float32), 8000))
    dog, rain = clips_of(from_rows(rows, tmp_path), 8000)
    assert dog.phrases == ("a dog barking", "a barking dog")
    assert (dog.role, rain.role) == ("event", "background")
    assert rain.phrases == ("rain",)
    with pytest.raises(DataError, match="no named clip in split valid"):
        clips_of(from_rows(rows, tmp_path), 8000, split="valid")
