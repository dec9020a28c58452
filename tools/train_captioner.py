"""Train the bridge of the bundled captioner: vectors of libre-base to a prefix of SmolLM2, which stays frozen.

    python tools/train_captioner.py prepare CORPUS OUT    # texts, questions and vectors
    python tools/train_captioner.py pack OUT              # the decoder in three files
    python tools/train_captioner.py train OUT --result R  # on a GPU; the decoder is read from three files
    python tools/train_captioner.py written OUT --result R --arms both   # scores of the captions of a bridge
    python tools/train_captioner.py compare OUT           # the same questions by similarity alone
    python tools/train_captioner.py sentences OUT         # the sentences that are picked where nothing is written
    python tools/train_captioner.py picked OUT            # scores of the captions that libre-base picks
    python tools/train_captioner.py bundle R/both.safetensors   # write src/aural/weights/libre-captions

`prepare` needs the corpus, MiniLM and the package of SmolLM2, and in OUT the vectors of clips (audio.npy, test.npy: one
unit row per entry of audio.json, test.json, which are rows of the manifest). No test clip is used in training. `train`
writes the bridge and the tokens of its captions of the test clips; `written` needs the package to read them as words.

Arms: "text" learns from the vectors of texts with noise; "audio" from the vectors of training clips; "both" from both.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aural.nn.bridges.mapper import MapperConfig, MlpMapper
from aural.nn.bridges.noise import paired_deviation
from aural.nn.functional import unit
from captioner_data import Data, TokenRow, batch_of, prepare
from captioner_decoder import open_packed, pack
from captioner_scores import compare, picked, sentences, written

DECODER_DIM = 576
LONGEST = 20
"""Tokens of a caption."""


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


def rate(done: float) -> float:
    """Return the learning rate at a share of the training, as a share of the highest: up in 5%, then down to 0."""
    return min(done / 0.05, 1 - (done - 0.05) / 0.95)


def train(args: argparse.Namespace) -> None:
    """Train the arms one after the other, and write the bridge and the captions of each and print its scores.

    With --limit-s the learning rate falls to 0 at that time or at the last step, whichever is sooner.
    """
    folder, result = Path(args.out), Path(args.result)
    result.mkdir(parents=True, exist_ok=True)
    model = open_packed(folder, args.device)
    data = Data(folder, args.device, args.most)
    pairs = torch.tensor([data.number.get(row["texts"][0], -1) for row in data.rows["audio"]], device=args.device)
    paired = pairs >= 0
    deviation = paired_deviation(data.audio[paired], data.text[pairs[paired]])
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
        rng = random.Random(args.seed)
        for step in range(args.steps):
            seconds = time.time() - start
            done = max((step + 1) / args.steps, seconds / args.limit_s if args.limit_s else 0.0)
            if done > 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = args.lr * rate(done)
            vectors, rows = draw(data, arm, args, deviation, rng)
            ids, mask, target = batch_of(rows, args.device)
            loss = (losses(model, bridge(vectors), ids, mask, target) / target.sum(1)).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(bridge.parameters(), 1.0)
            optimizer.step()
            if step % 100 == 0 or step == args.steps - 1:
                print(f"{arm} step {step} loss {loss.item():.3f} {seconds:.0f} s", flush=True)
        print(f"{arm}: stopped after {step + (done <= 1)} steps", flush=True)
        tensors = {n: t.detach().half().cpu().contiguous() for n, t in bridge.state_dict().items()}
        save_file(tensors, result / f"{arm}.safetensors")
        with torch.no_grad():
            for width in (1, 4):
                texts = write(model, bridge, data, width)
                (result / f"{arm}-{width}.json").write_text(json.dumps(texts))
            print(f"{arm}: {json.dumps(score(model, bridge, data))}", flush=True)


def draw(
    data: Data, arm: str, args: argparse.Namespace, deviation: float, rng: random.Random
) -> tuple[Tensor, list[TokenRow]]:
    """Return vectors (B, E) and token rows. Of the questions (a share of the rows), half are about presence."""
    vectors, rows, noise = [], [], []
    for n in range(args.batch):
        text_only = arm == "text" or (arm == "both" and n % 2 == 0)
        if text_only:
            index = rng.choice(data.singles) if n % 8 else rng.randrange(len(data.texts))
            text = data.texts[index]
            vectors.append(data.text[index])
            single = data.kind[index] != "pair"
        else:
            index = rng.randrange(len(data.audio))
            text, single = rng.choice(data.rows["audio"][index]["texts"]), True
            vectors.append(data.audio[index])
        noise.append(1.0 if text_only else 0.25)
        task = rng.random()
        others = [data.texts[rng.choice(data.singles)] for _ in range(2)]
        if task >= args.questions or not single or text in others or others[0] == others[1]:
            rows.append(data.caption(text))
        elif task < args.questions / 2:
            there = rng.random() < 0.5
            rows.append(data.presence(text if there else others[0], there))
        else:
            options = [text, *others]
            rng.shuffle(options)
            rows.append(data.choice(options, options.index(text)))
    stacked = torch.stack(vectors)
    scale = args.noise * deviation * torch.tensor(noise, device=stacked.device)[:, None]
    return unit(stacked + scale * torch.randn_like(stacked)), rows


def write(model: Any, bridge: nn.Module, data: Data, width: int) -> list[list[int]]:
    """Return the tokens of a caption per test clip, as numbers of the whole table. width: of the beam; 1: greedy."""
    texts: list[list[int]] = []
    given = torch.tensor(data.piece["Caption:"], device=data.device)
    for sounds in data.test.split(100):
        prefix = bridge(sounds)
        words = model.get_input_embeddings()(given).expand(len(sounds), -1, -1)
        vectors = torch.cat([prefix.to(words.dtype), words], dim=1)
        mask = torch.ones(vectors.shape[:2], dtype=torch.long, device=data.device)
        chosen = model.generate(
            inputs_embeds=vectors, attention_mask=mask, max_new_tokens=LONGEST, do_sample=False, num_beams=width,
            eos_token_id=data.stop, pad_token_id=data.stop,
        )  # fmt: skip
        texts += [[data.kept[i] for i in row if i != data.stop] for row in chosen.tolist()]
    return texts


def score(model: Any, bridge: nn.Module, data: Data) -> dict[str, float]:
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
    work = {one.__name__: one for one in (prepare, pack, train, written, compare, picked, sentences, bundle)}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=list(work))
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
    work[args.what](args)


if __name__ == "__main__":
    main()
