"""Train recipes one after the other in several processes, as torchrun does.

python run_ranks.py FOLDER WORLD      every FOLDER/NAME.json into FOLDER/NAME

The starting process holds the store at which each recipe's processes meet, as torchrun's agent does. The system picks
its port when it is bound, so no other process can take the port in between.
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
from torch.distributed import TCPStore


def work(rank: int, world: int, ports: dict[str, int]) -> None:
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
    for name, port in ports.items():
        file = Path(name)
        began = time.perf_counter()
        os.environ["MASTER_PORT"] = str(port)
        train(Recipe.parse(json.loads(file.read_text()), "test"), file.with_suffix(""), device="cpu")
        print(rank, file.stem, round(time.perf_counter() - began, 1), flush=True)


if __name__ == "__main__":
    folder, world = Path(sys.argv[1]), int(sys.argv[2])
    stores = {str(file): TCPStore("127.0.0.1", 0, is_master=True) for file in sorted(folder.glob("*.json"))}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    mp.spawn(work, args=(world, {name: store.port for name, store in stores.items()}), nprocs=world)
