"""Every write, rename, sync and delete of the commands fails once: one sentence, nothing lost, and a repeat completes.

The calls are made to fail below Python, in a library that is loaded before the C library, so that LanceDB, SQLite,
torch and safetensors meet them too. A fault is replayed with `AURAL_FAULT="library add,66,ENOSPC"`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

pytest.importorskip("lancedb")
if shutil.which("gcc") is None or not sys.platform.startswith("linux"):
    pytest.skip("the calls are made to fail by a C library, which needs gcc on Linux", allow_module_level=True)

from aural.core.errors import AuralError
from faults import data_operations, library_operations, life_operations, model_operations, report_operations
from faults.harness import KINDS, Call, Fault, Harness, kind_of, spread

BY_NAME = {
    operation.name: operation
    for module in (library_operations, life_operations, model_operations, data_operations, report_operations)
    for operation in module.OPERATIONS
}


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(tmp_path_factory.mktemp("faults")) as server:
        yield server


def test_equal_calls_are_spread() -> None:
    """Calls are grouped by what they do and by the file without its random name; the first and the last stay."""
    temporary = [Call(n, "open", f"/_indices/0b8c2f4e-1d2a-4e6b-9c1f-00112233445{n}/.tmpAb1cD{n}") for n in range(1, 8)]
    versions = [Call(n, "rename", f"/_versions/184467440737095516{n}.manifest") for n in range(10, 13)]
    others = [Call(20, "rename", "/library.json"), Call(21, "write", "/library.json")]
    assert {kind_of(call.path) for call in temporary} == {"/_indices//.tmp"}
    assert kind_of("/.checksums.json.5bce98-31905.part.json") == "/.checksums.json.part.json"
    assert [call.number for call in spread([*temporary, *versions, *others], 3)] == [1, 4, 7, 10, 11, 12, 20, 21]


def test_a_few_faults_of_adding(harness: Harness) -> None:
    """One call of each kind and part of the table, chosen by what it does, as its number may change."""
    operation = BY_NAME["library add"]
    calls = harness.calls(operation)

    def number(what: str, part: str) -> int:
        return next(call.number for call in calls if call.what == what and part in call.path)

    faults = {
        Fault(operation.name, number("write", "/data/"), "ENOSPC"): "refused",
        Fault(operation.name, number("rename", "library.json"), "EIO"): "refused",
        Fault(operation.name, number("open", "writer.lock"), "EACCES"): "refused",
        Fault(operation.name, number("rename", "_versions/") + 1, "kill"): "killed",
        Fault(operation.name, number("sync", "words.sqlite"), "EIO"): "completed",
    }
    for fault, expected in faults.items():
        assert harness.try_fault(operation, fault) == expected, fault


@pytest.mark.parametrize("name", ["models convert", "corpus build", "embed --text-file"])
def test_a_few_faults_of_a_command_that_writes_files(harness: Harness, name: str) -> None:
    """The last call that writes, with a full disk, and a kill before the last rename."""
    operation = BY_NAME[name]
    calls = harness.calls(operation)
    write, rename = (max(call.number for call in calls if call.what == what) for what in ("write", "rename"))
    assert harness.try_fault(operation, Fault(name, write, "ENOSPC")) == "refused"
    assert harness.try_fault(operation, Fault(name, rename, "kill")) == "killed"


@pytest.mark.parametrize(
    ("name", "what", "part", "kind", "expected"),
    [
        ("library repair", "rename", "safety/copies", "kill", "killed"),  # the next repair took its file for a copy
        ("library spaces --delete", "rename", "spaces/", "EIO", "refused"),
        ("train", "delete", "checkpoints/", "EIO", "completed"),  # a checkpoint without weights was left
        ("evaluate", "mkdir", "scores/", "ENOSPC", "refused"),  # an empty folder was left
        ("library optimize", "write", "mapped/vectors", "ENOSPC", "completed"),  # the index is optional
        ("library optimize", "rename", "mapped/index.json", "EIO", "completed"),
        ("library optimize", "rename", "mapped/index.json", "kill", "killed"),
    ],
)
def test_a_fault_at_a_place_that_was_not_safe(
    harness: Harness, name: str, what: str, part: str, kind: str, expected: str
) -> None:
    calls = harness.calls(BY_NAME[name])
    number = next(call.number for call in calls if call.what == what and part in call.path)
    assert harness.try_fault(BY_NAME[name], Fault(name, number, kind)) == expected


@pytest.mark.skipif("AURAL_FAULT" not in os.environ, reason="AURAL_FAULT names no fault to replay")
def test_replay(harness: Harness) -> None:
    name, call, kind = os.environ["AURAL_FAULT"].rsplit(",", 2)
    print(harness.try_fault(BY_NAME[name], Fault(name, int(call), kind)))


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_every_fault(harness: Harness, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every call with every kind of fault; prints the row of the table in `docs/search/faults.md`."""
    counts: Counter[tuple[str, str]] = Counter()
    failures: list[str] = []
    for fault in harness.faults(BY_NAME[name]):
        try:
            counts[fault.kind, harness.try_fault(BY_NAME[name], fault)] += 1
        except (AssertionError, AuralError) as error:
            failures.append(f"{','.join(map(str, fault))}: {error}")
    with capsys.disabled():
        for kind in KINDS:
            outcomes = [f"{counts[kind, outcome]} {outcome}" for outcome in ("refused", "completed", "killed")]
            print(f"| {name} | {kind} | {', '.join(outcomes)} |")
    assert not failures, "\n".join(failures[:20])
