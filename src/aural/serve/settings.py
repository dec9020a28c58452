"""Define the settings of a server; every limit states its unit."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import ClassVar, Final

from pydantic import Field, field_validator

from aural.core.config import Config

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Settings(Config):
    """Addresses and limits of a server; documented in `docs/serve/server.md`."""

    removed_keys: ClassVar[Mapping[str, str]] = {"logit_scale": "the model carries its own scale and bias"}

    host: str = "127.0.0.1"
    port: int = Field(default=8765, ge=0, le=65535)
    token: str | None = Field(default=None, min_length=8)
    max_upload_bytes: int = Field(default=32 << 20, ge=1024)
    max_duration_s: float = Field(default=300.0, gt=0)
    max_clip_s: float = Field(default=120.0, gt=0)
    request_timeout_s: float = Field(default=60.0, gt=0)
    decode_timeout_s: float = Field(default=20.0, gt=0)
    decode_memory_mib: int = Field(default=768, ge=64)
    decode_workers: int = Field(default=2, ge=1, le=64)
    max_waiting: int = Field(default=256, ge=1)
    batch_size: int = Field(default=32, ge=1)
    batch_wait_s: float = Field(default=0.003, ge=0, le=1)
    space_poll_s: float = Field(default=1.0, gt=0)
    """Time within which a switch of the library to another space is noticed."""
    cached_texts: int = Field(default=4096, ge=0)
    max_wrong_tokens: int = Field(default=10, ge=1)
    """Wrong tokens of one client within a minute; after them it waits until the minute is over."""
    max_connections: int = Field(default=1000, ge=1)
    max_connections_per_client: int = Field(default=200, ge=1)
    head_timeout_s: float = Field(default=10.0, gt=0)
    """Time until the headers of a request are complete."""
    body_timeout_s: float = Field(default=10.0, gt=0)
    """Time without a byte of a body that is not complete."""
    send_timeout_s: float = Field(default=60.0, gt=0)
    """Time without a byte taken by a client that receives an answer."""
    idle_timeout_s: float = Field(default=30.0, gt=0)
    """Time between the requests of one connection."""
    proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies whose X-Forwarded-For header names the client."""

    @field_validator("proxies")
    @classmethod
    def _are_addresses(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_address(proxy)
            except ValueError:
                raise ValueError(f"{proxy!r} is no IP address; give one such as 127.0.0.1") from None
        return proxies

    @field_validator("token")
    @classmethod
    def _sent_in_a_header(cls, token: str | None) -> str | None:
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise ValueError("must consist of ASCII letters, digits and signs without spaces, as a header holds it")
        return token

    @property
    def on_loopback(self) -> bool:
        """True if only this machine can reach the server."""
        return self.host in LOOPBACK
