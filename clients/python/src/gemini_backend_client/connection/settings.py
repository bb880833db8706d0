"""What a client is told once: where the server is, how to reach it, how long to wait."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc

from gemini_backend_client.connection.api_key import (
    KEY_VARIABLE,
    PLAIN_TEXT,
    PlainText,
    as_pair,
    chosen_key,
)
from gemini_backend_client.connection.retry import RetryPolicy, service_config
from gemini_backend_client.version import VERSION

__all__ = ["DEFAULT", "DEFAULT_TARGET", "DEFAULT_TIMEOUT", "Default", "Settings", "Timeout", "Tls"]

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TARGET: Final = "127.0.0.1:50051"
DEFAULT_TIMEOUT: Final = 300.0
"""Seconds that a call may take as a whole, a stream to its end."""
_MAX_RECEIVE_BYTES: Final = 128 * 1024 * 1024
# A model may think for minutes without a byte on the wire, and middleboxes forget idle connections
# after one to five minutes.
_KEEPALIVE_MS: Final = 60_000
_KEEPALIVE_TIMEOUT_MS: Final = 20_000
_THIS_MACHINE: Final = re.compile(
    r"(dns:(//[^/]*/)?|ipv[46]:)?(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?"
    r"|unix(-abstract)?:.+",
    re.IGNORECASE,
)


class Default(Enum):
    """The type of `DEFAULT`, so that None is left to mean "no limit"."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        """Show as it is written in a signature."""
        return "DEFAULT"


DEFAULT: Final = Default.DEFAULT
"""As a timeout: the client's own."""

Timeout: TypeAlias = float | Default | None
"""Seconds; None for no limit at all; `DEFAULT` for the client's."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What TLS needs, each in PEM.

    Attributes:
        root_certificates: of the authorities that are trusted; None trusts those of the system.
        certificate_chain: the client's own certificate, for mutual TLS.
        private_key: the key of that certificate.
    """

    root_certificates: bytes | None = None
    certificate_chain: bytes | None = field(default=None, repr=False)
    private_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse half of a pair.

        Raises:
            ValueError: when only one of certificate and key is given.
        """
        if (self.certificate_chain is None) != (self.private_key is None):
            msg = "mutual TLS needs both: give certificate_chain and private_key, or neither"
            raise ValueError(msg)

    @classmethod
    def from_files(
        cls,
        ca: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
    ) -> Tls:
        """Read the PEM files that are named.

        Raises:
            OSError: when a file cannot be read.
            ValueError: when only one of certificate and key is given.
        """
        ca_pem, certificate_pem, key_pem = (
            None if path is None else Path(path).read_bytes() for path in (ca, certificate, key)
        )
        return cls(ca_pem, certificate_pem, key_pem)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return them as gRPC takes them."""
        return grpc.ssl_channel_credentials(
            self.root_certificates, self.private_key, self.certificate_chain
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a connection is made from; see `Client` for each field."""

    target: str = DEFAULT_TARGET
    credentials: Tls | grpc.ChannelCredentials | PlainText | None = None
    api_key: str | None = field(default=None, repr=False)
    metadata: Mapping[str, str | bytes] | None = field(default=None, repr=False)
    timeout: float | None = DEFAULT_TIMEOUT
    retry: RetryPolicy | None = field(default_factory=RetryPolicy)
    options: Mapping[str, int | str] | None = None

    def __post_init__(self) -> None:
        """Refuse what could never work.

        Raises:
            ValueError: for a timeout that is not above 0, a key that cannot be sent, and one that
                others could read on its way.
        """
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            msg = f"timeout is {self.timeout}: give seconds above 0, or None for no limit"
            raise ValueError(msg)
        key = chosen_key(self.api_key, self.metadata)
        object.__setattr__(self, "api_key", key)
        if key and self.credentials is None and not _THIS_MACHINE.fullmatch(self.target):
            msg = (
                f"{self.target} is another machine and there is no TLS, so that the API key could "
                "be read on the way: give credentials=Tls(...) (--tls-ca, or --tls), or "
                "credentials=PLAIN_TEXT (--plain-text) if the way is safe, or no key "
                f"({KEY_VARIABLE})"
            )
            raise ValueError(msg)

    def seconds(self, timeout: Timeout) -> float | None:
        """Return the seconds that a call may take, None for no limit."""
        return self.timeout if timeout is DEFAULT else timeout

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """Return the credentials of the channel; None for one without TLS."""
        if isinstance(self.credentials, Tls):
            return self.credentials.channel_credentials()
        return None if self.credentials is PLAIN_TEXT else self.credentials

    def metadata_pairs(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return what goes out with every call, keys in lower case as HTTP/2 asks."""
        pairs = tuple((name.lower(), value) for name, value in (self.metadata or {}).items())
        return (*pairs, as_pair(self.api_key)) if self.api_key else pairs

    def channel_options(self) -> list[tuple[str, Any]]:
        """Return the channel's options; those of the caller's own outrank ours."""
        options: dict[str, Any] = {
            "grpc.primary_user_agent": f"gemini-backend-client/{VERSION}",
            # How much may be sent is the server's to say.
            "grpc.max_send_message_length": -1,
            "grpc.max_receive_message_length": _MAX_RECEIVE_BYTES,
            "grpc.keepalive_time_ms": _KEEPALIVE_MS,
            "grpc.keepalive_timeout_ms": _KEEPALIVE_TIMEOUT_MS,
        }
        if _THIS_MACHINE.fullmatch(self.target):
            # http_proxy names the way to other machines; no proxy leads to this one
            options["grpc.enable_http_proxy"] = 0
        if self.retry is None:
            options["grpc.enable_retries"] = 0
        else:
            options["grpc.service_config"] = service_config(self.retry)
        return list((options | dict(self.options or {})).items())
