"""Secrets are masked in whatever form they come; other texts are left as they are.

Covers: masking/search.py
"""

from __future__ import annotations

import json
import tracemalloc
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.masking import Mask
from gemini_backend.masking.forms import forms_of, quote_all
from gemini_backend.masking.search import Search

GOOGLE = "AIzaSyD-9tSrke72PouQMnMX_a7eZSW0jkFMBWY"
PLAIN = "secretkeywithoutshape12345"
KEYS = (GOOGLE, PLAIN, "AQ.Ab8RN6IPWpMUxrYjbaS4kAyjR1zCM4ufz9d1xQqXk", "0" * 30 + "a" * 10)


def mask_of(*secrets: str) -> Mask:
    """Return a mask that knows the secrets."""
    mask = Mask()
    mask.remember(secrets)
    return mask


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_masked_in_every_form(key: str) -> None:
    """Plain, in any case, percent-encoded, hexadecimal; nothing of it is left."""
    mask = mask_of(*KEYS)
    forms = (key, key.lower(), key.upper(), quote(key, safe=""), quote_all(key), key.encode().hex())
    assert ["<[key]>"] * len(forms) == [mask.text(f"<{form}>") for form in forms]


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("after", range(3))
def test_base64_is_masked_whatever_is_around_it(encode: object, before: int, after: int) -> None:
    """In each of the three alignments at most a byte on each side is left of it."""
    assert callable(encode)
    text = encode(b"?" * before + GOOGLE.encode() + b"!" * after).decode()
    masked = mask_of(GOOGLE).text(text)
    assert "[key]" in masked
    kept = masked.replace("[key]", "").rstrip("=")
    assert (before + 2) * 4 / 3 + (after + 2) * 4 / 3 >= len(kept)


@pytest.mark.parametrize("key", [GOOGLE, PLAIN])
def test_a_piece_of_eight_characters_is_masked(key: str) -> None:
    """Beginning, end or middle of a long key, wherever it stands in the text."""
    mask = mask_of(key)
    for at in range(len(key) - 8):
        for lead in range(5):
            assert f"{'.' * lead}[key]|" == mask.text(f"{'.' * lead}{key[at : at + 8]}|")


def test_a_piece_of_seven_characters_is_not() -> None:
    """Seven characters give nothing away, and may be a word."""
    assert f"x {PLAIN[:7]} y" == mask_of(PLAIN).text(f"x {PLAIN[:7]} y")


def test_of_a_short_secret_only_the_whole_is_masked() -> None:
    """Up to 19 characters a secret may have words in it, which stay readable."""
    mask = mask_of("my-test-password")
    assert "a test password, [key]." == mask.text("a test password, my-test-password.")


def test_numbers_are_no_pieces() -> None:
    """A run of digits, or of few characters, is no piece of a key that has such a run."""
    mask = mask_of("AIzaSyA-test-000000000000000000000012345678")
    line = '{"nanos":100000000,"count":12345678,"dashes":"-0-0-0-0"}'
    assert line == mask.text(line)


def test_log_lines_are_left_as_they_are() -> None:
    """Where there is no secret, the very same text comes back."""
    line = json.dumps({"model": "gemini-2.5-flash", "execution": "executions/1a22c11ed4428fd7"})
    assert mask_of(*KEYS).text(line) is line


def test_keys_of_others_are_masked_by_their_looks() -> None:
    """Whatever looks like a key of Google's is masked, known or not."""
    other = "AIza" + "x" * 35
    assert "a [key] b" == Mask().text(f"a {other} b")


@pytest.mark.parametrize("text", ["", "a", "ä" * 9, "\ud800", "\U0001f600" * 3, "abc\x00"])
def test_any_text_is_borne(text: str) -> None:
    """Texts of any length and any characters come back."""
    assert text == mask_of(*KEYS).text(text)


def test_a_secret_beside_other_letters_is_found() -> None:
    """Letters whose lower case is longer do not move what is masked."""
    assert "\u0130\u0130 [key] \u0130" == mask_of(PLAIN).text(f"\u0130\u0130 {PLAIN} \u0130")


def test_secrets_next_to_each_other_are_one() -> None:
    """What overlaps or touches becomes one mark."""
    assert "a[key]b[key]c" == mask_of(GOOGLE, PLAIN).text(f"a{GOOGLE}{PLAIN}b{PLAIN}c")


def test_an_old_key_stays_masked() -> None:
    """What was learnt later does not replace what was known."""
    mask = mask_of(GOOGLE)
    mask.remember([PLAIN])
    mask.remember([PLAIN])
    assert "[key] [key]" == mask.text(f"{GOOGLE} {PLAIN}")


def test_of_an_address_only_the_password_is_secret() -> None:
    """A proxy's host is shown; its password is not, nor the header that carries it."""
    mask = mask_of("http://user:p%40ss-word@proxy.example:3128", "http://open.example:3128")
    header = b64encode(b"user:p@ss-word").decode()
    told = f"proxy.example:3128 open.example:3128 p%40ss-word p@ss-word {header}"
    shown = mask.text(told)
    assert "proxy.example:3128 open.example:3128 [key] [key] [key]" == shown.rstrip("cmQ=")


def test_values_of_json_are_masked_with_their_names() -> None:
    """Lists and objects, to any depth; what is no text stays."""
    value = {"a": [PLAIN, 1, None, {PLAIN: 2.5}]}
    assert {"a": ["[key]", 1, None, {"[key]": 2.5}]} == mask_of(PLAIN).value(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":12345678901234567890123}', '{"a":12345678901234567890123}'),
        (r'{"a":"\u00e4"}', r'{"a":"\u00e4"}'),
        (r'{"a":"\u0073ecretkeywithoutshape12345"}', '{"a":"[key]"}'),
        (f'{{"{PLAIN}":1}}', '{"[key]":1}'),
        (rf'{{"a":"\u00e4" {PLAIN}', r'{"a":"\u00e4" [key]'),
    ],
)
def test_text_of_json_is_masked_behind_its_escapes(text: str, expected: str) -> None:
    """An escape hides nothing; text without secrets is left to the letter."""
    assert expected == mask_of(PLAIN).json_text(text)


def test_bytes_are_masked() -> None:
    """Bytes of any kind, around the secret as well."""
    mask = mask_of(PLAIN)
    assert b"\xff\x00[key]\x80" == mask.data(b"\xff\x00" + PLAIN.encode() + b"\x80")
    assert b"\xff\x00" == mask.data(b"\xff\x00")


def test_a_long_repetition_is_passed_over() -> None:
    """A text of the one character that a key repeats takes no more work than another."""
    search = Search([])
    assert [] == search.spans("0" * 1_000_000)
    mask = mask_of("AIzaSyA-test-0000000000000000000000000000")
    tracemalloc.start()
    assert "0" * 500_000 == mask.text("0" * 500_000)
    assert 4_000_000 > tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_what_comes_often_is_masked_as_anything_else() -> None:
    """Each text is masked by itself; a secret that is learnt later is masked from then on."""
    mask = mask_of(PLAIN)
    texts = ("/a.B/C", "", f"x{PLAIN}", GOOGLE, "another-secret")
    for _ in range(2):
        assert tuple(mask.text(text) for text in texts) == mask.often(texts)
    mask.remember(["another-secret"])
    assert ("/a.B/C", "", "x[key]", "[key]", "[key]") == mask.often(texts)


def test_what_comes_often_takes_little_memory() -> None:
    """Long texts are not kept, and of short ones not more than a number."""
    mask = mask_of(PLAIN)
    tracemalloc.start()
    for number in range(5_000):
        assert ("a" * 2_000 + str(number),) == mask.often(("a" * 2_000 + str(number),))
        assert (str(number),) == mask.often((str(number),))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 1_000_000


@given(st.text("abcdef", min_size=4, max_size=9), st.text("abcdefgh", max_size=160))
def test_it_may_find_whatever_it_finds(secret: str, text: str) -> None:
    """What is looked for first, at the least cost, misses nothing, in short texts and long ones."""
    search = Search(forms_of(secret))
    if search.spans(text):
        assert search.may_find(text.encode())


def test_secrets_that_come_later_are_masked_as_those_before() -> None:
    """Each alone, in any order, with those of other lengths: what is masked is the same."""
    texts = [
        "s3cr",
        "AIzaSyB3-later9Key0x7Of1This4Test2Only6",
        "pass-w0rd",
        "AQ.Ab8RN6-later-token-77",
    ]
    together, one_by_one = Mask(), Mask()
    together.remember(texts)
    for text in reversed(texts):
        one_by_one.remember([text])
    shown = " ".join(
        [*texts, texts[1][5:17], b64encode(texts[1].encode()).decode(), texts[3][3:14]]
    )
    assert together.text(shown) == one_by_one.text(shown)
    assert [] == [text for text in texts if text in one_by_one.text(shown)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bearer gbk_Ab3dEf6hIj9k_" + "x7Q" * 14 + "z", "Bearer [key]"),
        ("cut: gbk_Ab3dEf6hIj9k_x7Qx7Qx7Q…", "cut: [key]…"),
        ("the key gbk_Ab3dEf6hIj9k is public", "the key gbk_Ab3dEf6hIj9k is public"),
        ("keys/Ab3dEf6hIj9k", "keys/Ab3dEf6hIj9k"),
    ],
)
def test_keys_of_this_server_are_masked_by_their_looks(text: str, expected: str) -> None:
    """They are never remembered, since there may be a hundred thousand; the public id is shown."""
    assert expected == Mask().text(text)
