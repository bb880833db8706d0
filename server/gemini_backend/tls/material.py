"""One state of the files of `server.tls_*`: all of them read at the same moment, and they fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini_backend.config.certificates import authorities_in, chain_of
from gemini_backend.config.tls import path_of, tls_context

if TYPE_CHECKING:
    import ssl

    from gemini_backend.config.certificates import Certificate
    from gemini_backend.config.sections.server import ServerOptions

Signature = tuple[tuple[int, ...], ...]
"""What changes when a file does: of each file its device, number, size and times."""


@dataclass(frozen=True, slots=True)
class Material:
    """What both ports use for new connections.

    Attributes:
        cert_pem: The certificate and the rest of its chain.
        key_pem: Its private key.
        ca_pem: The authorities of clients' certificates; None where clients need none.
        context: The same for the HTTP port.
        chain: The server's certificates, its own one first.
        authorities: Those of clients' certificates.
        signature: The files as they were.
    """

    cert_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    ca_pem: bytes | None = field(repr=False)
    context: ssl.SSLContext
    chain: tuple[Certificate, ...]
    authorities: tuple[Certificate, ...]
    signature: Signature


def load(options: ServerOptions) -> Material:
    """Read the files; a disk may be slow.

    Raises:
        OSError: a file cannot be read, is no certificate, the key belongs to another one, or they
            were changed at this moment; the message says which.
    """
    before = signature_of(options)
    context = tls_context(options)
    cert, key = path_of(options.tls_cert_file), path_of(options.tls_key_file)
    authority = path_of(options.tls_client_ca_file) if options.tls_client_ca_file else None
    made = Material(
        cert.read_bytes(),
        key.read_bytes(),
        None if authority is None else authority.read_bytes(),
        context,
        tuple(chain_of(cert, key)),
        () if authority is None else tuple(authorities_in(authority)),
        before,
    )
    if signature_of(options) != before:
        msg = "the files of server.tls_* were changed while they were read; they are read again"
        raise OSError(msg)
    return made


def signature_of(options: ServerOptions) -> Signature:
    """Return the files as they are now; a file that is missing differs from every other."""
    names = (options.tls_cert_file, options.tls_key_file, options.tls_client_ca_file)
    return tuple(_stat(name) for name in names if name)


def _stat(name: str) -> tuple[int, ...]:
    try:
        found = path_of(name).stat()  # of what a link leads to: Kubernetes swaps links
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
