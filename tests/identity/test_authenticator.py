"""Which method a credential belongs to."""

from __future__ import annotations

import pytest

from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.authenticator import Authenticator
from gemini_backend.identity.credentials import Certificate, Credentials
from gemini_backend.principal import AuthMethod, Principal

KEY, TOKEN = "gbk_1_secret", "head.body.signature"
ALICE = Certificate("CN=alice", (("CN", "alice"),))


class Recognizes:
    """Knows one text, at once or when it is asked to verify it."""

    def __init__(self, text: str, method: AuthMethod, *, at_once: bool = True) -> None:
        """Know `text`."""
        self.principal = Principal("acme", "ann", method=method)
        self._text, self._at_once = text, at_once

    def known(self, secret: str) -> Principal | None:
        return self.principal if self._at_once and secret == self._text else None

    async def verify(self, secret: str) -> Principal:
        if secret != self._text:
            raise Unauthenticated("nobody's")
        return self.principal


class Certifies:
    """Knows every certificate, from the first time on."""

    def __init__(self) -> None:
        self._known: dict[Certificate, Principal] = {}

    def known(self, certificate: Certificate) -> Principal | None:
        return self._known.get(certificate)

    def principal_of(self, certificate: Certificate) -> Principal:
        made = Principal("acme", certificate.values("CN")[0], method=AuthMethod.MTLS)
        return self._known.setdefault(certificate, made)


def every_method() -> Authenticator:
    """Return an authenticator with all methods."""
    return Authenticator(
        api_keys=Recognizes(KEY, AuthMethod.API_KEY),
        tokens=Recognizes(TOKEN, AuthMethod.JWT),
        certificates=Certifies(),
    )


@pytest.mark.parametrize(
    ("credentials", "method"),
    [
        (Credentials(bearer=KEY), AuthMethod.API_KEY),
        (Credentials(api_key=KEY), AuthMethod.API_KEY),
        (Credentials(bearer=TOKEN), AuthMethod.JWT),
        (Credentials(certificate=ALICE), AuthMethod.MTLS),
        (Credentials(bearer=KEY, certificate=ALICE), AuthMethod.API_KEY),
    ],
)
async def test_a_credential_is_verified_by_its_own_method(
    credentials: Credentials, method: AuthMethod
) -> None:
    """A text before a certificate, which the connection may have for others."""
    assert method == (await every_method().verify(credentials)).method


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(),
        Credentials(bearer="gbk_1_other"),
        Credentials(bearer="a.b.c"),
        Credentials(bearer="a.b.c", certificate=ALICE),
        Credentials(bearer="gbk_1_other", certificate=ALICE),
        Credentials(bearer=KEY, api_key=KEY),
        Credentials(bearer=KEY, api_key="gbk_2_other"),
        Credentials(bearer="Basic YTpi"),
    ],
)
async def test_a_wrong_credential_is_refused_whatever_else_is_there(
    credentials: Credentials,
) -> None:
    """No other method stands in for the one that refuses."""
    authenticator = every_method()
    assert authenticator.known(credentials) is None
    with pytest.raises(Unauthenticated):
        await authenticator.verify(credentials)


@pytest.mark.parametrize(
    "credentials",
    [Credentials(bearer=KEY), Credentials(bearer=TOKEN), Credentials(certificate=ALICE)],
)
async def test_a_method_that_is_not_configured_knows_nobody(credentials: Credentials) -> None:
    """However good the credential."""
    authenticator = Authenticator()
    assert authenticator.known(credentials) is None
    with pytest.raises(Unauthenticated):
        await authenticator.verify(credentials)


async def test_the_refusal_says_how_to_authenticate() -> None:
    """By the methods that there are."""
    with pytest.raises(Unauthenticated, match="Bearer KEY") as refused:
        await Authenticator(api_keys=Recognizes(KEY, AuthMethod.API_KEY)).verify(Credentials())
    assert "Token" not in str(refused.value)


async def test_what_is_known_takes_no_waiting() -> None:
    """The same principal; a certificate is known once it was asked for."""
    authenticator = every_method()
    assert authenticator.known(Credentials(bearer=KEY)) is authenticator.known(
        Credentials(api_key=KEY)
    )
    certified = Credentials(certificate=ALICE)
    assert authenticator.known(certified) is None
    assert await authenticator.verify(certified) is authenticator.known(certified)
