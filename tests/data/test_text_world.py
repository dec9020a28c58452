"""The text world: meanings and similarities with known values, disjoint splits, and controls at chance."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from aural.data.text import held_out
from aural.data.text import lexicon as lx
from aural.data.text.dice import Dice
from aural.data.text.grammar import Event, Meaning, draw, less, opposite, similarity, varied, write
from aural.data.text.phrases import translate, typo
from aural.data.text.vocabulary import world_backend, world_vocabulary
from aural.data.text.world import KINDS
from aural.data.worlds import open_world


def dice(seed: int = 0) -> Dice:
    return Dice(np.random.default_rng(seed))


def test_similarities_in_closed_form() -> None:
    a, b = Event(0, 0, 0), Event(0, 1, 0)
    assert similarity(Meaning(a), Meaning(a)) == 1.0
    assert similarity(Meaning(a), Meaning(Event(3, 0, 0))) == pytest.approx(0.06 / 0.56)  # only the count is equal
    assert similarity(Meaning(a), Meaning(b)) == pytest.approx((0.06 + 0.5 * (0.6 * 0.4 + 0.4)) / 0.56)
    first, second = Meaning(a, Event(1, 0, 0)), Meaning(Event(1, 0, 0), a)
    assert similarity(first, second) == pytest.approx((0.06 + 0.5 * 0.6) / 0.56)  # in the other order
    together = (replace(one, order=1) for one in (first, second))
    assert similarity(*together) == 1.0  # at the same time, the order says nothing


def test_relations_of_meanings() -> None:
    rng = dice()
    for _ in range(200):
        meaning = draw(rng, "train")
        assert meaning.split == "train"
        assert similarity(meaning, varied(meaning, 0, rng)) == 1.0
        assert similarity(meaning, opposite(meaning, rng)) < 1.0
        assert similarity(meaning, less(meaning, rng)) >= 0.4


def test_splits_share_no_combination_of_thing_action_and_place() -> None:
    drawn = {
        split: {(m.event, m.place) for m in (draw(dice(i), split) for i in range(300))} for split in ("train", "test")
    }
    assert not drawn["train"] & drawn["test"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_is_in_the_vocabulary(kind: str) -> None:
    world, backend, words = open_world("text", {"kind": kind, "size": 60}), world_backend(), set(world_vocabulary())
    for i in range(60):
        item = world.item(i)
        facts = item.facts
        texts = [*item.captions, facts["entailed"], facts["contradicted"], facts["neutral"], *facts["translations"]]
        for text in [*texts, *(one for one, _ in facts["ranked"]), facts["context"]]:
            assert set(re.findall("[a-z]+", text)) <= words, text
            assert not any(token.startswith("##") for token in backend.encode(text).tokens)
    assert len(words) == len(world_vocabulary()) == 1152  # the size in the recipe `sentences`


def test_items_are_functions_of_the_options_and_the_number() -> None:
    options = {"size": 50, "duplicates": 0.2, "seed": 3}
    first, second = open_world("text", options), open_world("text", options)
    assert [first.item(i).captions for i in (7, 3)] == [second.item(i).captions for i in (7, 3)]
    epoch = {first.item(i).key for i in range(50)}
    assert epoch == {first.item(50 + i).key for i in range(50)}
    assert len(epoch) == 50
    facts = [first.item(i).facts for i in range(50)]
    assert sum(one["duplicate"] >= 0 for one in facts) == 10
    assert open_world("text", {"size": 50, "seed": 4}).item(0).captions != first.item(0).captions


def test_gold_of_the_graded_variants_falls() -> None:
    world = open_world("text", {"size": 100})
    for i in range(100):
        gold = [score for _, score in world.item(i).facts["ranked"]]
        assert gold == sorted(gold, reverse=True)
        assert gold[0] == 1.0 > gold[-1]


def test_noise_makes_relations_wrong() -> None:
    entries = {
        form: (topic, number)
        for topic, things in enumerate(lx.THINGS)
        for number, names in enumerate(things)
        for name in names
        for form in (name, lx.plural(name))
    }

    def same_things(noise: float) -> float:
        """Return how often a paraphrase names the same things."""
        world = open_world("text", {"size": 100, "noise": noise})
        texts = [(item.captions[0], item.captions[1]) for item in map(world.item, range(100))]
        things = [[{entries[w] for w in re.findall("[a-z]+", text) if w in entries} for text in pair] for pair in texts]
        return float(np.mean([first == second for first, second in things]))

    assert same_things(0.0) > 0.95
    assert same_things(1.0) < 0.7


def test_planted_bias_and_its_absence() -> None:
    for bias in (0.9, 0.5):
        world = open_world("text", {"kind": "bias", "size": 400, "bias": bias})
        facts = [world.item(i).facts for i in range(400)]
        planted = [(f["group"] == lx.GROUPS[0]) == (f["trait"] == lx.TRAITS[0][0]) for f in facts]
        assert abs(np.mean(planted) - bias) < 0.08


def test_two_toy_languages_have_other_words_and_another_order() -> None:
    meaning = Meaning(Event(0, 0, 0), manner=1)
    first, second = (translate(meaning, language).rstrip(".").split() for language in (0, 1))
    assert len(first) == len(second) == 3
    assert not set(first) & set(second)
    assert translate(replace(meaning, manner=2), 0).split()[::2] == translate(meaning, 0).split()[::2]


def test_a_typo_changes_one_word_and_keeps_its_first_letter() -> None:
    text = "the neighing horse"
    for seed in range(20):
        words = typo(text, dice(seed)).split()
        changed = [(a, b) for a, b in zip(text.split(), words, strict=True) if a != b]
        assert len(changed) <= 1
        assert all(a[0] == b[0] for a, b in changed)


@pytest.mark.parametrize("domain", ["street", "shifted"])
def test_bag_of_words_is_at_most_half_and_the_control_is_at_chance(domain: str) -> None:
    pairs = held_out.sts(domain)
    words = held_out.overlap(pairs.first, pairs.second)
    assert 0.2 < spearmanr(words, pairs.gold)[0] <= 0.5
    assert abs(spearmanr(words, pairs.shuffled().gold)[0]) < 0.1
    assert abs(spearmanr(pairs.gold, pairs.shuffled().gold)[0]) < 0.1


def test_reading_words_alone_does_not_answer_edits() -> None:
    tests = held_out.edits()
    texts = [context[0] for context in tests.contexts]
    true, false = (held_out.overlap(texts, [answer[k] for answer in tests.answers]) for k in (0, 1))
    assert np.mean(true > false) < 0.3


def test_other_constructions_say_the_same() -> None:
    meaning = Meaning(Event(1, 0, 0), count=1, place=0)
    texts = {write(meaning, dice(seed), frame=seed) for seed in range(6)}
    assert len(texts) == 6
