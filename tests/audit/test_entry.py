"""What an entry has of what is reported."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend import masking
from gemini_backend.audit.entry import Act, entry_of, fit
from gemini_backend.audit.files.sealing import MAX_LINE_BYTES, Seal, entry_in, taken_apart
from tests.support.audit_logs import KEY, NOON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ü text", "plain ü text"),
        ('a\n{"sequence":2}', 'a\\n{"sequence":2}'),
        ("a\r\x1b[31m", "a\\r\\x1b[31m"),
        ("line\u2028separator", "line\\u2028separator"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("half \ud800", "half \\ud800"),
        ("x" * 11, "x" * 9 + "…"),
    ],
)
def test_a_text_stays_on_its_line(text: str, expected: str) -> None:
    """What could be taken for another line, or for other text, is escaped; long texts are cut."""
    assert expected == fit(text, 10 if text == "x" * 11 else 100)


def test_a_known_secret_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the process knows is in no entry."""
    mask = masking.Mask()
    mask.remember(["sk-audit-entry-secret-0123456789"])
    monkeypatch.setattr(masking, "text", mask.text)
    assert "[key]" == fit("sk-audit-entry-secret-0123456789", 100)


_TEXTS = st.text(max_size=2000)


@given(_TEXTS, _TEXTS, st.dictionaries(_TEXTS, _TEXTS, max_size=30))
def test_any_act_is_one_line_that_reads_back(
    action: str, target: str, details: dict[str, str]
) -> None:
    """Whatever is reported: one line of bounded length, which has the same entry."""
    entry = entry_of(Act(action, target, principal=action, details=details), 7, 7, NOON)
    line, mac = Seal(KEY).line(bytes(32), entry)
    assert 1 == line.count(b"\n")
    assert len(line) < MAX_LINE_BYTES
    sealed = taken_apart(line)
    assert sealed is not None
    assert (entry, mac) == (entry_in(sealed.body), sealed.mac)
    assert 7 == json.loads(line)["sequence"]


def test_the_longest_entry_fits() -> None:
    """Every field as long as it may be, in the characters that take most bytes."""
    wide = "\U0001f600" * 3000
    details = {f"{i}{wide}": wide for i in range(30)}
    entry = entry_of(Act(wide, wide, wide, wide, wide, wide, wide, details), 1, 1, NOON)
    assert len(Seal(KEY).line(bytes(32), entry)[0]) < MAX_LINE_BYTES
    assert 16 == len(entry.details)
