"""The encrypted store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend import masking
from gemini_backend.config import Secret
from gemini_backend.config.sections.auth import SecretsOptions
from gemini_backend.errors import AlreadyExists, InvalidRequest, StoreUnavailable, UnknownResource
from gemini_backend.keyring import LazyKeyring
from gemini_backend.upstream.keys import KeyStore, has_stored_keys, key_store
from tests.keyring.test_lazy import NEW, OLD, lazy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS = ("AIzaSyB3-store1Key0x7Of1This4Test2Only6", "AIzaSyB3-store2Key0x7Of1This4Test2Only6")


def store_in(folder: Path) -> KeyStore:
    """Return the store of a folder, as another process has it."""
    return KeyStore(LazyKeyring(str(folder), SecretsOptions()))


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    """Return a store with two keys."""
    made = store_in(tmp_path)
    for number, text in enumerate(TEXTS):
        made.add(Secret(text), f"p{number}", f"key {number}", 1000.0 + number)
    return made


def rows(folder: Path) -> dict[str, Any]:
    """Return what the file has."""
    found: dict[str, Any] = json.loads((folder / "upstream_keys.json").read_text())
    return found


def write(folder: Path, content: object) -> None:
    """Write another file."""
    (folder / "upstream_keys.json").write_text(json.dumps(content))


def texts(store: KeyStore) -> list[str]:
    """Return the keys' texts."""
    return [one.text.reveal() for one in store.read()]


def test_nothing_is_written_before_a_key_is_stored(tmp_path: Path) -> None:
    """Looking into the store makes no keyring."""
    store = store_in(tmp_path)
    assert ([], b"", 0) == (store.read(), store.data(), store.rotate())
    assert not has_stored_keys(str(tmp_path))
    assert [] == list(tmp_path.iterdir())


def test_where_no_store_can_be_there_is_none(tmp_path: Path) -> None:
    """A file in place of the folder does not keep a server without stored keys from its start."""
    (tmp_path / "state").write_text("a file")
    assert [] == texts(store_in(tmp_path / "state"))


def test_keys_are_kept_with_what_is_known_of_them(store: KeyStore, tmp_path: Path) -> None:
    """In the order in which they were added; another process finds them."""
    assert list(TEXTS) == texts(store)
    found = store_in(tmp_path).read()
    assert [("p0", "key 0", 1000.0), ("p1", "key 1", 1001.0)] == [
        (one.project, one.display_name, one.created) for one in found
    ]
    assert has_stored_keys(str(tmp_path))


def test_no_file_has_a_key_in_the_clear(store: KeyStore, tmp_path: Path) -> None:
    """None of the folder; and only this user may read them."""
    assert store.data()
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        assert [] == [text for text in TEXTS if text[8:20].encode() in data]
        assert file.stat().st_mode & 0o777 == 0o600
    assert ["[key]"] * 2 == [masking.text(text) for text in TEXTS]


def test_a_key_is_stored_once(store: KeyStore) -> None:
    """The second time fails, and changes nothing."""
    before = store.data()
    with pytest.raises(AlreadyExists, match="remove it first"):
        store.add(Secret(TEXTS[0]), "other", "", 5.0)
    assert before == store.data()


def test_a_removed_key_is_gone(store: KeyStore, tmp_path: Path) -> None:
    """Removing what is not there fails; with the last key the server has none."""
    ids = [one.key.key_id for one in store.read()]
    store.remove(ids[0])
    assert [TEXTS[1]] == texts(store)
    with pytest.raises(UnknownResource):
        store.remove(ids[0])
    store.remove(ids[1])
    assert not has_stored_keys(str(tmp_path))
    store.add(Secret(TEXTS[0]), "", "", 1.0)
    assert [TEXTS[0]] == texts(store_in(tmp_path))


def test_there_may_be_so_many(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused."""
    monkeypatch.setattr(key_store, "MAX_KEYS", 2)
    with pytest.raises(InvalidRequest, match="remove some"):
        store.add(Secret("one-more"), "", "", 1.0)


def _swapped(keys: list[dict[str, Any]]) -> None:
    keys[0]["sealed"], keys[1]["sealed"] = keys[1]["sealed"], keys[0]["sealed"]


def _renamed(keys: list[dict[str, Any]]) -> None:
    keys[0]["id"], keys[1]["id"] = keys[1]["id"], keys[0]["id"]


def _moved(keys: list[dict[str, Any]]) -> None:
    keys[0]["project"] = "p1"


def _relabelled(keys: list[dict[str, Any]]) -> None:
    keys[0]["display_name"] = "another"


def _older(keys: list[dict[str, Any]]) -> None:
    keys[0]["created"] -= 1


def _under_another(keys: list[dict[str, Any]]) -> None:
    keys[0]["data_key"] = "upstream-keys.7"


def _cut(keys: list[dict[str, Any]]) -> None:
    keys[0]["sealed"] = ""


@pytest.mark.parametrize(
    "change", [_swapped, _renamed, _moved, _relabelled, _older, _under_another, _cut]
)
def test_whatever_was_changed_is_found(
    store: KeyStore, tmp_path: Path, change: Callable[[list[dict[str, Any]]], None]
) -> None:
    """Each ciphertext is bound to its id and to all that stands beside it; nothing is written."""
    content = rows(tmp_path)
    change(content["keys"])
    write(tmp_path, content)
    before = store.data()
    for work in (store.read, store.rotate, store_in(tmp_path).read):
        with pytest.raises(StoreUnavailable, match="restore"):
            work()
    assert before == store.data()
    assert has_stored_keys(str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b'{"version":1}', b'{"version":2,"keys":[]}', b"[" * 99_999, b"\xff"],
)
def test_a_damaged_file_is_refused_and_stays(
    store: KeyStore, tmp_path: Path, content: bytes
) -> None:
    """Adding a key does not write over it either."""
    (tmp_path / "upstream_keys.json").write_bytes(content)
    for work in (store.read, store.rotate, lambda: store.add(Secret("another"), "", "", 1.0)):
        with pytest.raises(StoreUnavailable, match=r"upstream_keys\.json in state\.dir"):
            work()
    assert content == (tmp_path / "upstream_keys.json").read_bytes()
    assert has_stored_keys(str(tmp_path))


def test_a_rotation_encrypts_everything_anew(store: KeyStore, tmp_path: Path) -> None:
    """The keys are the same, and what was encrypted before cannot be read any more."""
    before = rows(tmp_path)
    assert 2 == store.rotate()
    assert list(TEXTS) == texts(store_in(tmp_path)) == texts(store)
    assert {"upstream-keys.2"} == {row["data_key"] for row in rows(tmp_path)["keys"]}
    write(tmp_path, before)
    with pytest.raises(StoreUnavailable):
        store_in(tmp_path).read()


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("at", ["data key stored", "file written", "while writing"])
def test_a_crash_within_a_rotation_loses_nothing(
    store: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The next one ends it, and leaves no data key behind."""

    def crash(*_: object) -> None:
        raise Crash

    place = {
        "data key stored": (key_store, "replace_private"),
        "while writing": (key_store.Sealer, "seal"),
        "file written": (type(store._keyring.opened()), "forget"),
    }[at]
    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr(*place, crash)
        store.rotate()
    again = store_in(tmp_path)
    assert list(TEXTS) == texts(again)
    assert 2 == again.rotate()
    assert list(TEXTS) == texts(store_in(tmp_path)) == texts(store)
    assert 1 == len(again._keyring.opened().stored())


def test_a_full_disk_changes_nothing(
    store: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither adding, removing nor rotating."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    key_id = store.read()[0].key.key_id
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        for work in (
            lambda: store.add(Secret("another"), "", "", 1.0),
            lambda: store.remove(key_id),
            store.rotate,
        ):
            with pytest.raises(StoreUnavailable, match="No space left on device"):
                work()
    assert list(TEXTS) == texts(store_in(tmp_path))


def test_what_another_process_does_is_seen(store: KeyStore, tmp_path: Path) -> None:
    """Also a rotation, and keys that are stored after all were removed."""
    other = store_in(tmp_path)
    other.rotate()
    assert list(TEXTS) == texts(store)
    for one in other.read():
        other.remove(one.key.key_id)
    other.rotate()
    store.add(Secret(TEXTS[0]), "", "", 1.0)
    assert [TEXTS[0]] == texts(store_in(tmp_path)) == texts(other)


def test_another_master_key_changes_nothing_of_the_store(tmp_path: Path) -> None:
    """New and old together, then the new one alone."""
    KeyStore(lazy(tmp_path, OLD)).add(Secret(TEXTS[0]), "", "", 1.0)
    before = (tmp_path / "state" / "upstream_keys.json").read_bytes()
    for masters in ((NEW, OLD), (NEW,)):
        assert [TEXTS[0]] == texts(KeyStore(lazy(tmp_path, *masters)))
    assert before == (tmp_path / "state" / "upstream_keys.json").read_bytes()
    with pytest.raises(StoreUnavailable, match=r"secrets\.master_key"):
        KeyStore(lazy(tmp_path, OLD)).read()
