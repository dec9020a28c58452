"""Parts of the studies of captioners: drawn texts, losses of what follows a prefix, prompts, and the frozen decoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from aural.data.simulate.questions import COUNT_WORDS
from aural.generate.search import Limits, greedy
from aural.nn.decoder import Decoder, DecoderConfig
from aural.reproduce.scene_world import Scenes
from aural.reproduce.studies.audio_questions import Item, evened
from aural.reproduce.studies.caption_material import percent, without
from aural.reproduce.studies.sound_bridges import BridgeConfig, Heard, mean_loss, option_scores, prompts
from aural.reproduce.studies.word_decoder import ASK, END, HINT, SAY, Padded, WordDecoder, Words, draw_text, padded

PHRASES = {"bell": ["a bell", "a chime"], "dog": ["a dog"], "rain": ["rain"], "horn": ["a horn blowing"]}
NAMES = {label: one[0] for label, one in PHRASES.items()}


@pytest.fixture
def learned() -> WordDecoder:
    torch.manual_seed(0)
    words = Words([*NAMES.values(), "first then , ?"])
    decoder = Decoder(DecoderConfig(vocab_size=len(words), positions=32, dim=8, depth=2, heads=2)).eval()
    return WordDecoder(decoder.requires_grad_(False), words)


def test_answers_of_drawn_texts_are_read_from_their_captions() -> None:
    kinds = set()
    for seed in range(400):
        text = draw_text(PHRASES, NAMES, np.random.default_rng(seed))
        places = {
            label: min(
                (text.caption.find(p.split(" ", 1)[-1]) for p in one if p.split(" ", 1)[-1] in text.caption), default=-1
            )
            for label, one in PHRASES.items()
        }
        label_of = {name: label for label, name in NAMES.items()}
        for question, answer in text.questions:
            kinds.add(question.split()[0] + question.split()[1])
            asked = question.rstrip("?")
            if asked.startswith("is there "):
                assert (places[label_of[asked.removeprefix("is there ")]] >= 0) == (answer == "yes")
            elif asked.startswith("how many"):
                label = label_of[asked.removeprefix("how many times is ").removesuffix(" heard")]
                rest = text.caption[places[label] :]
                assert any(f"{p.split(' ', 1)[-1]} {answer}" in rest for p in PHRASES[label])
            else:
                pair = [label_of[one] for one in asked.split(", ")[1].split(" or ")]
                if "heard first" in asked:
                    assert label_of[answer] == min(pair, key=lambda label: places[label])
                else:
                    phrase = next(p for p in PHRASES[label_of[answer]] if p.split(" ", 1)[-1] in text.caption)
                    assert f"loud {phrase.split(' ', 1)[-1]}" in text.caption
    assert kinds == {"isthere", "howmany", "whichis"}
    assert len(COUNT_WORDS) == 4


def test_hypotheses_of_drawn_texts_are_read_from_their_captions() -> None:
    label_of = {name: label for label, name in NAMES.items()}
    seen = set()
    for seed in range(300):
        text = draw_text(PHRASES, NAMES, np.random.default_rng(seed), entailment=True)
        plain = draw_text(PHRASES, NAMES, np.random.default_rng(seed))
        assert text.hint == plain.hint
        for statement, answer in text.questions:
            if statement.endswith("?"):
                assert "together" not in text.caption or "first" not in statement
                continue
            relation = " is heard before " if "before" in statement else " is louder than "
            pair = [label_of[one] for one in statement.split(relation)]
            phrases = [next(p for p in PHRASES[one] if p.split(" ", 1)[-1] in text.caption) for one in pair]
            places = [text.caption.find(p.split(" ", 1)[-1]) for p in phrases]
            loud = [f"loud {p.split(' ', 1)[-1]}" in text.caption for p in phrases]
            if relation == " is heard before ":
                neutral, follows = "together" in text.caption, places[0] < places[1]
            else:
                neutral, follows = not any(loud), loud[0]
            expected = "neutral" if neutral else "entailment" if follows else "contradiction"
            assert answer == expected
            seen.add((relation, answer))
    assert len(seen) == 6


def test_the_loss_is_that_of_one_token_after_the_other(learned: WordDecoder) -> None:
    prefix = torch.randn(2, 3, 8)
    rows = [([SAY, 7], [8, END]), ([ASK, 6, 9], [7, 8, END])]
    batch = padded(rows, torch.device("cpu"))
    losses = learned.token_losses(prefix, batch)
    for n, (given, wanted) in enumerate(rows):
        read = list(given)
        for token in wanted:
            vectors = torch.cat([prefix[n : n + 1], learned.decoder.embed(torch.tensor([read]))], dim=1)
            expected = -float(learned.decoder(vectors)[0, -1].log_softmax(-1)[token])
            assert float(losses[n, len(read)]) == pytest.approx(expected, abs=1e-5)
            read.append(token)
    assert float(losses.sum()) == pytest.approx(float(losses[batch.target > 0].sum()))


def test_prompts_of_different_length_write_what_they_write_alone(learned: WordDecoder) -> None:
    prefix, tokens = torch.randn(2, 3, 8), [[HINT, 6, 7, 8, SAY], [SAY]]
    limits = Limits(max_tokens=6, stop_ids=(END,))
    vectors, mask = prompts(learned, prefix, tokens)
    both = greedy(learned.decoder, vectors, limits, mask=mask)
    for n, row in enumerate(tokens):
        single, one = prompts(learned, prefix[n : n + 1], [row])
        assert greedy(learned.decoder, single, limits, mask=one)[0][0].ids == both[n][0].ids


@pytest.mark.parametrize("kind", ["mlp", "transformer", "temporal", "qformer"])
def test_a_bridge_learns_and_the_decoder_stays(learned: WordDecoder, kind: str) -> None:
    before = learned.digest()
    bridge = Heard(BridgeConfig.parse({"kind": kind, "length": 2}, "test"), 5, 3, learned)
    assert not {id(p) for p in bridge.parameters()} & {id(p) for p in learned.decoder.parameters()}
    batch = padded([([SAY], [7, END]), ([SAY], [8, 6, END])], torch.device("cpu"))
    vector, frames = torch.randn(2, 5), torch.randn(2, 8, 3)
    optimizer = torch.optim.Adam(bridge.parameters(), 2e-2)
    losses = []
    for _ in range(60):
        loss = mean_loss(learned, bridge, vector, frames, batch).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert losses[-1] < losses[0]
    assert learned.digest() == before


def test_options_are_scored_with_injected_sounds_as_in_training(learned: WordDecoder) -> None:
    config = BridgeConfig(kind="qformer", length=2, inject=True, first_layer=1)
    bridge = Heard(config, 5, 3, learned)
    batch = padded([([SAY], [7, END]), ([SAY, 6], [8, END])], torch.device("cpu"))
    vector, frames = torch.randn(2, 5), torch.randn(2, 8, 3)
    scores = option_scores(learned, bridge, vector, frames, batch)
    with torch.no_grad():
        losses = mean_loss(learned, bridge, vector, frames, batch) * batch.target.sum(1)
    assert scores.tolist() == pytest.approx((-losses).tolist(), abs=1e-5)
    single = option_scores(learned, bridge, vector[:1], frames[:1], Padded(*(one[:1, :3] for one in batch)))
    assert single[0] == pytest.approx(scores[0], abs=1e-5)


def test_answers_are_evened_and_shares_of_scores() -> None:
    items = [Item(n, "count", "", ("once", "twice"), int(n > 7)) for n in range(10)]
    items += [Item(0, "order", "", ("a", "b"), 0)] * 3
    kept = evened(items, np.random.default_rng(0))
    assert [item.right for item in kept if item.kind == "count"].count(0) == 2
    assert sum(item.kind == "order" for item in kept) == 3
    assert math.isclose(float(percent("75-percent-of-ours", {"ours": {"a": 0.4}})["a"]), 0.3)


def test_scenes_without_some_keep_frames_and_records_together() -> None:
    scenes = Scenes(torch.arange(4.0)[:, None, None], [{"number": n} for n in range(4)])
    left = without(scenes, np.array([0, 2]))
    assert left.frames.flatten().tolist() == [1.0, 3.0]
    assert [record["number"] for record in left.records] == [1, 3]
