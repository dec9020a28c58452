"""Trains recipes one after the other as torchrun would, in as many processes as told.

python run_ranks.py FOLDER WORLD      every FOLDER/NAME.json into FOLDER/NAME
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp


def work(rank: int, folder: str, world: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    from aural.train.config import Recipe
    from aural.train.loop import train

    attention = torch.nn.functional.scaled_dot_product_attention
    torch.nn.Dropout.forward = lambda self, x: x  # type: ignore[method-assign]

    def without_dropout(
        q: Any, k: Any, v: Any, mask: Any = None, dropout_p: float = 0.0, *rest: Any, **more: Any
    ) -> Any:
        return attention(q, k, v, more.pop("attn_mask", mask), 0.0, *rest, **more)

    # dropout differs between processes by design
    torch.nn.functional.scaled_dot_product_attention = without_dropout
    port = int(os.environ["MASTER_PORT"])
    for count, file in enumerate(sorted(Path(folder).glob("*.json"))):
        began = time.perf_counter()
        os.environ["MASTER_PORT"] = str(port + count)  # a store closed a moment ago may still answer on its own
        train(Recipe.parse(json.loads(file.read_text()), "test"), file.with_suffix(""), device="cpu")
        print(rank, file.stem, round(time.perf_counter() - began, 1), flush=True)


if __name__ == "__main__":
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": os.environ.get("TEST_PORT", "29517")}
    mp.spawn(work, args=(sys.argv[1], int(sys.argv[2])), nprocs=int(sys.argv[2]))
