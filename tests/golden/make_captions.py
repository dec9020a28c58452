"""What aac-metrics gives for the captions below: writes captions.json, which tests/evaluate/test_captioning.py reads.

    pip install --no-deps --target DIR aac-metrics==0.6.0 pythonwrench==0.3.0 torchmetrics lightning-utilities
    PYTHONPATH=DIR:(msclap's packages as in .peers) python -O tests/golden/make_captions.py --jars CACHE

CACHE holds aac-metrics/meteor and aac-metrics/stanford_nlp as `aac-metrics-download` lays them out; the same jars lie
in the package pycocoevalcap. -O because aac-metrics refuses Java above 13, with which the jars work.
"""

from __future__ import annotations

import argparse
import json
from importlib import metadata
from pathlib import Path

WRITTEN = [
    "a dog barks while a siren wails in the distance",
    "Rain falls on a tin roof.",
    "a man is speaking",
    "someone hammers on wood, then saws it",
    "an engine idles and idles and idles",
    "birds sing in a quiet forest",
    "a high-pitched bell rings; it can't be far away",
    "water",
    "a crowd cheers as a man's voice comes over a loudspeaker",
    "a train passes by quickly with its horn blowing",
]
REFERENCES = [
    ["A dog is barking and a siren wails.", "a siren in the distance while a dog barks", "dog barking, siren wailing"],
    ["Rain is falling on a tin roof", "Heavy rain falls on a metal roof", "water drips from a roof in the rain"],
    ["a woman is singing", "A man speaks over a radio.", "a person talks", "a man is speaking", "speech"],
    ["hammering on wood followed by sawing", "somebody is sawing wood after hammering"],
    ["an engine idles", "A vehicle's engine is idling.", "the motor of a car runs"],
    ["birds are singing in the forest", "several birds chirp", "Birds sing, and leaves rustle in a quiet forest."],
    ["a bell rings", "it's a high-pitched bell that doesn't stop", "The bell rings, and can't be far away."],
    ["a river flows over stones", "running water"],
    ["a crowd is cheering", "A man's voice on a loudspeaker while the crowd cheers!", "applause and cheers"],
    ["a train passes by blowing its horn", "a train quickly passes by, its horn blowing", "a train", "horn of a train"],
]


def main() -> None:
    import aac_metrics.functional as functions
    from aac_metrics.utils.tokenization import preprocess_mono_sents, preprocess_mult_sents

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jars", required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("captions.json"))
    given = parser.parse_args()
    written = preprocess_mono_sents(WRITTEN, cache_path=given.jars)
    references = preprocess_mult_sents(REFERENCES, cache_path=given.jars)
    corpus: dict[str, float] = {}
    sentences: dict[str, list[float]] = {}
    for name in ("cider_d", "rouge_l", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor"):
        options = {"cache_path": given.jars} if name == "meteor" else {}
        whole, each = getattr(functions, name)(written, references, **options)
        corpus[name], sentences[name] = float(whole[name]), [float(value) for value in each[name]]
    made = {
        "origin": f"aac-metrics {metadata.version('aac-metrics')}, meteor-1.5.jar, stanford-corenlp-3.4.1.jar; "
        "made by tests/golden/make_captions.py; the captions are ours",
        "written": WRITTEN,
        "references": REFERENCES,
        "written_words": written,
        "references_words": references,
        "corpus": corpus,
        "sentences": sentences,
    }
    given.out.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
