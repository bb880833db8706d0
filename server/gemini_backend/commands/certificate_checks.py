"""Checks the files of certificates: whether they fit together, for how long, and who reads them."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.config.certificates import (
    UnusableCertificateError,
    authorities_in,
    chain_of,
)
from gemini_backend.config.tls import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemini_backend.config import Config
    from gemini_backend.config.certificates import Certificate

SOON_DAYS = 30


class Finding(NamedTuple):
    """What was checked, what is wrong with it, and what is worth knowing."""

    check: str
    problem: str = ""
    notice: str = ""


def certificate_findings(config: Config, now: float) -> Iterator[Finding]:
    """Check the files of `server.tls_*` and `upstream.gemini.ca_file` that are set.

    Args:
        config: Where the files are.
        now: Seconds since 1970.
    """
    server = config.server
    if server.tls_cert_file and server.tls_key_file:
        cert, key = path_of(server.tls_cert_file), path_of(server.tls_key_file)
        try:
            yield _judged("server.tls_cert_file", chain_of(cert, key), now)
        except UnusableCertificateError as error:
            yield Finding("server.tls_cert_file", str(error))
        else:
            mode = stat.S_IMODE(key.stat().st_mode)
            open_to_all = mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP)
            notice = f"{key} is open to others (mode {mode:04o}); chmod 600" if open_to_all else ""
            yield Finding("server.tls_key_file", notice=notice)
    files = {
        "server.tls_client_ca_file": server.tls_client_ca_file,
        "upstream.gemini.ca_file": config.upstream.gemini.ca_file,
    }
    for name, file in files.items():
        if file:
            try:
                yield _judged(name, authorities_in(path_of(file)), now, some=True)
            except UnusableCertificateError as error:
                if name.startswith("server."):  # the check of the upstream reports the other one
                    yield Finding(name, str(error))


def _judged(name: str, found: Sequence[Certificate], now: float, *, some: bool = False) -> Finding:
    """Return what there is to say of certificates, all of which must be valid, or `some`."""
    problems = [problem for one in found if (problem := one.problem(now))]
    notices = [notice for one in found if (notice := one.notice(now, SOON_DAYS))]
    if some and len(problems) < len(found):
        return Finding(name, notice="; ".join(notices))
    return Finding(name, "; ".join(problems), "" if problems else "; ".join(notices))
