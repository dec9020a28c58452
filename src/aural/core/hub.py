"""Download files from the model hub: cached, offline on request, verified by sha256 if the digest is known."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import socket
import threading
import time
from pathlib import Path

from aural.core.errors import CheckpointError, MissingDependencyError, one_line

OFFLINE_VARIABLES = ("AURAL_OFFLINE", "HF_HUB_OFFLINE")
REACH_S = 1.0
"""Longest wait for the first answer of the hub in seconds."""
REMEMBERED_S = 20.0


def is_offline() -> bool:
    """Return whether the environment forbids the network."""
    return any(os.environ.get(name, "0").lower() not in ("", "0", "false", "no") for name in OFFLINE_VARIABLES)


def hub_file(
    repository: str,
    filename: str,
    *,
    revision: str | None = None,
    sha256: str | None = None,
    offline: bool = False,
    fix: str = "",
) -> Path:
    """Return the local path of a file of a hub repository: from the cache, or downloaded unless offline.

    The hub names large files by their sha256; a new download is checked against that name, or against `sha256` if
    given. Raises MissingDependencyError, which says what to download and where to put it, or `fix` instead.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    cached = _cached(repository, filename, revision)
    if cached is not None:
        return cached
    where = f'"{filename}" of the hub repository "{repository}"'
    address = f"{constants.ENDPOINT}/{repository}/resolve/{revision or 'main'}/{filename}"
    fix = (
        fix
        or f"download {address} elsewhere and pass the path of your copy (or fill the cache {constants.HF_HUB_CACHE})"
    )
    if offline or is_offline():
        raise MissingDependencyError(f"{where} is not on this machine and the network is switched off; {fix}")
    if not reachable(constants.ENDPOINT):
        raise MissingDependencyError(
            f"{where} is not on this machine and {constants.ENDPOINT} cannot be reached; {fix}"
        )
    try:
        path = Path(hf_hub_download(repository, filename, revision=revision))
    except HFValidationError:
        raise _no_repository(repository) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = one_line(error, 160)
        raise MissingDependencyError(f"{where} could not be downloaded ({reason}); {fix}") from None
    name = path.resolve().name
    verify(path, sha256 or (name if len(name) == 64 and set(name) <= set("0123456789abcdef") else None))
    return path


def reachable(address: str, timeout_s: float = REACH_S) -> bool:
    """Return whether a server, or the proxy of the environment, accepts connections within `timeout_s` seconds.

    Clients of the hub try five times with growing pauses; on a machine without network that takes half a minute.
    """
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    target = urlsplit(address)
    proxies = {} if proxy_bypass(target.hostname or "") else getproxies()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    place = urlsplit(proxy if "://" in (proxy or "") else f"http://{proxy}") if proxy else target
    port = place.port or {"http": 80, "socks5": 1080}.get(place.scheme, 443)
    return _connects(place.hostname or "", port, timeout_s, int(time.monotonic() // REMEMBERED_S))


@functools.lru_cache(maxsize=4)
def _connects(host: str, port: int, timeout_s: float, _period: int) -> bool:
    """Return whether a connection can be opened; the answer is kept for the period, as a model has several files."""
    done, answered = threading.Event(), threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout_s):
            answered.set()
        done.set()

    threading.Thread(target=connect, daemon=True).start()  # looking up a name has no time limit
    done.wait(timeout_s)
    return answered.is_set()


def _no_repository(name: str) -> MissingDependencyError:
    return MissingDependencyError(f'"{name}" is neither a local path nor the name of a hub repository')


def _cached(repository: str, filename: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(repository, filename, revision=revision)
    except HFValidationError:
        raise _no_repository(repository) from None
    return Path(path) if isinstance(path, str) else None


def verify(path: Path, sha256: str | None) -> None:
    """Raise CheckpointError when the sha256 of a file differs from `sha256`; None skips the check."""
    if sha256 is None:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise CheckpointError(
            f"{path}: sha256 is {digest[:12]}..., expected {sha256[:12]}...; delete the file and download it again"
        )
