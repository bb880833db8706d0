"""An error leaves without secrets, wherever they stand in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend import errors, masking

if TYPE_CHECKING:
    import pytest

KEY = "one-secret-key-of-this-test"


def test_every_text_of_an_error_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Message, arguments, fields, quotas, links, metadata, and all that the upstream replied."""
    mask = masking.Mask()
    mask.remember([KEY])
    monkeypatch.setattr(masking, "text", mask.text)
    monkeypatch.setattr(masking, "value", mask.value)
    error = errors.masked(
        errors.RefusedByModelApi(
            f"m {KEY}",
            violations=[errors.Violation(KEY, KEY, "rule")],
            quota=[errors.QuotaViolation(KEY, KEY)],
            links=[(KEY, f"https://x.test/?key={KEY}")],
            upstream=errors.UpstreamReply(400, 400, KEY, KEY, ({KEY: [KEY]},), {KEY: {"a": KEY}}),
            metadata={KEY: KEY},
        )
    )
    assert "m [key]" == str(error) == error.message
    told = (error.violations, error.quota, error.links, error.upstream, error.metadata)
    assert KEY not in repr(told)
    assert 14 == repr(told).count("[key]")
