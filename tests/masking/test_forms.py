"""In which forms a secret is looked for."""

from __future__ import annotations

import pytest

from gemini_backend.masking import Mask
from gemini_backend.masking.forms import Form, forms_of, secrets_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AIza-key", ["AIza-key"]),
        ("http://proxy:3128", []),
        ("none", []),
        ("http://user@proxy:3128", []),
        ("http://user:pass@proxy:3128", ["pass", "pass", "user:pass"]),
        ("user:p%40ss@proxy:3128", ["p%40ss", "p@ss", "user:p@ss"]),
        ("http://[broken@", ["http://[broken@"]),
    ],
)
def test_what_is_secret_in_a_setting(text: str, expected: list[str]) -> None:
    """A key is secret as a whole, an address only where it has a password."""
    assert expected == list(secrets_in(text))


def test_what_is_too_short_has_no_form() -> None:
    """Less than four characters would blot out words."""
    assert frozenset() == forms_of("abc")


def test_a_short_secret_has_no_short_encoding() -> None:
    """Eight characters of an encoding are the least that are looked for."""
    assert {Form("abcd", 4), Form("%61%62%63%64", 12), Form("61626364", 8)} == forms_of("abcd")


def test_a_secret_is_looked_for_as_json_and_html_write_it() -> None:
    """Quotation marks and ampersands are written in other ways there."""
    texts = {form.text for form in forms_of('pass"word&more')}
    assert {'pass"word&more', 'pass\\"word&more', "pass&quot;word&amp;more"} <= texts


@pytest.mark.parametrize("secret", ["not-utf-8-\udcff\udcfe", "half-of-a-pair-\ud800"])
def test_a_secret_that_is_not_unicode_is_masked(secret: str) -> None:
    """Bytes of an environment or a header need not be UTF-8."""
    mask = Mask()
    mask.remember([secret])
    assert secret not in mask.text(f"it is {secret}, or so")
