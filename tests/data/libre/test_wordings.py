import json

import numpy as np

from aural.data.fingerprint import SIZE
from aural.data.libre.additions import Additions
from aural.data.libre.cards import taxonomy
from aural.data.libre.paraphrases import (
    checked,
    cleaned,
    phrases_of,
    phrases_to_reword,
    refused_by_reading,
    stored_paraphrases,
)
from aural.data.libre.wordings import GRAINS, MOST, all_wordings, wordings
from aural.data.manifest import Row

DOG = Row(
    path="clips/0ad/dog.flac", source="0ad", split="train", class_name="dog", family="animal", duration_s=0.3,
    caption_label="dog barking", caption_short="A dog barking.", caption_detailed="A dog barking, short.",
    fingerprint=b"\0" * SIZE,
)  # fmt: skip
NOTE = Row(
    path="clips/notes/1.flac", source="notes-fluid", split="train", class_name="flute", caption_label="flute",
    caption_short="A flute.", caption_detailed="A flute plays C4.", meta=json.dumps({"key": 60, "velocity": 90}),
)  # fmt: skip
SPEECH = Row(
    path="clips/klettres/1.flac", source="klettres", split="valid", class_name="speech", language="de",
    caption_label="speech in German", caption_short="German speech.",
    caption_detailed='A person says "eins" in German.',
    transcript="eins",
)  # fmt: skip


def test_three_levels_with_several_captions_each():
    for row in (DOG, NOTE, SPEECH):
        texts = wordings(row, {"a dog barking": ["the woof of a dog"]})
        assert tuple(texts) == GRAINS
        for grain, first in zip(GRAINS, (row.caption_label, row.caption_short, row.caption_detailed), strict=True):
            assert texts[grain][0] == first
            assert 2 <= len(set(texts[grain])) == len(texts[grain]) <= MOST[grain]
        assert texts == wordings(row, {"a dog barking": ["the woof of a dog"]})


def test_rewordings_reach_every_level():
    alone = {"a dog barking": ["the woof of a dog"]}
    rows = [Row(**{**{f: getattr(DOG, f) for f in DOG.__slots__}, "path": f"clips/0ad/{n}.flac"}) for n in range(20)]
    for grain in GRAINS:
        assert any("woof" in text for row in rows for text in wordings(row, alone)[grain])
        assert not any("woof" in text for row in rows for text in wordings(row, {})[grain])


def test_only_training_splits():
    held_out = Row(path="clips/0ad/x.flac", source="0ad", split="test", class_name="dog")
    assert list(all_wordings([DOG, SPEECH, held_out], {})) == [DOG.path, SPEECH.path]


def test_phrase_of_a_rule():
    label = "woman crying out as she dies"
    row = Row(path="p", source="0ad", split="train", class_name="dying groan", caption_label=label)
    assert phrases_of(row)[0] != row.caption_label
    assert phrases_to_reword([DOG, DOG, SPEECH])[0] == ("dog", "a dog barking")


def test_samples_are_cleaned_and_counted():
    assert cleaned("The sound of a bell.") == "a bell"
    assert cleaned("a bell of the") == ""
    assert cleaned('she said "bell"') == ""
    check = Additions({"dog": ["a dog barking"]}, lambda texts: np.ones((len(texts), 1)))
    texts = ["a bark of the dog", "a dog barking", "a bark of the dog", "a dog", "1 2", "an owl barking"]
    samples = {"a dog barking": texts}
    accepted, counts = checked([("dog", "a dog barking")], samples, check)
    assert accepted == {"a dog barking": ["a bark of the dog"]}
    assert counts == {"accepted": 1, "no phrase": 1, "repeats": 1, "says less": 1, "unseen class": 1}


def test_the_stored_file_repeats_no_phrase_and_names_no_unseen_class():
    stored = stored_paraphrases()
    assert len(stored) > 20
    refused = refused_by_reading()
    assert refused
    assert all(text not in stored.get(phrase, []) for phrase, texts in refused.items() for text in texts)
    for phrase, texts in stored.items():
        assert phrase not in texts
        assert len(set(texts)) == len(texts)
        assert not any(f" {name} " in f" {text} " for text in texts for name in taxonomy().unseen)
