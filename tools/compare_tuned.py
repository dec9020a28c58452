"""Compare runs of `tune_libre_base.py` with a base run: differences of mean reciprocal ranks with 95% intervals.

    python tools/compare_tuned.py tuned base twins letters

Reads `NAME-SEED.ranks.npz` of the folder, for the seeds that both have. The interval is a paired bootstrap over sounds
of the mean over seeds. "names" is the mean of the validation clips and the fresh sounds by which models are chosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.evaluate.stats import paired_mean_interval

SEEDS = range(10)
CHECKS = ("valid", "dev", "valid_retrieval", "valid_paraphrase", "valid_typos", "dev_retrieval", "dev_typos")
Values = NDArray[np.float64]


def read(folder: Path, name: str) -> dict[int, dict[str, NDArray[Any]]]:
    """Return the ranks of a run by seed and check."""
    files = {seed: folder / f"{name}-{seed}.ranks.npz" for seed in SEEDS}
    return {seed: dict(np.load(file)) for seed, file in files.items() if file.is_file()}


def interval(differences: Values, clips: NDArray[Any]) -> str:
    low, high = paired_mean_interval(differences, clips, np.random.default_rng(0))
    return f"{differences.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("base")
    parser.add_argument("arms", nargs="+")
    options = parser.parse_args()
    base = read(options.folder, options.base)
    for name in options.arms:
        arm = read(options.folder, name)
        seeds = sorted(set(base) & set(arm))
        if not seeds:
            print(f"{name}: no seed in common with {options.base}")
            continue
        change = {
            check: np.stack([1 / arm[seed][check] - 1 / base[seed][check] for seed in seeds])
            for check in CHECKS
            if check in base[seeds[0]]
        }
        first = base[seeds[0]]
        parts = [
            f"{check} {interval(rows, first.get(f'{check}_clip', np.arange(rows.shape[1])))}"
            for check, rows in change.items()
        ]
        print(f"{name}, {len(seeds)} seeds: names {both(change)}; " + "; ".join(parts))


def both(change: dict[str, Values]) -> str:
    """Return the mean of the changes (S, N) of "valid" and "dev" with the interval over the sounds of each."""
    generator = np.random.default_rng(0)
    means = [change[key].mean(0) for key in ("valid", "dev") if key in change]
    draws = [row[generator.integers(len(row), size=(4000, len(row)))].mean(1) for row in means]
    low, high = np.quantile(np.mean(draws, axis=0), [0.025, 0.975])
    per_seed = np.mean([change[key].mean(1) for key in ("valid", "dev") if key in change], axis=0)
    shown = ", ".join(f"{one:+.3f}" for one in per_seed)
    return f"{per_seed.mean():+.4f} [{low:+.4f}, {high:+.4f}] (seeds {shown})"


if __name__ == "__main__":
    main()
