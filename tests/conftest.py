"""Fixtures for all tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings

from gemini_backend import masking
from tests.support.clock import FakeClock
from tests.support.suites import pytest_sessionfinish, pytest_terminal_summary

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary"]

# How long an example takes to be made says more of the machine than of the test.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# For tools/mutants, which asks whether an example fails and not for the smallest one.
settings.register_profile(
    "first failure",
    settings.get_profile("any machine"),
    phases=[Phase.explicit, Phase.generate],
    database=None,
)
# For `make long`.
settings.register_profile("long", settings.get_profile("any machine"), max_examples=5000)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings, keys and proxies out of every test."""
    for name in list(os.environ):
        ours = name.startswith(("GEMINI_BACKEND_", "OTEL_")) or name.lower().endswith("_proxy")
        if ours and name != "GEMINI_BACKEND_TEST_DATA":
            monkeypatch.delenv(name)
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def secrets_of_this_test() -> Iterator[None]:
    """Let no test mask what another one took for a secret."""
    mask = masking.remember.__self__  # type: ignore[attr-defined] # a bound method
    before = mask._known, mask._search
    yield
    mask._known, mask._search = before
    mask._often = {}


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that only the test moves."""
    return FakeClock()
