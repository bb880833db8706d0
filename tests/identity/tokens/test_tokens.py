"""Tokens are verified, and known; and what attackers do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gemini_backend.config import ConfigError
from gemini_backend.config.sections.auth import JwtOptions
from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.tokens import Tokens
from gemini_backend.identity.tokens import tokens as module
from gemini_backend.principal import Owner
from tests.support.clock import FakeClock
from tests.support.issuer import ALGORITHMS, Signer, claims, document, signer, text_of
from tests.support.token_parts import NOW, Stage


def token(made: Signer | None = None, header: dict[str, Any] | None = None, **more: Any) -> str:
    """Return a good token, unless `more` makes it another."""
    return (made or signer()).token(claims(NOW, **more), header)


async def refused(stage: Stage, text: str) -> str:
    """Return why a token is refused; it is not known either, before or after."""
    assert stage.tokens.known(text) is None
    with pytest.raises(Unauthenticated) as error:
        await stage.verify(text)
    assert stage.tokens.known(text) is None
    return error.value.message


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
async def test_a_token_is_verified_once(algorithm: str) -> None:
    """The first time its signature is verified; then it is known, as the same principal."""
    made = signer(algorithm, algorithm)
    async with Stage(made) as stage:
        text = token(made)
        assert stage.tokens.known(text) is None
        found = await stage.verify(text)
        assert (Owner("acme", "alice"), NOW + 600) == (found.owner, found.expires)
        assert stage.tokens.known("".join(text)) is found


async def test_a_token_without_kid_has_the_only_key() -> None:
    """Without kid exactly one key must fit the algorithm."""
    nameless = Signer("RS256", None, signer().key)
    async with Stage(signer(), signer("ES256")) as stage:
        assert "alice" == (await stage.verify(token(nameless))).name
        stage.source.publish(signer(), signer("RS256", "two"))
        await stage.clock.advance(301)
        assert "several keys" in await refused(stage, token(nameless, sub="bob"))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "null", "none ", "\x00none"])
async def test_a_token_without_signature_is_refused(alg: str) -> None:
    """`none` is never an algorithm, however it is spelled, with or without a signature."""
    head = text_of(json.dumps({"alg": alg, "kid": "one"}).encode())
    body = text_of(json.dumps(claims(NOW)).encode())
    async with Stage() as stage:
        good = token().rpartition(".")[2]
        for end in ("", "AAAA", good):
            assert "alg" in await refused(stage, f"{head}.{body}.{end}")


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("form", ["PEM", "PEM without line end", "DER", "PKCS1", "JWK", "n"])
async def test_a_public_key_is_no_secret(alg: str, form: str) -> None:
    """An HMAC by the public key, in whatever form, is refused: HMAC is never accepted."""
    public = signer().key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = {
        "PEM": pem,
        "PEM without line end": pem.strip(),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "PKCS1": public.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        "JWK": json.dumps(signer().jwk()).encode(),
        "n": base64.urlsafe_b64decode(signer().jwk()["n"] + "=="),
    }[form]
    head = text_of(json.dumps({"alg": alg, "kid": "one"}).encode())
    signed = f"{head}.{text_of(json.dumps(claims(NOW)).encode())}"
    digest = hmac.digest(secret, signed.encode(), getattr(hashlib, f"sha{alg[2:]}"))
    async with Stage() as stage:
        assert "alg" in await refused(stage, f"{signed}.{text_of(digest)}")


@pytest.mark.parametrize("alg", ["RS384", "PS256", "ES256", "EdDSA", "rs256", "RS256 "])
async def test_another_algorithm_than_the_keys_is_refused(alg: str) -> None:
    """An algorithm that is not accepted, or not the key's, is refused."""
    async with Stage() as stage:
        await refused(stage, token(header={"alg": alg}))


async def test_a_key_of_another_curve_is_refused() -> None:
    """ES256 is verified by keys of P-256 only, whatever the key's id."""
    large = signer("ES384", "one")
    async with Stage(large) as stage:
        signed = token(large, {"alg": "ES256"}).rpartition(".")[0]
        for name in ("ES256", "ES384"):
            signature = text_of(ALGORITHMS[name].sign(signed.encode(), large.key))
            await refused(stage, f"{signed}.{signature}")
        foreign = Signer("ES256", "one", signer("ES256").key)
        await refused(stage, token(foreign))


async def test_a_foreign_key_is_refused() -> None:
    """A token signed with another key under the id of one that is published."""
    evil = Signer("RS256", "one", signer("RS256", "evil").key)
    async with Stage() as stage:
        assert "signature" in await refused(stage, token(evil))
        assert "signature" in await refused(stage, token()[:-4] + "AAAA")


async def test_keys_in_the_header_mean_nothing() -> None:
    """jwk, jku, x5u and x5c are neither used nor asked for, whoever signed the token."""
    evil = Signer("RS256", "one", signer("RS256", "evil").key)
    header = {
        "jwk": evil.jwk(),
        "jku": "https://evil.example.com/keys",
        "x5u": "https://evil.example.com/cert",
        "x5c": ["AAAA"],
    }
    async with Stage() as stage:
        await refused(stage, token(evil, header))
        assert "alice" == (await stage.verify(token(header=header))).name
        assert 1 == stage.source.reads


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "/proc/self/environ",
        "https://evil.example.com/key",
        "one' OR '1'='1",
        "one; DROP TABLE keys",
        "one\0",
        " one",
        "ONE",
        "",
        "$(id)",
        "__class__",
    ],
)
async def test_a_kid_is_only_looked_up(kid: str) -> None:
    """A path, an address, or SQL as kid is just another id that the set does not have."""
    evil = Signer("RS256", kid, signer("RS256", "evil").key)
    async with Stage() as stage:
        assert "does not publish" in await refused(stage, token(evil))
        assert "does not publish" in await refused(stage, token(header={"kid": kid}))


async def test_no_other_text_is_a_known_token() -> None:
    """A text with one character more, less, or other than a known token's is not known."""
    async with Stage() as stage:
        text = token()
        await stage.verify(text)
        others = {
            text[:-1],
            text + "A",
            text + ".",
            text + " ",
            text + "\0",
            text[1:],
            text.swapcase(),
            text.rpartition(".")[0] + ".",
            text.rpartition(".")[0] + "." + token(sub="bob").rpartition(".")[2],
            *(
                text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :]
                for at in range(0, len(text), 7)
            ),
        } - {text}
        for other in others:
            await refused(stage, other)
        assert stage.tokens.known(text) is not None


async def test_claims_of_a_known_token_cannot_be_exchanged() -> None:
    """The signature of one token does not fit the claims of another."""
    async with Stage() as stage:
        text = token()
        await stage.verify(text)
        head, _, end = text.split(".")
        body = text_of(json.dumps(claims(NOW, roles=["admin"])).encode())
        assert "signature" in await refused(stage, f"{head}.{body}.{end}")


@pytest.mark.parametrize(
    "more",
    [
        {"aud": "another"},
        {"iss": "https://evil.example.com"},
        {"exp": NOW - 60},
        {"nbf": NOW + 60},
        {"iat": NOW + 60},
        {"exp": str(NOW + 60)},
        {"exp": -1},
        {"tenant": "аcme"},  # noqa: RUF001 - begins with a Cyrillic letter
        {"tenant": "acme\u200b"},
    ],
)
async def test_a_right_signature_is_not_sufficient(more: dict[str, Any]) -> None:
    """Claims that are wrong are refused, and the token is not known afterwards."""
    async with Stage() as stage:
        await refused(stage, token(**more))


@pytest.mark.parametrize(
    "body",
    [
        '{"iss": "x", "exp": NaN}',
        '{"sub": "alice", "sub": "bob"}',
        '{"a": ' + "[" * 5000 + "]" * 5000 + "}",
        "[]",
    ],
)
async def test_a_signed_payload_may_still_be_none(body: str) -> None:
    """What is signed is read as strictly as anything else."""
    async with Stage() as stage:
        await refused(stage, signer().token(body))


async def test_a_large_token_is_refused_unread() -> None:
    """A token over the limit is refused before anything is decoded, and is never known."""
    async with Stage() as stage:
        assert "longer than" in await refused(stage, token(more="x" * 16_384))


async def test_a_known_token_ends_with_its_time() -> None:
    """Up to `exp` and the leeway it is accepted; then it is neither known nor verified."""
    async with Stage(leeway_seconds=10) as stage:
        text = token(exp=NOW + 100)
        await stage.verify(text)
        await stage.clock.advance(109)
        assert stage.tokens.known(text) is not None
        await stage.clock.advance(1)
        assert "expired" in await refused(stage, text)
        assert 0 == len(stage.tokens._known)


async def test_a_token_whose_key_is_gone_is_not_known() -> None:
    """Once the issuer does not publish a key, its tokens end; those of others stay known."""
    old, new = signer(), signer("RS256", "two")
    async with Stage(old, new) as stage:
        texts = token(old, exp=NOW + 9999), token(new, exp=NOW + 9999)
        for text in texts:
            await stage.verify(text)
        stage.source.publish(new)
        await stage.clock.advance(299)
        assert stage.tokens.known(texts[0]) is not None
        await stage.clock.advance(2)
        assert "does not publish" in await refused(stage, texts[0])
        assert stage.tokens.known(texts[1]) is not None


async def test_another_key_under_the_same_id_ends_the_tokens_of_the_first() -> None:
    """What counts is the key itself, not its id."""
    async with Stage() as stage:
        text = token(exp=NOW + 9999)
        await stage.verify(text)
        stage.source.publish(Signer("RS256", "one", signer("RS256", "two").key))
        await stage.clock.advance(301)
        assert "signature" in await refused(stage, text)


async def test_keys_rotate_with_overlap() -> None:
    """Old and new tokens are accepted while both keys are published; no restart is needed."""
    old, new = signer(), signer("ES256", "two")
    async with Stage(old) as stage:
        before = token(old, exp=NOW + 9999)
        await stage.verify(before)
        stage.source.publish(old, new)
        assert "alice" == (await stage.verify(token(new, exp=NOW + 9999))).name
        assert stage.tokens.known(before) is not None


async def test_known_tokens_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the token that was not used for longest is verified again."""
    monkeypatch.setattr(module, "MAX_KNOWN", 2)
    async with Stage() as stage:
        one, two, three = (token(sub=name) for name in ("a", "b", "c"))
        await stage.verify(one)
        await stage.verify(two)
        stage.tokens.known(one)
        await stage.verify(three)
        known = [stage.tokens.known(text) is not None for text in (one, two, three)]
        assert [True, False, True] == known


@pytest.mark.parametrize("text", ["", "\udcff", "é" * 10, "gbk_a_b", "x" * 100_000])
async def test_any_text_is_not_known(text: str) -> None:
    """A text that no token can be is not known, and costs nothing."""
    async with Stage() as stage:
        assert stage.tokens.known(text) is None


async def test_tokens_of_a_file(tmp_path: Any) -> None:
    """The whole thing as the options name it, with keys out of a file; without it no start."""
    file = tmp_path / "keys.json"
    options = JwtOptions(issuer="x", audiences=("y",), jwks_file=str(file))
    clock = FakeClock()
    with pytest.raises(ConfigError, match=r"auth\.jwt\.jwks_file"):
        await Tokens.of(options, clock, lambda: NOW, {}).start()
    file.write_bytes(document(signer()))
    tokens = Tokens.of(options, clock, lambda: NOW, {})
    await tokens.start()
    assert "" == tokens.component().message
    assert "alice" == (await tokens.verify(token(iss="x", aud="y"))).name
    await tokens.aclose()
