"""Test the captioning cards on two clips in the published layout; scores are computed by hand from the words."""

from __future__ import annotations

import sys
from math import exp, sqrt
from pathlib import Path
from typing import Any

import pytest

from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.run import evaluate

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from downloads import put, sound

# audiocaps: one caption a row, several rows a clip, the sound under any name that holds the video's
AUDIOCAPS = {
    "dataset/train.csv": "audiocap_id,youtube_id,start_time,caption\n91139,r1nicOVtvkQ,130,Water pours\n",
    "dataset/val.csv": "audiocap_id,youtube_id,start_time,caption\n97151,vfY_TJq7n_U,130,Ducks quack\n",
    "dataset/test.csv": "audiocap_id,youtube_id,start_time,caption\n"
    "103549,7fmOlUlwoNg,20,A dog barks.\n103550,7fmOlUlwoNg,20,Loud barking\n103541,6BJ455B1aAs,0,Rain falls\n",
    "audio/7fmOlUlwoNg_20.wav": sound(".wav", 800),
    "audio/6BJ455B1aAs_0.wav": sound(".wav", 801),
}
# clotho: five captions a row, a folder a split
HEAD = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
CLOTHO = {
    "clotho_captions_development.csv": HEAD + "x.wav,a,b,c,d,e\n",
    "clotho_captions_validation.csv": HEAD + "y.wav,a,b,c,d,e\n",
    "clotho_captions_evaluation.csv": HEAD
    + 'Dog (1).wav,A dog barks.,Barking,"Loud, near",A hound,Woof\nRain.wav,Rain falls,Wet,Water,Drops,It pours\n',
    "evaluation/Dog (1).wav": sound(".wav", 800),
    "evaluation/Rain.wav": sound(".wav", 801),
}


class Writer:
    """A captioner that writes "A dog barks!" for the first clip and "rain" for the second."""

    sample_rate_hz, embed_dim, revision = 16_000, 1, "writer"

    def caption(self, clips: list[Any]) -> list[str]:
        return ["A dog barks!" if Path(clip).stat().st_size == len(sound(".wav", 800)) else "rain" for clip in clips]


# Clip 1 writes its first reference word for word; clip 2 writes the first of the two words of its first reference.
#
# BLEU over both: words 3 + 1, all in references; pairs 2 + 0; triples 1 + 0; no four words. The closest reference has
# 3 words for clip 1. For clip 2 it has 2 words in AudioCaps, 1 ("Wet") in Clotho: the written 4 words stand against 5
# and 4, so brevity is exp(1 - 5/4) and 1.
#
# ROUGE-L: clip 1 has 1. Clip 2: the common word is 1/1 of what is written and 1/2 of "rain falls" (the other
# references hold none of it), so (1 + 1.2^2) * 1 * (1/2) / (1/2 + 1.2^2 * 1) = 1.22 / 1.94.
#
# CIDEr-D: two clips, no n-gram in the references of both, so each weighs log(2 / 1) and the weight cancels.
#   clip 1 against "a dog barks": cosine 1 for 1, 2 and 3 words, none for 4, equal length: 3.
#     AudioCaps, "loud barking": nothing in common. 10 / 4 * 3 / 2 references = 3.75.
#     Clotho, "a hound": words {a, dog, barks} and {a, hound}: 1 / (sqrt 3 * sqrt 2) for one word, nothing for two;
#     one word longer: * exp(-1 / 72). The three others have nothing. 10 / 4 * (3 + .) / 5 references.
#   clip 2 against "rain falls": {rain} and {rain, falls}: 1 / sqrt 2, one word shorter: * exp(-1 / 72).
#     AudioCaps 10 / 4 * . / 1 reference, Clotho 10 / 4 * . / 5.
ROUGE = (1 + 1.22 / 1.94) / 2
SHORT = exp(-1 / 72)
BY_HAND = {
    "audiocaps-captioning": {
        "BLEU-1": exp(-1 / 4),
        "BLEU-2": exp(-1 / 4),
        "BLEU-3": exp(-1 / 4),
        "BLEU-4": 0.0,
        "ROUGE-L": ROUGE,
        "CIDEr-D": (3.75 + 2.5 * SHORT / sqrt(2)) / 2,
    },
    "clotho-captioning": {
        "BLEU-1": 1.0,
        "BLEU-2": 1.0,
        "BLEU-3": 1.0,
        "BLEU-4": 0.0,
        "ROUGE-L": ROUGE,
        "CIDEr-D": (0.5 * (3 + SHORT / sqrt(6)) + 0.5 * SHORT / sqrt(2)) / 2,
    },
}


def test_every_captioning_card_is_here() -> None:
    assert set(BY_HAND) == {name for name in cards.names() if cards.task(name).kind == "captioning"}


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_scores_by_hand(name: str, tmp_path: Path) -> None:
    card = cards.task(name)
    for path, content in (AUDIOCAPS if card.dataset == "audiocaps" else CLOTHO).items():
        put(tmp_path / card.dataset / path, content.encode() if isinstance(content, str) else content)
    run = evaluate(Writer(), [card], DataRoot(tmp_path), tmp_path / "out", resamples=10)
    record = run.scores[f"{name}@zero-shot"]
    assert record["units"] == 2
    for metric, value in BY_HAND[name].items():
        assert record["scores"][metric] == pytest.approx(value, abs=1e-12), metric
    # what no jar or model is here for is named, and the card's own metric with it
    said = " ".join(record["notes"])
    assert all(metric in record["scores"] or f"{metric}:" in said for metric in ("METEOR", "SPICE", "FENSE", "SPIDEr"))
    assert "SPIDEr" in record["scores"] or record["metric"] == "CIDEr-D"
