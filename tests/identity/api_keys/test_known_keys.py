"""The keys in memory.

Covers: identity/api_keys/record.py
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from gemini_backend.identity.api_keys.known_keys import KnownKeys
from gemini_backend.identity.api_keys.record import KeyRecord
from gemini_backend.identity.api_keys.secret import Hasher, new_id, new_secret
from gemini_backend.principal import AuthMethod, Limits, Role

if TYPE_CHECKING:
    from collections.abc import Callable

HASHER = Hasher(bytes(range(32)))
NOBODY = bytes(32)


class Table:
    """Known keys, at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.known = KnownKeys(lambda: self.now)
        self.known.hasher = HASHER

    def add(self, **fields: object) -> tuple[KeyRecord, str]:
        """Take over a key that has just been made."""
        key = new_id()
        secret = new_secret(key)
        plain = KeyRecord(
            key,
            "acme",
            "ann",
            "caller",
            "[]",
            *(None, None),
            "",
            1.0,
            *[None] * 4,
            NOBODY,
            *[None] * 2,
        )
        record = plain._replace(**{"digest": HASHER.of(secret), **fields})
        self.known.take([record])
        return record, secret


@pytest.fixture
def table() -> Table:
    """No keys yet."""
    return Table()


def test_a_key_is_its_principal(table: Table) -> None:
    """Everything that the key says of its principal is in it, included roles as well."""
    record, secret = table.add(
        roles="operator",
        models='["models/a*"]',
        requests_per_minute=5,
        tokens_per_minute=0,
        expires=2000.0,
    )
    found = table.known.find(secret)
    assert found is not None
    assert ("acme", "ann", frozenset({Role.OPERATOR, Role.VIEWER}), ("models/a*",)) == (
        found.tenant,
        found.name,
        found.roles,
        found.models,
    )
    assert (Limits(5, 0), AuthMethod.API_KEY, record.key, 2000.0) == (
        found.limits,
        found.method,
        found.api_key,
        found.expires,
    )
    assert ({record.key}, 1) == (table.known.used, len(table.known))


def test_the_principal_is_the_same_while_the_key_is(table: Table) -> None:
    """A rotation, a new name to show, and a second look keep the object; new rights do not."""
    record, secret = table.add()
    found = table.known.find(secret)
    second = new_secret(record.key)
    rotated = record._replace(
        digest=HASHER.of(second),
        previous=record.digest,
        previous_expires=2000.0,
        display_name="other",
        used=7.0,
    )
    table.known.take([rotated])
    assert found is table.known.find(secret)
    assert found is table.known.find(second)
    table.known.take([rotated._replace(roles="viewer")])
    assert found != table.known.find(second)


def _half_of_another(own: str, other: str) -> str:
    return other[:17] + own[17:]


ATTACKS: dict[str, Callable[[str, str, KeyRecord], str]] = {
    "truncated": lambda own, _other, _record: own[:-1],
    "longer": lambda own, _other, _record: own + "A",
    "id alone": lambda own, _other, _record: own[:17],
    "one letter differs": lambda own, _other, _record: own[:-1] + ("b" if own[-1] == "a" else "a"),
    "letters in another case": lambda own, _other, _record: own[:17] + own[17:].swapcase(),
    "own secret, another's id": lambda own, other, _record: _half_of_another(own, other),
    "another's secret, own id": lambda own, other, _record: _half_of_another(other, own),
    "foreign": lambda _own, _other, _record: new_secret(new_id()),
    "own id, invented": lambda _own, _other, record: new_secret(record.key),
    "the hash in hexadecimal": lambda _own, _other, record: record.digest.hex(),
    "the hash as a secret": lambda own, _other, record: own[:17] + record.digest.hex()[:43],
    "with blanks": lambda own, _other, _record: f" {own}"[:60],
    "empty": lambda _own, _other, _record: "",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_only_the_secret_itself_is_accepted(table: Table, attack: str) -> None:
    """Nothing that resembles a secret, or is made of what is stored, is accepted."""
    record, own = table.add()
    _, other = table.add(principal="bob")
    assert None is table.known.find(ATTACKS[attack](own, other, record))
    assert set() == table.known.used


def test_a_key_expires_by_the_wall_clock(table: Table) -> None:
    """It is accepted until its time, and not at it."""
    _, secret = table.add(expires=1010.0)
    assert table.known.find(secret)
    table.now = 1009.9
    assert table.known.find(secret)
    table.now = 1010.0
    assert None is table.known.find(secret)


def test_the_secret_before_is_accepted_for_a_time(table: Table) -> None:
    """Until the end of the overlap, and never longer than the key itself."""
    record, first = table.add()
    second = new_secret(record.key)
    rotated = record._replace(
        digest=HASHER.of(second), previous=record.digest, previous_expires=1010.0
    )
    table.known.take([rotated])
    assert table.known.find(first) is table.known.find(second) is not None
    table.known.take([rotated._replace(expires=1005.0)])
    table.now = 1005.0
    assert None is table.known.find(first)
    table.known.take([rotated])
    table.now = 1010.0
    assert None is table.known.find(first)
    assert table.known.find(second)


def test_a_revoked_key_is_told_once(table: Table) -> None:
    """Who was accepted until now is named; who never was, is not."""
    record, secret = table.add()
    revoked = record._replace(revoked=1000.0)
    assert [record.key] == table.known.take([revoked])
    assert [] == table.known.take([revoked])
    assert (None, 0) == (table.known.find(secret), len(table.known))


def test_a_role_of_a_later_version_grants_nothing(table: Table) -> None:
    """A word that this version does not know is no role."""
    _, secret = table.add(roles="emperor")
    found = table.known.find(secret)
    assert found is not None
    assert frozenset() == found.roles


def test_models_that_cannot_be_read_allow_nothing(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    """A key whose models somebody has damaged is refused; it is not one for all models."""
    with caplog.at_level(logging.ERROR):
        _, secret = table.add(models="gemini")
    assert None is table.known.find(secret)
    assert ["api_key_unusable"] == [line.message for line in caplog.records]


def test_before_the_first_look_nobody_is_known() -> None:
    """Without the key of the hashes there is nothing to compare with."""
    assert None is KnownKeys(lambda: 0.0).find(new_secret(new_id()))
