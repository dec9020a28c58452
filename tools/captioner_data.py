"""Prepare the texts of the bundled captioner, and read them as token rows of its tasks.

Captions of clips are brought to a plain form: "A recording of a cow mooing." becomes "a cow mooing", and is written as
"A cow mooing." Further texts are pairs of captions ("a cow mooing, then rain") and the 521 class names of AudioSet.
Questions ask whether a named sound is there (as many times yes as no), and which of three named sounds it is. The
prompt of a caption may name the bundled sentences that are nearest to the sound; sentences that only the recording
group of a training clip has are left out for it, because test clips are of other groups too.

Legend: N clips, M bundled sentences, E dimensions.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aural.models.bridge import caption_prompt, caption_text, choice_question, prompt_ids

FRAMES = [
    r"here is (.+)", r"this is (.+)", r"you can hear (.+)", r"one \w+s (.+)", r"(.+) can be heard",
    r"(?:a recording|an audio clip|the sound|a sound clip) of (.+)", r"a sound clip: (.+)",
    r"(?:in this clip )?there is (.+)",
]  # fmt: skip
COMMON = 6000
"""Most frequent tokens of the table that are kept, so that captions can be of other words too."""
WHICH = "Which sound is it?"
SPEECH = "a person speaking"
"""The caption of clips with speech, in every language."""
LISTS = ("audio", "dev", "test")


def plain(text: str) -> str:
    """Return a caption without the frame of its sentence, in small letters and without a full stop."""
    text = re.sub(r", (?:very short|lasting a moment|short|long|lasting .*)$", "", text.strip().rstrip("."))
    for frame in FRAMES:
        if match := re.fullmatch(frame, text, re.I):
            text = match[1]
    return text[0].lower() + text[1:] if text[:1].isupper() and text[1:2] in " abcdefghijklmnopqrstuvwxyz" else text


def texts_of(row: dict[str, Any]) -> list[str]:
    """Return the plain captions of a row of the manifest."""
    if row["language"] or row["family"] == "speech":
        return [SPEECH]
    texts = dict.fromkeys(plain(text) for text in (row["caption_short"], *row["captions"]) if text)
    return [text for text in texts if 3 < len(text) < 70][:4] or [plain(row["caption_short"])]


def prepare(args: argparse.Namespace) -> None:
    """Write texts.json, text.npy and known.npy, and the captions of the clips, for the lists that `clips` has written.

    The bundled sentences of `known.npy` are those of this release.
    """
    import pyarrow.parquet as pq

    import aural
    from aural.models.causal import open_decoder
    from aural.models.known_sentences import class_sentences, known_sentences

    out, rng = Path(args.out), random.Random(0)
    columns = ["path", "split", "group", "family", "language", "captions", "caption_short"]
    rows = {
        row["path"]: row for row in pq.read_table(Path(args.corpus) / "manifest.parquet", columns=columns).to_pylist()
    }
    clips = {path: texts_of(row) for path, row in rows.items() if row["caption_short"]}
    named: dict[str, Any] = {name: json.loads((out / f"{name}.json").read_text()) for name in LISTS}
    held = {row["group"] for name in ("dev", "test") for row in named[name]}
    groups: dict[str, set[str]] = {}
    for path, texts in clips.items():
        if rows[path]["split"] == "train":
            for text in texts:
                groups.setdefault(text, set()).add(rows[path]["group"])
    single = sorted(text for text, of in groups.items() if of - held)
    classes = list(dict.fromkeys(text.removeprefix("the sound of ").split(", ")[0] for text in class_sentences()))
    pairs = [f"{a}, then {b}" for a, b in (rng.sample(single, 2) for _ in range(500))]
    texts = [*single, *classes, *pairs]
    kind = ["single"] * len(single) + ["class"] * len(classes) + ["pair"] * len(pairs)
    vectors = aural.load("libre-base", engine="onnx").embed_text(texts)
    np.save(out / "text.npy", vectors.astype(np.float16))
    known, known_rows = known_sentences("libre-base")
    assert known_rows is not None
    np.save(out / "known.npy", known_rows.astype(np.float16))
    decoder = open_decoder("smollm2", device="cpu")
    encode = decoder.ids
    for name, some in named.items():
        for row in some:
            row["texts"] = clips[row["path"]]
        (out / f"{name}.json").write_text(json.dumps(some))
    every = sorted({*texts, *known, *(t for some in named.values() for row in some for t in row["texts"])})
    tokens = {text: [encode(form) for form in (caption_text(text), " " + text)] for text in every}
    words = [" Yes.", " No.", "Caption:", " Caption:", "Sounds:", ",", ".", "Question: Is there", "?", " Answer:"]
    words += ["Question: " + WHICH, " or"]
    pieces = {word: encode(word) for word in words}
    listed = [choice_question(WHICH, [a, "x", b]) for a, b in pairwise(texts)]
    used = {i for forms in tokens.values() for ids in forms for i in ids}
    used |= {i for one in listed for i in prompt_ids(encode, one)} | {i for ids in pieces.values() for i in ids}
    kept = sorted(used | {decoder.stop_ids[0]} | set(range(COMMON)))
    stored = {"texts": texts, "kind": kind, "stop": decoder.stop_ids[0], "tokens": tokens, "pieces": pieces}
    stored |= {"kept": kept, "known": known, "groups": {text: sorted(of) for text, of in groups.items()}}
    (out / "texts.json").write_text(json.dumps(stored))
    print(f"{len(single)} captions, {len(texts)} texts, {len(kept)} tokens kept of 49152")


# What is given and what is to be predicted.
TokenRow = tuple[list[int], list[int]]


class Data:
    """Vectors and token rows of the tasks, on a device, in the numbers of the kept tokens."""

    def __init__(self, folder: Path, device: str, most: int) -> None:
        stored = json.loads((folder / "texts.json").read_text())
        place = {i: n for n, i in enumerate(stored["kept"])}
        self.kept, self.device = stored["kept"], device
        self.stop = place[stored["stop"]]
        self.texts, self.kind, self.known = stored["texts"], stored["kind"], stored["known"]
        self.tokens = {
            t: [[place[i] for i in form if i in place] for form in forms] for t, forms in stored["tokens"].items()
        }
        self.piece = {word: [place[i] for i in ids] for word, ids in stored["pieces"].items()}
        self.rows = {name: json.loads((folder / f"{name}.json").read_text())[: most or None] for name in LISTS}
        self.sound = {name: self._read(folder, name)[: most or None] for name in LISTS}
        self.text, self.known_rows = self._read(folder, "text"), self._read(folder, "known")
        self.singles = [n for n, kind in enumerate(self.kind) if kind != "pair"]
        self.number = {text: n for n, text in enumerate(self.texts)}
        self.named = {text: n for n, text in enumerate(self.known)}
        self.left_out = {name: self._left_out(name, stored["groups"]).to(device) for name in ("audio", "dev")}

    def _left_out(self, name: str, groups: dict[str, list[str]]) -> Tensor:
        """Return (N, M): 1 where no group but that of a clip of `audio`, or but those of `dev`, has a sentence."""
        rows = self.rows[name]
        groups_here = {row["group"] for row in rows}
        table = torch.zeros(len(rows), len(self.known), dtype=torch.bool)
        only: dict[str, list[int]] = {}
        for n, text in enumerate(self.known):
            of = set(groups.get(text, []))
            if name == "dev":
                table[:, n] = bool(of) and of <= groups_here
            elif len(of) == 1:
                only.setdefault(of.pop(), []).append(n)
        for n, row in enumerate(rows):
            table[n, only.get(row["group"], [])] = True
        return table

    def _read(self, folder: Path, name: str) -> Tensor:
        return torch.from_numpy(np.load(folder / f"{name}.npy")).float().to(self.device)

    def near(self, vectors: Tensor, count: int, left_out: Tensor | None = None) -> list[list[int]]:
        """Return the places of the bundled sentences nearest to vectors (N, E). left_out: (N, M)."""
        if not count:
            return [[] for _ in vectors]
        cosines = vectors @ self.known_rows.T
        if left_out is not None:
            cosines = cosines.masked_fill(left_out, -2.0)
        places: list[list[int]] = cosines.topk(count).indices.tolist()
        return places

    def caption(self, text: str, near: Sequence[int] = ()) -> TokenRow:
        return self.prompt(near), [*self.tokens[text][0], self.stop]

    def prompt(self, near: Sequence[int]) -> list[int]:
        return caption_prompt([self.tokens[self.known[n]][1] for n in near], self.piece.__getitem__)

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
