"""JSON Web Tokens: only a token that the issuer has signed is accepted, exactly as it was sent."""

from __future__ import annotations

import asyncio
import json
from functools import cache

from gemini_backend.errors import Unauthenticated
from tests.fuzz.draws import Draws
from tests.support.issuer import claims, signer, text_of
from tests.support.token_parts import NOW, Stage

_HEADERS = ("alg", "kid", "typ", "crit", "jwk", "jku", "x5c", "b64")
_CLAIMS = ("iss", "aud", "exp", "nbf", "iat", "sub", "tenant", "roles", "jti")


class _Issued:
    """A verifier with three keys, and one good token of each."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.signers = [signer(name, name) for name in ("RS256", "ES256", "EdDSA")]
        self.good = {one.token(claims(NOW)) for one in self.signers}
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.stage = Stage(*self.signers)
        await self.stage.__aenter__()


@cache
def _issued() -> _Issued:
    return _Issued()


def check(data: bytes) -> None:
    """Present a token with parts of others, edited, made up, or anything else."""
    issued, draws = _issued(), Draws(data)
    text = draws.one_of((_mixed, _edited, _made_up, _anything))(issued, draws)
    known = issued.stage.tokens.known(text)
    assert known is None or text in issued.good, repr(text)
    said = ""
    try:
        issued.runner.run(issued.stage.verify(text))
    except Unauthenticated as error:
        said = error.message
    assert (said == "") == (text in issued.good), repr(text)
    assert len(said) < 1000


def _mixed(issued: _Issued, draws: Draws) -> str:
    tokens = sorted(issued.good)
    return ".".join(draws.one_of(tokens).split(".")[part] for part in range(3))


def _edited(issued: _Issued, draws: Draws) -> str:
    return draws.edited(draws.one_of(sorted(issued.good)))


def _made_up(issued: _Issued, draws: Draws) -> str:
    head: dict[str, object] = {"alg": "RS256", "kid": "RS256"}
    body = claims(NOW)
    for found, names in ((head, _HEADERS), (body, _CLAIMS)):
        for _ in range(draws.below(3)):
            found[draws.one_of(names)] = _value(draws)
    signed = f"{text_of(json.dumps(head).encode())}.{text_of(json.dumps(body).encode())}"
    return f"{signed}.{draws.one_of(sorted(issued.good)).rpartition('.')[2]}"


def _value(draws: Draws) -> object:
    return draws.one_of(
        (None, True, 0, -1, 1e308, "none", "HS256", "../../etc/passwd", "", [], {}, [["a"]], "é")
    )


def _anything(_issued: _Issued, draws: Draws) -> str:
    return draws.text(300)
