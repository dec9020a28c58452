import pytest

from aural.data.libre.additions import content
from aural.data.libre.cards import taxonomy
from aural.data.libre.reword import rewordings


@pytest.mark.parametrize(
    ("phrase", "texts"),
    [
        ("a dog barking", ["the barking of a dog", "a barking dog"]),
        ("an eagle screeching", ["the screeching of an eagle", "a screeching eagle"]),
        ("leaves rustling", ["the rustling of leaves", "rustling leaves"]),
        ("the bark of a dog", ["a dog's bark"]),
        ("a person laughing", ["the laughing of a person", "a laughing person", "someone laughing"]),
        ("a note on a flute", ["a flute note", "a flute playing a note"]),
        ("plucked string", []),
        ("a step on gravel", []),
        ("the chop of a car at work", []),
        ("the drone of bagpipes", []),
    ],
)
def test_rules(phrase, texts):
    assert rewordings(phrase) == texts


def test_no_rule_changes_the_words_of_a_class_phrase():
    """Every rewording has the words with content of its phrase; only "playing" comes with notes of instruments."""
    count = 0
    for phrases in taxonomy().phrases.values():
        for phrase in phrases:
            for text in rewordings(phrase):
                count += 1
                assert content(text).keys() - {"play"} == content(phrase).keys(), (phrase, text)
    assert count > 150
