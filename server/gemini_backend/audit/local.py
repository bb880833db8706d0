"""Acts of commands on this machine, written into the log beside a server that may be running."""

from __future__ import annotations

import os
import pwd
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini_backend.audit.entry import Act
from gemini_backend.audit.failures import unavailable
from gemini_backend.audit.files import Writer, place_of
from gemini_backend.errors import ServiceError
from gemini_backend.keyring import LazyKeyring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gemini_backend.config import Config

PURPOSE = "audit"
"""Of the key in the keyring."""


@dataclass(slots=True)
class LocalAct:
    """What an act concerns; the command completes it before the act ends.

    Attributes:
        target: A resource name, or paths of settings.
        details: Further facts; never a secret.
    """

    target: str
    details: dict[str, str] = field(default_factory=dict)


def key_of(config: Config) -> Callable[[], bytes]:
    """Return what gives the log's key, from the keyring; it blocks."""
    keyring = LazyKeyring(config.state.dir, config.secrets)
    return lambda: keyring.key(PURPOSE)


@contextmanager
def record_local(
    config: Config, action: str, target: str = "", details: Mapping[str, str] | None = None
) -> Iterator[LocalAct]:
    """Record an act of a command: that it begins, before it does, and how it has ended.

    Nothing is written where `audit.enabled` is false. To be used where nothing else runs: it waits
    for the disk.

    Args:
        config: Where the log is.
        action: The command, such as `keys create`.
        target: What it concerns, as far as that is known.
        details: Further facts; never a secret.

    Raises:
        StoreUnavailable: the entry cannot be written. Before the act, it is not done; after it, it
            was done, and the log has only its beginning.
    """
    act = LocalAct(target, dict(details or {}))
    if not config.audit.enabled:
        yield act
        return
    writer = Writer(place_of(config), key_of(config))
    number = secrets.token_hex(8)
    _append(writer, _entry(action, act, number, ""))
    try:
        yield act
    except BaseException as error:
        code, reason = "UNKNOWN", ""
        if isinstance(error, ServiceError):
            code, reason = error.code.name, error.reason
        _append(writer, _entry(action, act, number, code, reason))
        raise
    _append(writer, _entry(action, act, number, "OK"))


def _append(writer: Writer, act: Act) -> None:
    try:
        writer.append([act])
    except OSError as error:
        raise unavailable(error) from error


def _entry(action: str, act: LocalAct, number: str, code: str, reason: str = "") -> Act:
    details = {"act": number, **act.details}
    return Act(action, act.target, code, reason, principal=_user(), details=details)


def _user() -> str:
    """Return the name of the user of the system, by its number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
