"""What PEM files of certificates contain: whether key and certificate fit, and for how long."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY_SECONDS = 86_400
_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for
_END = "-----END CERTIFICATE-----"


class Certificate(NamedTuple):
    """A certificate's subject, and between which times it is valid, in seconds since 1970."""

    subject: str
    not_before: float
    not_after: float

    def problem(self, now: float) -> str:
        """Return why it is not valid now; empty while it is."""
        if now < self.not_before:
            days = (self.not_before - now) / DAY_SECONDS
            return f"{self.subject} is not valid for another {days:.1f} days; check the clock"
        if now > self.not_after:
            days = (now - self.not_after) / DAY_SECONDS
            return f"{self.subject} expired {days:.1f} days ago; renew it"
        return ""

    def notice(self, now: float, within_days: float) -> str:
        """Return that it expires within so many days; empty if it does not."""
        days = (self.not_after - now) / DAY_SECONDS
        return f"{self.subject} expires in {days:.1f} days; renew it" if days < within_days else ""


class UnusableCertificateError(OSError):
    """Certificates cannot be used; says which file is wrong in which way."""


def load_pair(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    """Load a certificate, the rest of its chain, and its key.

    Raises:
        UnusableCertificateError: a file cannot be read or has no certificate or key, the key is
            encrypted or belongs to another certificate.
    """
    for file in (cert_file, key_file):
        _check_readable(file)
    try:
        context.load_cert_chain(cert_file, key_file, password=_refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            what = f"the key in {key_file} belongs to another certificate than {cert_file}"
        else:
            what = f"{cert_file} or {key_file} is not as OpenSSL needs it ({error.reason or error})"
        raise UnusableCertificateError(f"{what}; check the files") from error


def chain_of(cert_file: Path, key_file: Path) -> list[Certificate]:
    """Return the certificates that a server with these files presents, its own one first.

    Its own is read by a client to which it is presented, within this process: Python has no other
    public way to read one that is no authority's.

    Raises:
        UnusableCertificateError: a server could not use them, or no client would accept them.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(server, cert_file, key_file)
    own = cert_file.read_text(encoding="utf-8", errors="replace").partition(_END)[0] + _END
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(cadata=own)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    try:
        found = _presented(server, client)
    except ssl.SSLError as error:
        what = getattr(error, "verify_message", "") or error.reason
        raise UnusableCertificateError(f"no client accepts {cert_file}: {what}") from error
    first = _certificate(found)
    return [first, *(one for one in authorities_in(cert_file, whole=False) if one != first)]


def authorities_in(file: Path, *, whole: bool = True) -> list[Certificate]:
    """Return the certificates of authorities in a file.

    Raises:
        UnusableCertificateError: it cannot be read; or `whole` and it has no certificate.
    """
    _check_readable(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        msg = f"{file} contains no certificates that OpenSSL can read ({error.reason or error})"
        raise UnusableCertificateError(msg) from error
    found = [_certificate(one) for one in context.get_ca_certs()]
    if whole and not found:
        msg = f"{file} contains no certificate of an authority; name the file with the issuer's"
        raise UnusableCertificateError(msg)
    return found


def _presented(server: ssl.SSLContext, client: ssl.SSLContext) -> Any:
    """Return a server's certificate, as a client that connects to it reads it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = server.wrap_bio(to_server, to_client, server_side=True)
    other = client.wrap_bio(to_client, to_server)
    waiting = [other, one]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return other.getpeercert()


def _certificate(found: Any) -> Certificate:
    return Certificate(
        ", ".join(_names(found)) or "a certificate without a name",
        ssl.cert_time_to_seconds(found["notBefore"]),
        ssl.cert_time_to_seconds(found["notAfter"]),
    )


def _names(found: Any) -> Iterator[str]:
    for group in found.get("subject", ()):
        for name, value in group:
            if name in {"commonName", "organizationName", "organizationalUnitName"}:
                yield value


def _check_readable(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror}); check the path and its permissions"
        raise UnusableCertificateError(msg) from error


def _refuse_password() -> NoReturn:
    msg = "the key is encrypted; store it without a password, readable only by the service"
    raise UnusableCertificateError(msg)
