"""Train the bridge of the bundled captioner: vectors of libre-base to a prefix of SmolLM2, which stays frozen.

    python tools/train_captioner.py prepare CORPUS OUT    # texts, questions and vectors
    python tools/train_captioner.py pack OUT              # the decoder in three files
    python tools/train_captioner.py train OUT --result R  # on a GPU; the decoder is read from three files
    python tools/train_captioner.py compare OUT           # the same questions by similarity alone
    python tools/train_captioner.py sentences OUT         # the sentences that are picked where nothing is written
    python tools/train_captioner.py picked OUT            # scores of the captions that libre-base picks
    python tools/train_captioner.py bundle R/both.safetensors   # write src/aural/weights/libre-captions

`prepare` needs the corpus, MiniLM and the package of SmolLM2, and in OUT the vectors of clips (audio.npy, test.npy: one
unit row per entry of audio.json, test.json, which are rows of the manifest). The three files hold the decoder's own
4-bit blocks and the rows of its token table that are needed, so that a machine without the package can train. No test
clip is used in training.

Captions of clips are brought to a plain form: "A recording of a cow mooing." becomes "A cow mooing." Further texts are
pairs of captions ("A cow mooing, then rain.") and the 521 class names of AudioSet. Questions ask whether a named sound
is there (as many times yes as no), and which of three named sounds it is.

Arms: "text" learns from the vectors of texts with noise; "audio" from the vectors of training clips; "both" from both.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aural.models.bridge import choice_question, prompt_ids
from aural.nn.bridges.mapper import MapperConfig, MlpMapper
from aural.nn.bridges.noise import noisy, paired_deviation

FRAMES = [
    r"here is (.+)", r"this is (.+)", r"you can hear (.+)", r"one \w+s (.+)", r"(.+) can be heard",
    r"(?:a recording|the sound|a sound clip) of (.+)", r"a sound clip: (.+)", r"(?:in this clip )?there is (.+)",
]  # fmt: skip
COMMON, DECODER_DIM = 6000, 576
FRAMED = re.compile(r"\b(?:audio|recording|clip|sound of|sample)\b", re.IGNORECASE)
LANGUAGE = re.compile(r"\b(?:speaking|talking) \w|\b(?:speech|spoken|voice in|language)\b", re.IGNORECASE)
WHICH, SILENCE = "Which sound is it?", "the sound of silence"


def plain(text: str) -> str:
    """Return a caption without the frame of its sentence, in small letters and without a full stop."""
    text = re.sub(r", (?:very short|lasting a moment|short|long|lasting .*)$", "", text.strip().rstrip("."))
    for frame in FRAMES:
        if match := re.fullmatch(frame, text, re.I):
            text = match[1]
    return text[0].lower() + text[1:] if text[:1].isupper() and text[1:2] in " abcdefghijklmnopqrstuvwxyz" else text


def sentence(text: str) -> str:
    return f" {text[0].upper()}{text[1:]}."


# ---- decoder: its blocks as they are in the GGUF file ----


def pack_decoder(out: Path, kept: list[int]) -> None:
    """Write part0 and part1.npz, the 4-bit blocks of all layers, and part2.npz, norms and rows of the token table."""
    from gguf import GGUFReader, dequantize
    from transformers import AutoConfig, AutoModelForCausalLM

    from aural.models.packaged import SMOLLM2

    path = SMOLLM2.path()
    where: dict[str, Any] = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    state = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).state_dict()
    config = AutoConfig.from_pretrained(**where).to_dict() | {"vocab_size": len(kept)}
    raw = {t.name: t for t in GGUFReader(path).tensors}
    inner = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj"}
    inner |= {"attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj"}
    inner |= {"ffn_down": "mlp.down_proj"}
    parts: list[dict[str, Any]] = [{}, {}, {}]
    for name, tensor in raw.items():
        if tensor.tensor_type.name != "Q4_1":
            continue
        _, number, kind, _ = name.split(".")
        target = f"model.layers.{number}.{inner[kind]}.weight"
        values, data = dequantize(tensor.data, tensor.tensor_type), np.asarray(tensor.data)
        want = state[target].numpy()
        places = {row.tobytes(): i for i, row in enumerate(values.astype(np.float32))}
        order = [places[row.tobytes()] for row in want]  # transformers reorders the rows of queries and keys
        parts[int(number) * 2 // config["num_hidden_layers"]][target] = data[order]
    for name, tensor in state.items():
        if name.endswith("norm.weight"):
            parts[2][name] = tensor.numpy()
    parts[2]["model.embed_tokens.weight"] = state["model.embed_tokens.weight"][kept].half().numpy()
    parts[2]["config"] = np.frombuffer(json.dumps(config).encode(), np.uint8)
    for number, part in enumerate(parts):
        np.savez(out / f"part{number}.npz", **part)


def pack(args: argparse.Namespace) -> None:
    """Write the decoder's three files for the tokens in texts.json."""
    pack_decoder(Path(args.out), json.loads((Path(args.out) / "texts.json").read_text())["kept"])


def unpack(blocks: np.ndarray) -> Tensor:
    """Return weights (rows, columns) of Q4_1 blocks: 32 weights q d + m with float16 d, m and 16 bytes of two q."""
    data = torch.from_numpy(blocks.reshape(len(blocks), -1, 20).copy())
    scale, least = (data[..., at : at + 2].contiguous().view(torch.float16).float() for at in (0, 2))
    both = data[..., 4:]
    return (torch.cat([both & 15, both >> 4], dim=-1).float() * scale + least).flatten(1)


def open_packed(folder: Path, device: str) -> Any:
    """Return the causal model of the three files, frozen, in bfloat16."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tensors: dict[str, Tensor] = {}
    config: dict[str, Any] = {}
    for number in range(3):
        with np.load(folder / f"part{number}.npz") as stored:
            for name in stored.files:
                array = stored[name]
                if name == "config":
                    config = json.loads(array.tobytes())
                else:
                    tensors[name] = unpack(array) if array.dtype == np.uint8 else torch.from_numpy(array).float()
    kept = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    kept += (
        "vocab_size",
        "rms_norm_eps",
        "rope_parameters",
        "tie_word_embeddings",
        "max_position_embeddings",
        "head_dim",
    )
    model = LlamaForCausalLM(LlamaConfig(**{name: config[name] for name in kept}))
    missing = model.load_state_dict(tensors, strict=False)
    if set(missing.missing_keys) - {"lm_head.weight"} or missing.unexpected_keys:
        raise SystemExit(f"the files do not fit: {missing}")
    model.tie_weights()
    return model.to(device, torch.bfloat16).requires_grad_(False).eval()


# ---- data ----


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

    def caption(self, text: str) -> tuple[list[int], list[int]]:
        return self.piece["Caption:"], [*self.tokens[text][0], self.stop]

    def presence(self, text: str, there: bool) -> tuple[list[int], list[int]]:
        given = [*self.piece["Question: Is there"], *self.tokens[text][1], *self.piece["?"], *self.piece[" Answer:"]]
        return given, [*self.piece[" Yes." if there else " No."], self.stop]

    def choice(self, options: list[str], right: int) -> tuple[list[int], list[int]]:
        given = list(self.piece["Question: " + WHICH])
        for n, option in enumerate(options):
            given += (self.piece[" or"] if n == len(options) - 1 else self.piece[","] if n else []) + self.tokens[
                option
            ][1]
        given += [*self.piece["?"], *self.piece[" Answer:"]]
        return given, [*self.tokens[options[right]][0], self.stop]


def batch_of(rows: list[tuple[list[int], list[int]]], device: str) -> tuple[Tensor, Tensor, Tensor]:
    width = max(len(given) + len(wanted) for given, wanted in rows)
    table = np.zeros((3, len(rows), width), np.int64)
    for n, (given, wanted) in enumerate(rows):
        length = len(given) + len(wanted)
        table[0, n, :length], table[1, n, :length], table[2, n, len(given) : length] = [*given, *wanted], 1, 1
    ids, mask, target = torch.from_numpy(table).to(device)
    return ids, mask, target


def losses(model: Any, prefix: Tensor, ids: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """Return the negative log-probability per row of the tokens to predict."""
    words = model.get_input_embeddings()(ids)
    vectors = torch.cat([prefix.to(words.dtype), words], dim=1)
    everything = torch.cat([mask.new_ones(len(mask), prefix.shape[1]), mask], dim=1)
    place = (everything.cumsum(1) - 1).clamp_min(0)
    logits = model(inputs_embeds=vectors, attention_mask=everything, position_ids=place, use_cache=False).logits
    logits = logits[:, prefix.shape[1] : -1].float()
    per_token = cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return (per_token * target[:, 1:]).sum(1)


def train(args: argparse.Namespace) -> None:
    """Train the arms one after the other and print their scores on the test clips."""
    folder, result = Path(args.out), Path(args.result)
    result.mkdir(parents=True, exist_ok=True)
    model = open_packed(folder, args.device)
    data = Data(folder, args.device, args.most)
    pairs = torch.tensor([data.number.get(row["texts"][0], -1) for row in data.rows["audio"]], device=args.device)
    known = pairs >= 0
    deviation = paired_deviation(data.audio[known], data.text[pairs[known]])
    print(f"{len(data.texts)} texts, {len(data.audio)} clips; deviation of pairs {deviation:.4f}", flush=True)
    for arm in args.arms.split(","):
        start = time.time()
        torch.manual_seed(args.seed)
        config = MapperConfig(d_in=data.text.shape[1], d_out=model.config.hidden_size, kind="mlp", length=8, hidden=128)
        bridge = MlpMapper(config).to(args.device)
        nn.init.normal_(bridge.out.weight, std=0.02)
        if args.start:
            bridge.load_state_dict({name: tensor.float() for name, tensor in load_file(args.start).items()})
        optimizer = torch.optim.AdamW(bridge.parameters(), lr=args.lr, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, args.steps, pct_start=0.05)
        rng = random.Random(args.seed)
        for step in range(args.steps):
            if args.limit_s and time.time() - start > args.limit_s:
                break
            vectors, rows = draw(data, arm, args.batch, deviation * args.noise, args.questions, rng)
            ids, mask, target = batch_of(rows, args.device)
            loss = (losses(model, bridge(vectors), ids, mask, target) / target.sum(1)).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(bridge.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if step % 100 == 0 or step == args.steps - 1:
                print(f"{arm} step {step} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True)
        save_file(
            {n: t.detach().half().cpu().contiguous() for n, t in bridge.state_dict().items()},
            result / f"{arm}.safetensors",
        )
        with torch.no_grad():
            print(f"{arm}: {json.dumps(score(model, bridge, data, arm))}", flush=True)


def draw(
    data: Data, arm: str, count: int, noise: float, questions: float, rng: random.Random
) -> tuple[Tensor, list[Any]]:
    """Return vectors (B, E) and token rows. questions: share of questions, half of them about presence."""
    vectors, rows = [], []
    generator = torch.Generator().manual_seed(rng.randrange(2**62))
    for n in range(count):
        text_only = arm == "text" or (arm == "both" and n % 2 == 0)
        if text_only:
            index = rng.choice(data.singles) if n % 8 else rng.randrange(len(data.texts))
            text = data.texts[index]
            vectors.append(noisy(data.text[index][None], noise, generator)[0])
            single = data.kind[index] != "pair"
        else:
            index = rng.randrange(len(data.audio))
            text, single = rng.choice(data.rows["audio"][index]["texts"]), True
            vectors.append(noisy(data.audio[index][None], 0.25 * noise, generator)[0])
        task = rng.random()
        others = [data.texts[rng.choice(data.singles)] for _ in range(2)]
        if task >= questions or not single or text in others or others[0] == others[1]:
            rows.append(data.caption(text))
        elif task < questions / 2:
            there = rng.random() < 0.5
            rows.append(data.presence(text if there else others[0], there))
        else:
            options = [text, *others]
            rng.shuffle(options)
            rows.append(data.choice(options, options.index(text)))
    return torch.stack(vectors), rows


def score(model: Any, bridge: nn.Module, data: Data, arm: str) -> dict[str, float]:
    """Return accuracies of questions about test clips, also with the sound of another clip and with none."""
    rng = random.Random(1)
    presence, choice, numbers = [], [], []
    for n, row in enumerate(data.rows["test"]):
        text = row["texts"][0]
        different = [r["texts"][0] for r in data.rows["test"] if r["label"] != row["label"] and r["texts"][0] != text]
        others = rng.sample(different, 2)
        there = n % 2 == 0
        presence.append([data.presence(text if there else others[0], answer) for answer in (there, not there)])
        options = [text, *others]
        rng.shuffle(options)
        right = options.index(text)
        choice.append([data.choice(options, k) for k in (right, *(k for k in range(3) if k != right))])
        numbers.append(n)
    result = {}
    sounds = {"": data.test, "-other": data.test.roll(1, 0), "-none": torch.zeros_like(data.test)}
    for kind, questions in (("presence", presence), ("choice", choice)):
        for suffix, vectors in sounds.items():
            right = []
            for at in range(0, len(questions), 32):
                some = questions[at : at + 32]
                rows = [row for one in some for row in one]
                prefix = bridge(vectors[at : at + 32].repeat_interleave(len(some[0]), 0))
                values = losses(model, prefix, *batch_of(rows, data.device)).view(len(some), -1)
                right += (values.argmin(1) == 0).float().tolist()
            result[kind + suffix] = round(sum(right) / len(right), 4)
    values = []
    for at in range(0, len(data.test), 64):
        rows = [data.caption(row["texts"][0]) for row in data.rows["test"][at : at + 64]]
        ids, mask, target = batch_of(rows, data.device)
        values += (losses(model, bridge(data.test[at : at + 64]), ids, mask, target) / target.sum(1)).tolist()
    result["caption-loss"] = round(sum(values) / len(values), 4)
    return result


def compare(args: argparse.Namespace) -> None:
    """Print how often libre-base answers questions about test clips by similarity, also with another clip's sound."""
    import aural

    model, folder = aural.load("libre-base", engine="onnx"), Path(args.out)
    rows = json.loads((folder / "test.json").read_text())
    sounds = np.load(folder / "test.npy").astype(np.float32)
    named = sorted({text for row in rows for text in row["texts"]})
    vectors = dict(zip(named, model.embed_text(named), strict=True))
    assert model.least_cosine is not None
    for what, clips in (("the clip", sounds), ("another clip", np.roll(sounds, 1, axis=0))):
        rng, presence, choice = random.Random(1), [], []
        for n, row in enumerate(rows):
            text = row["texts"][0]
            others = rng.sample(
                [r["texts"][0] for r in rows if r["label"] != row["label"] and r["texts"][0] != text], 2
            )
            asked = text if n % 2 == 0 else others[0]
            presence.append((float(vectors[asked] @ clips[n]) >= model.least_cosine) == (n % 2 == 0))
            choice.append(int(np.argmax([vectors[one] @ clips[n] for one in (text, *others)])) == 0)
        print(f"{what}: is there ...? {np.mean(presence):.3f}, one of three {np.mean(choice):.3f}, {len(rows)} clips")


def picked(args: argparse.Namespace) -> None:
    """Print the scores of the captions that libre-base picks for the test clips, and ten of them."""
    from aural.evaluate.metrics.captions import cider_d, rouge_l, tokenize
    from aural.models.known_sentences import class_sentences, known_sentences

    rows = json.loads((Path(args.out) / "test.json").read_text())
    sounds = np.load(Path(args.out) / "test.npy").astype(np.float32)
    references = [[tokenize(text) for text in row["texts"]] for row in rows]
    known, vectors = known_sentences("libre-base")
    assert vectors is not None
    classes = [known.index(one) for one in class_sentences() if one != SILENCE]
    every = list(range(len(known)))
    for what, numbers, clips in (
        ("bundled sentences", every, sounds),
        ("names of classes", classes, sounds),
        ("bundled sentences, sound of another clip", every, np.roll(sounds, 1, axis=0)),
    ):
        captions = [known[numbers[k]] for k in (clips @ vectors[numbers].T).argmax(1)]
        words = [tokenize(text) for text in captions]
        print(
            f"{what}: CIDEr-D {cider_d(words, references).mean():.3f}, ROUGE-L {rouge_l(words, references).mean():.3f}"
        )
        if what == "bundled sentences":
            lines = [f"| {rows[n]['path'].removeprefix('clips/')} | {rows[n]['texts'][0]} | {captions[n]} |"
                     for n in random.Random(0).sample(range(len(rows)), 10)]  # fmt: skip
    print("\n".join(lines))


def sentences(args: argparse.Namespace) -> None:
    """Write the bundled sentences and their rows from texts.json: captions of training clips, then classes."""
    import aural
    from aural.models.known_sentences import captions_folder, class_sentences, packed_rows

    stored, folder = json.loads((Path(args.out) / "texts.json").read_text()), captions_folder()
    captions = [text for text, kind in zip(stored["texts"], stored["kind"], strict=True) if kind == "single"]
    chosen = [text for text in captions if not FRAMED.search(text) and not LANGUAGE.search(text)]
    classes = [text for text in class_sentences() if text != SILENCE]  # else many faint sounds are called silence
    chosen = [*dict.fromkeys([*chosen, "a person speaking", *classes])]
    rows = aural.load("libre-base", engine="onnx").embed_text(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sentences.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    save_file({"rows": torch.from_numpy(packed_rows(rows))}, folder / "rows.safetensors")
    print(f"{len(chosen)} sentences")


def bundle(args: argparse.Namespace) -> None:
    """Write the folder of the bundled captioner from a trained bridge."""
    from aural.models.bridge import BridgeConfig
    from aural.models.known_sentences import captions_folder
    from aural.models.packaged import SMOLLM2

    tensors, folder = load_file(args.out), captions_folder()
    hidden, wide = tensors["hidden.weight"], tensors["out.weight"]
    sizes = MapperConfig(
        d_in=hidden.shape[1], d_out=DECODER_DIM, kind="mlp", length=len(wide) // DECODER_DIM, hidden=len(hidden)
    )
    config = BridgeConfig(
        embedder="libre-base",
        decoder="smollm2",
        mapper=sizes,
        decoder_sha256=SMOLLM2.sha256,
        source=f"tools/train_captioner.py, {Path(args.out).name}",
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(config.model_dump_json(indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["prepare", "pack", "train", "compare", "picked", "sentences", "bundle"])
    parser.add_argument("paths", nargs="+")
    for name, value in {"result": "result", "device": "cuda", "arms": "text,audio,both"}.items():
        parser.add_argument(f"--{name}", default=value)
    for name, number in {"steps": 1500, "batch": 64, "seed": 0, "most": 500, "limit-s": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--start", help="a trained bridge to start from")
    parser.add_argument("--questions", type=float, default=0.5, help="share of questions, the rest is captions")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--noise", type=float, default=1.0, help="times the deviation of pairs")
    args = parser.parse_args()
    args.out = args.paths[-1]
    args.corpus = args.paths[0]
    work = {one.__name__: one for one in (prepare, pack, train, compare, picked, sentences, bundle)}
    work[args.what](args)


if __name__ == "__main__":
    main()
