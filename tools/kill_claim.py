"""Kill `aural reproduce CARD` ten times with SIGKILL and compare its effect.json with that of an unbroken run.

    python tools/kill_claim.py scenes-vs-labels --smoke --data toys
    python tools/kill_claim.py scenes-vs-labels --data libre-mini --steps 40

Both runs start with an empty folder, so kills hit the build of the material as well as training, scoring and the files
that are written last. The signal goes to the whole process group: the command, its fork server and the processes that
train. The moments are drawn from the start of the process to a fifth of the time that the unbroken run needs after its
start. Without --smoke the card keeps its arms, tasks and checks; the material (`SIZE`) and the runs (--steps, --seeds)
are smaller.

The exit code is 0 if the two files are equal to the byte.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZE = {"versions": 1, "clips": 300, "mixed": 100, "scenes": 400, "test_scenes": 100}
LEFT_OVER = "*.part*"


def work(args: argparse.Namespace) -> None:
    """Run the card in this process and its children."""
    from aural.reproduce import worlds
    from aural.reproduce.card import claim
    from aural.reproduce.run import Options, reproduce

    card = claim(args.card)
    if not args.smoke:
        worlds.FULL = worlds.Size(**SIZE)  # type: ignore[misc]
        changes = (f"loop.steps={args.steps}", "loop.batch=32", "loop.save_every=5")
        card = card.model_copy(update={"common": (*card.common, *changes)})
    options = Options(args.out, args.data, seeds=args.seeds, device="cpu", jobs=args.jobs, smoke=args.smoke)
    reproduce([card], options, say=lambda line: print(line, flush=True))


def start(args: argparse.Namespace, out: Path) -> subprocess.Popen[str]:
    """Start the card in a separate process group."""
    command = [sys.executable, __file__, args.card, "--child", "--out", str(out), "--data", str(args.data)]
    command += [f"--steps={args.steps}", f"--seeds={args.seeds}", f"--jobs={args.jobs}"]
    command += ["--smoke"] if args.smoke else []
    log = (out.parent / f"{out.name}.log").open("a", encoding="utf-8")
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, text=True)


def unbroken(args: argparse.Namespace, out: Path) -> tuple[float, float]:
    """Run the card to its end; return the seconds to its first line of output and to its end."""
    began, process, log = time.monotonic(), start(args, out), out.parent / f"{out.name}.log"
    while process.poll() is None and "runs to do" not in log.read_text(encoding="utf-8"):
        time.sleep(0.05)
    first_s = time.monotonic() - began
    if process.wait() != 0:
        raise SystemExit(f"the unbroken run failed; see {log}")
    return first_s, time.monotonic() - began


def kill_after(args: argparse.Namespace, out: Path, moment_s: float) -> bool:
    """Start the card and kill its process group after so many seconds; return whether it was still running."""
    process = start(args, out)
    try:
        process.wait(moment_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("card")
    parser.add_argument("--data", type=Path, default=Path("toys"))
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument(
        "--within", type=float, default=0.0, help="seconds after which the later kills come at the latest"
    )
    parser.add_argument("--draw", type=int, default=0, help="seed of the moments")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        work(args)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        raise SystemExit(compare(args, folder / "unbroken", folder / "killed"))


def compare(args: argparse.Namespace, straight: Path, broken: Path) -> int:
    """Run the card without and with kills; return 0 if the effects are equal to the byte."""
    first_s, total_s = unbroken(args, straight)
    print(f"unbroken: {total_s:.1f} s, of which {first_s:.1f} s before the first run starts", flush=True)
    moments, killed = random.Random(args.draw), 0
    for number in range(args.kills):
        moment_s = moments.uniform(0.3 * first_s, first_s + 0.2 * (total_s - first_s))
        if args.within and number:  # the material is built after some kills, and later starts are faster
            moment_s = moments.uniform(0.25 * args.within, args.within)
        hit = kill_after(args, broken, moment_s)
        killed += hit
        done = len(list(broken.glob(f"{args.card}/*/*/*/done.json")))
        print(
            f"kill {number + 1} after {moment_s:.1f} s: {'hit' if hit else 'had ended'}, {done} runs done", flush=True
        )
    if start(args, broken).wait() != 0:
        print(f"the last run failed; see {broken}.log")
        return 1
    effects = [(folder / args.card / "effect.json").read_bytes() for folder in (straight, broken)]
    left = [str(path) for path in broken.rglob(LEFT_OVER)]
    equal = effects[0] == effects[1] and not left and killed >= args.kills // 2
    state = "equal to the byte" if effects[0] == effects[1] else "DIFFERENT"
    print(
        f"{killed} of {args.kills} kills hit a running process; effect.json is {state}; left over: {left or 'nothing'}"
    )
    return 0 if equal else 1


if __name__ == "__main__":
    main()
