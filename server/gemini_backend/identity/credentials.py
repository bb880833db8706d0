"""What a caller presents to say who it is, whichever door it came by."""

from __future__ import annotations

from typing import NamedTuple


class Certificate(NamedTuple):
    """A client certificate that the transport has verified.

    Attributes:
        subject: Distinguished name, as `CN=alice,O=Acme`; empty where unknown.
        common_name: `CN` of it; empty for none.
        organization: `O` of it; empty for none.
        sans: Its subject alternative names.
    """

    subject: str
    common_name: str
    organization: str
    sans: tuple[str, ...]


class Credentials(NamedTuple):
    """All that one call presents.

    Attributes:
        bearer: What `authorization` has after `Bearer`; empty for none.
        api_key: What `x-api-key` has; empty for none.
        certificate: The peer's certificate; None for none.
        peer: The peer's host, to slow down those who fail; empty where unknown.
    """

    bearer: str = ""
    api_key: str = ""
    certificate: Certificate | None = None
    peer: str = ""


KEY_PREFIX = "gbk_"
"""How every secret of an API key of this server begins; a bearer that does is no JWT."""
