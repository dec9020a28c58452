"""Two ranks are one process: the same loss and, averaged as DDP does, the same gradients of parameters."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from aural.core.errors import AuralError
from aural.objectives import InfoNCE, Sigmoid, TiledConfig, TiledInfoNCE, TiledSigmoid, gather_with_gradient
from aural.objectives.exchange import Alone, exchange_between

PAIRS, DIMS, WORLD = 11, 6, 2  # pairs a rank: odd, and no multiple of the tile
CASES: list[tuple[str, dict[str, Any]]] = [
    ("info_nce", {"exchange": "gather"}),
    ("info_nce", {"exchange": "ring"}),
    ("info_nce", {"exchange": "ring", "over_ranks": "sum"}),
    ("sigmoid", {"exchange": "gather"}),
    ("sigmoid", {"exchange": "ring"}),
    ("sigmoid", {"exchange": "gather", "over_ranks": "sum"}),
]
Result = dict[str, Tensor]


def towers() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Features of all pairs, and the parameters: a matrix a tower, temperature and bias."""
    generator = torch.Generator().manual_seed(3)
    sounds, words = (torch.randn(WORLD * PAIRS, DIMS, generator=generator, dtype=torch.float64) for _ in range(2))
    matrices = (torch.randn(DIMS, DIMS, generator=generator, dtype=torch.float64) for _ in range(2))
    parameters = dict(zip(("audio", "text"), matrices, strict=True))
    parameters |= {
        name: torch.tensor(x, dtype=torch.float64) for name, x in (("logit_scale", 9.0), ("logit_bias", -2.0))
    }
    return sounds, words, {name: value.requires_grad_() for name, value in parameters.items()}


def embed(x: Tensor, matrix: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x @ matrix, dim=1)


def one_process(name: str) -> Result:
    sounds, words, parameters = towers()
    given = {
        "audio_emb": embed(sounds, parameters["audio"]),
        "text_emb": embed(words, parameters["text"]),
        **parameters,
    }
    loss = (InfoNCE() if name == "info_nce" else Sigmoid())(given)["loss"]
    loss.backward()
    grads = {key: value.grad for key, value in parameters.items() if value.grad is not None}
    return {"loss": loss.detach(), **grads}


def on_rank(rank: int, folder: str) -> None:
    """All cases in one start of the processes; rank 0 writes down what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    results: list[Result] = []
    for name, values in CASES:
        sounds, words, parameters = towers()
        own = slice(rank * PAIRS, (rank + 1) * PAIRS)
        given = {
            "audio_emb": embed(sounds[own], parameters["audio"]),
            "text_emb": embed(words[own], parameters["text"]),
        }
        config = TiledConfig(tile=4, **values)
        objective = TiledInfoNCE(config) if name == "info_nce" else TiledSigmoid(config)
        loss = objective({**given, **parameters})["loss"]
        loss.backward()
        results.append(averaged(loss, parameters, mean=config.over_ranks == "mean"))
    sounds, words, parameters = towers()
    local = embed(sounds[own], parameters["audio"]), embed(words[own], parameters["text"])
    wide = [gather_with_gradient(x) for x in local]
    loss = InfoNCE()({"audio_emb": wide[0], "text_emb": wide[1], "logit_scale": parameters["logit_scale"]})["loss"]
    loss.backward()
    results.append(averaged(loss, parameters, mean=True))
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


def averaged(loss: Tensor, parameters: dict[str, Tensor], mean: bool) -> Result:
    out = {"loss": loss.detach()}
    for key, value in parameters.items():
        if value.grad is not None:
            out[key] = value.grad
            dist.all_reduce(out[key])
            out[key] /= WORLD if mean else 1
    return out


@pytest.fixture(scope="module")
def results() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        spawn(on_rank, args=(folder,), nprocs=WORLD)
        loaded: list[Result] = torch.load(Path(folder) / "results.pt", weights_only=True)
    return loaded


@pytest.mark.parametrize("case", range(len(CASES) + 1))
def test_two_ranks_are_one_process(results: list[Result], case: int) -> None:
    names = [*(name for name, _ in CASES), "info_nce"]  # the last one through gather_with_gradient
    wanted, found = one_process(names[case]), results[case]
    assert found.keys() == wanted.keys()
    for key in wanted:
        torch.testing.assert_close(found[key], wanted[key], rtol=1e-10, atol=1e-12)


def test_alone_where_no_group_is_set_up() -> None:
    assert isinstance(exchange_between("ring"), Alone)


def unequal_on_rank(rank: int, folder: str) -> None:
    """Rank 1 has one pair less; then a rank without its captions; every rank must raise, and at once."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    sentences = []
    scale, bias = torch.tensor(1.0), torch.tensor(-1.0)
    unit = torch.eye(4)
    for exchange in ("gather", "ring"):
        config = TiledConfig(exchange=exchange)
        for audio, text in ((unit[: 4 - rank], unit[: 4 - rank]), (unit, unit[: 4 - rank])):
            for name in ("info_nce", "sigmoid"):
                given = {"audio_emb": audio, "text_emb": text, "logit_scale": scale, "logit_bias": bias}
                objective = TiledInfoNCE(config) if name == "info_nce" else TiledSigmoid(config)
                try:
                    objective({key: given[key] for key in objective.needs})
                    sentences.append("no error")
                except AuralError as error:
                    sentences.append(str(error))
    try:
        gather_with_gradient(unit[: 4 - rank])
    except AuralError as error:
        sentences.append(str(error))
    equal = TiledInfoNCE(TiledConfig(exchange="ring"))
    sentences.append(str(float(equal({"audio_emb": unit, "text_emb": unit, "logit_scale": scale})["loss"])))
    (Path(folder) / f"{rank}.txt").write_text("\n".join(sentences))
    dist.destroy_process_group()


def test_unequal_ranks_are_refused_on_every_rank(tmp_path: Path) -> None:
    context = spawn(unequal_on_rank, args=(str(tmp_path),), nprocs=2, join=False)
    for _ in range(60):  # before, both waited forever
        if context.join(timeout=2):
            break
    else:
        for process in context.processes:
            process.kill()
        pytest.fail("the ranks wait for each other")
    lines = [(tmp_path / f"{rank}.txt").read_text().splitlines() for rank in (0, 1)]
    assert lines[0][0] == (
        "rank 0 has 4 pairs, but the ranks have 3 to 4; a loss over ranks needs equal numbers: drop the incomplete "
        "last batch, or set exchange to none"
    )
    assert all("a loss over ranks needs equal numbers" in line for one in lines for line in one[:-1])
    assert [len(one) for one in lines] == [10, 10]
    assert lines[0][-1] == lines[1][-1]
