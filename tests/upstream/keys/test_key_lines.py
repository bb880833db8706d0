"""Keys as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend import masking
from gemini_backend.upstream.keys import KeySource
from gemini_backend.upstream.keys.key_lines import MAX_KEYS, keys_in
from gemini_backend.upstream.keys.known_key import KeyProblem


def read(text: str) -> list[tuple[str, str]]:
    """Return project and text of each key."""
    found = keys_in(text.encode(), KeySource.FILE, "the file")
    return [(one.project, one.text.reveal()) for one in found]


def test_a_key_per_line_with_or_without_a_project() -> None:
    """Comments, blank lines, a byte order mark, line ends of any kind and quotes are no part."""
    text = (
        "\ufeff# keys of May\r\n\r\nkey-1111\r\n  team-a   key-2222  \n"
        "team-b\tkey-3333\r'key-4444'\nteam-c \"key=5555==\"\n#key-6666\n"
    )
    expected = [
        ("", "key-1111"),
        ("team-a", "key-2222"),
        ("team-b", "key-3333"),
        ("", "key-4444"),
        ("team-c", "key=5555=="),
    ]
    assert expected == read(text)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("GEMINI_API_KEY=key-9876", "line 2: this is an assignment"),
        ("export KEY=key-9876", "line 2: this is an assignment"),
        ("key-9876,key-9877", "line 2: this is no key"),
        ("a b key-9876", "line 2: what stands before the key"),
        ("-x key-9876", "line 2: what stands before the key"),
        ("kéy-9876", "line 2: this is no key"),
        ("key\x00-9876", "line 2: this is no key"),
        ("k" * 4097, "line 2: this is no key"),
    ],
)
def test_a_line_that_is_no_key_is_refused(line: str, says: str) -> None:
    """The error has the number of the line and the fix, and nothing of the line."""
    with pytest.raises(KeyProblem, match=says) as refused:
        read(f"# first\n{line}\n")
    assert "9876" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "\n", " \r\n\t\n", "\ufeff"])
def test_an_empty_text_is_refused(text: str) -> None:
    """It may be a file that is just being written."""
    with pytest.raises(KeyProblem, match="the file is empty"):
        read(text)


def test_comments_alone_are_no_keys() -> None:
    """So somebody who wants none can say so."""
    assert [] == read("# none for now\n")


def test_there_may_be_so_many() -> None:
    """One more is refused, as a whole."""
    lines = [f"key-{number:08}" for number in range(MAX_KEYS)]
    assert MAX_KEYS == len(read("\n".join(lines)))
    with pytest.raises(KeyProblem, match="1001 keys"):
        read("\n".join([*lines, "key-once-more"]))


def test_keys_are_masked_from_then_on() -> None:
    """Whoever shows one shows nothing."""
    read("AIzaSyB3-lines4Key0x7Of1This4Test2Only6\n")
    assert "[key]" == masking.text("AIzaSyB3-lines4Key0x7Of1This4Test2Only6")


@given(st.binary(max_size=200))
def test_any_bytes_are_keys_or_a_problem(data: bytes) -> None:
    """Nothing else is raised; every key can be sent in a header."""
    try:
        found = keys_in(data, KeySource.FILE, "the file")
    except KeyProblem:
        return
    assert all(one.text.reveal().isascii() for one in found)
    assert not [one for one in found if set(" \r\n\t\0") & set(one.text.reveal())]
