"""Prepare the texts of the bundled captioner, and read them as token rows of its tasks.

Captions of clips are brought to a plain form: "A recording of a cow mooing." becomes "A cow mooing." Further texts are
pairs of captions ("A cow mooing, then rain.") and the 521 class names of AudioSet. Questions ask whether a named sound
is there (as many times yes as no), and which of three named sounds it is.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aural.models.bridge import choice_question, prompt_ids

FRAMES = [
    r"here is (.+)", r"this is (.+)", r"you can hear (.+)", r"one \w+s (.+)", r"(.+) can be heard",
    r"(?:a recording|the sound|a sound clip) of (.+)", r"a sound clip: (.+)", r"(?:in this clip )?there is (.+)",
]  # fmt: skip
COMMON = 6000
"""Most frequent tokens of the table that are kept, so that captions can be of other words too."""
WHICH = "Which sound is it?"


def plain(text: str) -> str:
    """Return a caption without the frame of its sentence, in small letters and without a full stop."""
    text = re.sub(r", (?:very short|lasting a moment|short|long|lasting .*)$", "", text.strip().rstrip("."))
    for frame in FRAMES:
        if match := re.fullmatch(frame, text, re.I):
            text = match[1]
    return text[0].lower() + text[1:] if text[:1].isupper() and text[1:2] in " abcdefghijklmnopqrstuvwxyz" else text


def sentence(text: str) -> str:
    return f" {text[0].upper()}{text[1:]}."


def prepare(args: argparse.Namespace) -> None:
    """Write texts.json, text.npy, decoder files; audio.npy, audio.json, test.npy, test.json must be there already."""
    import pyarrow.parquet as pq

    import aural
    from aural.models.causal import open_decoder
    from aural.models.known_sentences import class_sentences

    out, rng = Path(args.out), random.Random(0)
    columns = ["path", "split", "family", "label", "captions", "caption_short", "caption_label"]
    rows = {
        row["path"]: row for row in pq.read_table(Path(args.corpus) / "manifest.parquet", columns=columns).to_pylist()
    }
    clips: dict[str, list[str]] = {}
    for path, row in rows.items():
        texts = dict.fromkeys(plain(text) for text in (row["caption_short"], *row["captions"]) if text)
        clips[path] = [text for text in texts if 3 < len(text) < 70][:4]
    single = sorted({t for p, ts in clips.items() if rows[p]["split"] == "train" for t in ts})
    classes = [text.removeprefix("the sound of ").split(", ")[0] for text in class_sentences()]
    pairs = [f"{a}, then {b}" for a, b in (rng.sample(single, 2) for _ in range(3000))]
    texts = [*single, *dict.fromkeys(classes), *pairs]
    kind = ["single"] * len(single) + ["class"] * len(dict.fromkeys(classes)) + ["pair"] * len(pairs)
    vectors = aural.load("libre-base", engine="onnx").embed_text(texts)
    np.save(out / "text.npy", vectors.astype(np.float16))
    decoder = open_decoder("smollm2", device="cpu")
    encode = decoder.ids
    used = {i for text in texts for form in (sentence(text), " " + text) for i in encode(form)}
    listed = [choice_question(WHICH, [a, "x", b]) for a, b in pairwise(texts)]
    prompts = [prompt_ids(encode, None)] + [prompt_ids(encode, f"Is there {t}?") for t in texts]
    prompts += [prompt_ids(encode, one) for one in listed]
    used |= {i for ids in prompts for i in ids} | set(encode(" Yes. No.")) | {decoder.stop_ids[0]} | set(range(COMMON))
    kept = sorted(used)
    places = {i: n for n, i in enumerate(kept)}
    named = {name: json.loads((out / f"{name}.json").read_text()) for name in ("audio", "test")}
    for name, some in named.items():
        for row in some:
            row["texts"] = clips[row["path"]] or [plain(row["caption_short"])]
        (out / f"{name}.json").write_text(json.dumps(some))
    every = sorted({*texts, *(t for some in named.values() for row in some for t in row["texts"])})
    tokens = {text: [encode(form) for form in (sentence(text), " " + text)] for text in every}
    words = [" Yes.", " No.", "Caption:", "Question: Is there", "?", " Answer:", "Question: " + WHICH, ",", " or"]
    pieces = {word: encode(word) for word in words}
    (out / "texts.json").write_text(
        json.dumps(
            {
                "texts": texts,
                "kind": kind,
                "stop": decoder.stop_ids[0],
                "tokens": tokens,
                "pieces": pieces,
                "kept": kept,
            }
        )
    )
    print(f"{len(single)} captions, {len(texts)} texts, {len(kept)} tokens kept of 49152, {len(places)} places")


# What is given and what is to be predicted.
TokenRow = tuple[list[int], list[int]]


class Data:
    """Vectors and token rows of the tasks, on a device, in the numbers of the kept tokens."""

    def __init__(self, folder: Path, device: str, most: int) -> None:
        stored = json.loads((folder / "texts.json").read_text())
        place = {i: n for n, i in enumerate(stored["kept"])}
        self.kept, self.device = stored["kept"], device
        self.stop = place[stored["stop"]]
        self.texts, self.kind = stored["texts"], stored["kind"]
        self.tokens = {
            t: [[place[i] for i in form if i in place] for form in forms] for t, forms in stored["tokens"].items()
        }
        self.piece = {word: [place[i] for i in ids] for word, ids in stored["pieces"].items()}
        self.text = torch.from_numpy(np.load(folder / "text.npy")).float().to(device)
        self.audio, self.test = (
            torch.from_numpy(np.load(folder / f"{n}.npy")).float().to(device) for n in ("audio", "test")
        )
        self.rows = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("audio", "test")}
        self.test = self.test[:most]
        self.rows["test"] = self.rows["test"][:most]
        self.singles = [n for n, kind in enumerate(self.kind) if kind != "pair"]
        self.number = {text: n for n, text in enumerate(self.texts)}

    def caption(self, text: str) -> TokenRow:
        return self.piece["Caption:"], [*self.tokens[text][0], self.stop]

    def presence(self, text: str, there: bool) -> TokenRow:
        given = [*self.piece["Question: Is there"], *self.tokens[text][1], *self.piece["?"], *self.piece[" Answer:"]]
        return given, [*self.piece[" Yes." if there else " No."], self.stop]

    def choice(self, options: list[str], right: int) -> TokenRow:
        given = list(self.piece["Question: " + WHICH])
        for n, option in enumerate(options):
            given += (self.piece[" or"] if n == len(options) - 1 else self.piece[","] if n else []) + self.tokens[
                option
            ][1]
        given += [*self.piece["?"], *self.piece[" Answer:"]]
        return given, [*self.tokens[options[right]][0], self.stop]


def batch_of(rows: list[TokenRow], device: str) -> tuple[Tensor, Tensor, Tensor]:
    width = max(len(given) + len(wanted) for given, wanted in rows)
    table = np.zeros((3, len(rows), width), np.int64)
    for n, (given, wanted) in enumerate(rows):
        length = len(given) + len(wanted)
        table[0, n, :length], table[1, n, :length], table[2, n, len(given) : length] = [*given, *wanted], 1, 1
    ids, mask, target = torch.from_numpy(table).to(device)
    return ids, mask, target
