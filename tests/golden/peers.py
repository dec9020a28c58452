"""Build each peer's own module without a network and run its own path from audio file and text to embedding.

Runs in the peers' environment (`make_peers_env.sh`) only.
"""

import contextlib
import io
import random
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from golden_tokenizers import write_tokenizer
from layouts import LAYOUTS
from random_weights import random_state_dict, write_checkpoint


@dataclass
class Peer:
    """One built peer: `module` holds the weights, the two functions are its public path."""

    module: torch.nn.Module
    embed_audio: Callable[[list[str]], np.ndarray]  # one call of the peer -> (N, E)
    embed_text: Callable[[list[str]], np.ndarray]  # one call of the peer -> (N, E)
    token_ids: Callable[[list[str]], np.ndarray]  # what that call fed the text tower, (N, T)
    log_mel: Callable[[str], np.ndarray]  # one file -> what its network normalizes first, (T, 64)
    text_room: int | None  # padded length when longer texts need a call of their own, else None
    never_longer: Callable[[], contextlib.AbstractContextManager] | None = None  # fused: leave short clips short


Check = Callable[[torch.nn.Module], None]


def reseed() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the peers draw from the global generator
    torch.manual_seed(0)


def _holds_the_weights(module: torch.nn.Module, layout: str) -> torch.nn.Module:
    """The peer has taken every tensor of the file it read, and has no other."""
    found, wanted = module.state_dict(), random_state_dict(layout)
    wrong = [key for key in found.keys() | wanted.keys() if not (key in found and key in wanted)]
    wrong += [key for key in found.keys() & wanted.keys() if not torch.equal(found[key], wanted[key])]
    if wrong:
        raise SystemExit(f"{layout}: the peer did not load {len(wrong)} tensors of its own file, first {wrong[0]}")
    return module.eval()


@contextlib.contextmanager
def _replaced(owner: object, name: str, value: object):
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


# -- msclap ----------------------------------------


def _soundfile_load(path: str, *_: object, **__: object) -> tuple[torch.Tensor, int]:
    """What torchaudio.load gives for a WAV file, without its decoder library: float32 (channels, samples)."""
    import soundfile

    samples, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
    return torch.from_numpy(np.ascontiguousarray(samples.T)), rate_hz


def build_msclap(layout: str, folder: Path, check: Check) -> Peer:
    import msclap
    import transformers

    kind = LAYOUTS[layout]
    shapes = {
        "gpt2": lambda: transformers.GPT2Model(transformers.GPT2Config()),
        "bert-base-uncased": lambda: transformers.BertModel(transformers.BertConfig()),
    }
    tokenizer = write_tokenizer(kind.tokenizer, folder)
    published = write_checkpoint(layout, folder)
    nothing = folder / "nothing.pth"
    torch.save({"model": {}}, nothing)
    wrapper_module = sys.modules[msclap.CLAP.__module__]  # the package hides its module behind the class of that name
    local_tokenizer = types.SimpleNamespace(
        from_pretrained=lambda _name: transformers.AutoTokenizer.from_pretrained(tokenizer)
    )
    with (
        _replaced(transformers.AutoModel, "from_pretrained", staticmethod(lambda name, **_: shapes[name]())),
        _replaced(wrapper_module, "AutoTokenizer", local_tokenizer),
    ):
        peer = wrapper_module.CLAPWrapper(model_fp=str(nothing), version=kind.network, use_cuda=False)
        check(peer.clap)
        peer.model_fp = str(published)
        peer.clap, peer.tokenizer, peer.args = peer.load_clap()
    published.unlink()
    _holds_the_weights(peer.clap, layout)  # its own loading is strict=False and says nothing
    wrapper_module.torchaudio.load = _soundfile_load

    network = peer.clap.audio_encoder.base
    network = getattr(network, "htsat", network)
    mels: list[np.ndarray] = []
    network.logmel_extractor.register_forward_hook(lambda _m, _a, out: mels.append(out.detach().numpy().copy()))

    def log_mel(path: str) -> np.ndarray:
        peer.get_audio_embeddings([path])
        return mels[-1][0, 0]

    def token_ids(texts: list[str]) -> np.ndarray:
        return peer.preprocess_text(texts)["input_ids"].numpy()

    return Peer(
        peer.clap,
        lambda paths: peer.get_audio_embeddings(paths).numpy(),
        lambda texts: peer.get_text_embeddings(texts).numpy(),
        token_ids,
        log_mel,
        peer.args.text_len,
    )


# -- laion ----------------------------------------


def _import_laion(tokenizer: Path):
    """laion_clap asks a hub for three tokenizers when it is imported, and needs torchvision, which has no CPU build."""
    import transformers

    # transformers looks torchvision up when its image code is first touched: let it decide first that there is none.
    transformers.utils.is_torchvision_available()
    for name in ("RobertaModel", "BertModel", "BartModel"):
        getattr(transformers, name)
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    sys.path.append(str(Path(sys.prefix) / "torchvision"))

    settings = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    roberta = transformers.RobertaTokenizer.from_pretrained(tokenizer)

    def model(*_: object, **__: object) -> torch.nn.Module:
        return transformers.RobertaModel(transformers.RobertaConfig(**settings))

    transformers.RobertaModel.from_pretrained = staticmethod(model)
    transformers.RobertaTokenizer.from_pretrained = classmethod(lambda _cls, _name: roberta)
    for name in ("BertTokenizer", "BartTokenizer"):
        getattr(transformers, name).from_pretrained = classmethod(lambda _cls, _name: None)
    import laion_clap

    return laion_clap, library


def build_laion(layout: str, folder: Path, check: Check) -> Peer:
    kind = LAYOUTS[layout]
    laion_clap, library = _import_laion(write_tokenizer("roberta", folder))
    peer = laion_clap.CLAP_Module(enable_fusion=kind.fused, device="cpu", amodel=kind.network, tmodel="roberta")
    peer.kept_operators = library
    check(peer.model)
    published = write_checkpoint(layout, folder)
    with contextlib.redirect_stdout(io.StringIO()):
        peer.load_ckpt(str(published), verbose=False)
    published.unlink()
    _holds_the_weights(peer.model, layout)
    branch = peer.model.audio_branch
    mels: list[np.ndarray] = []
    branch.bn0.register_forward_pre_hook(lambda _, given: mels.append(given[0].detach().numpy().copy()))

    def embed_audio(paths: list[str]) -> np.ndarray:
        with torch.no_grad():
            return peer.get_audio_embedding_from_filelist(paths)

    def log_mel(path: str) -> np.ndarray:
        embed_audio([path])
        return mels[-1][0, :, :, 0].T  # (B, F, T, C) -> (T, F) of the first channel

    def embed_text(texts: list[str]) -> np.ndarray:
        with torch.no_grad():
            return peer.get_text_embedding(texts)

    @contextlib.contextmanager
    def never_longer():
        """Run the network with `torch.randint` answering "no clip" where the peer picks a clip to call longer."""
        nobody = torch.zeros(0, dtype=torch.int64)
        with _replaced(torch, "randint", lambda *_: nobody):
            yield

    return Peer(
        peer.model,
        embed_audio,
        embed_text,
        lambda texts: peer.tokenizer(texts)["input_ids"].numpy(),
        log_mel,
        None,
        never_longer if kind.fused else None,
    )


# -- transformers ----------------------------------------


def build_transformers(layout: str, folder: Path, check: Check) -> Peer:
    import librosa
    from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel

    kind = LAYOUTS[layout]
    published = write_checkpoint(layout, folder)
    check(ClapModel(ClapConfig.from_pretrained(published)))
    model, said = ClapModel.from_pretrained(published, output_loading_info=True)
    if any(said.values()):
        raise SystemExit(f"{layout}: {said}")
    _holds_the_weights(model, layout)
    extractor = ClapFeatureExtractor.from_pretrained(published)
    tokenizer = AutoTokenizer.from_pretrained(published)
    (published / "model.safetensors").unlink()
    forced = []

    def features(paths: list[str]):
        clips = [librosa.load(path, sr=48000)[0] for path in paths]
        found = extractor(clips, sampling_rate=48000, return_tensors="pt")
        if forced:
            frames = [1 + len(clip) // 480 for clip in clips]
            found["is_longer"] = torch.tensor([[count > 1001] for count in frames])
        return found

    def embed_audio(paths: list[str]) -> np.ndarray:
        with torch.no_grad():
            return model.get_audio_features(**features(paths)).numpy()

    def tokens(texts: list[str]):
        return tokenizer(texts, padding=True, return_tensors="pt")

    def embed_text(texts: list[str]) -> np.ndarray:
        with torch.no_grad():
            return model.get_text_features(**tokens(texts)).numpy()

    @contextlib.contextmanager
    def never_longer():
        forced.append(True)
        try:
            yield
        finally:
            forced.clear()

    return Peer(
        model,
        embed_audio,
        embed_text,
        lambda texts: tokens(texts)["input_ids"].numpy(),
        lambda path: features([path])["input_features"].numpy()[0, 0],
        None,
        never_longer if kind.fused else None,
    )


BUILDERS = {"msclap": build_msclap, "laion": build_laion, "transformers": build_transformers}


def build(layout: str, folder: Path, check: Check) -> Peer:
    """Build the peer of `layout` and have it read the random weights' file as it reads a published one.

    `folder` takes the files; `check` sees the module as its own code made it, before the weights are loaded.
    """
    return BUILDERS[LAYOUTS[layout].peer](layout, folder, check)
