"""What can be set of resilience and flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.config import ConfigError, read

if TYPE_CHECKING:
    from pathlib import Path

ORIGINAL = """
[admission]
max_concurrent_requests = 10
[upstream.gemini]
max_connections = 20
[cache]
max_entries = 1000
max_size_mb = 100
[retry]
max_attempts = 3
initial_delay_ms = 1000
exponential_base = 2.0
"""


def test_the_original_configuration_is_accepted(tmp_path: Path) -> None:
    """What the first design configured has a name here, and means the same."""
    file = tmp_path / "original.toml"
    file.write_text(ORIGINAL)
    config = read(file, {}).config
    assert 10 == config.admission.max_concurrent_requests
    assert 20 == config.upstream.gemini.max_connections
    assert (1000, 100) == (config.cache.max_entries, config.cache.max_size_mb)
    retry = config.retry
    assert (3, 1000.0, 2.0) == (retry.max_attempts, retry.initial_delay_ms, retry.exponential_base)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[retry]\nmax_attempts = 0", "retry.max_attempts"),
        ("[retry]\nmax_atempts = 3", "did you mean retry.max_attempts"),
        ("[breaker]\nfailure_ratio = 0", "breaker.failure_ratio"),
        ("[hedge]\nquantile = 1.5", "hedge.quantile"),
        ('[fallback]\nmodels = ["no model"]', "fallback.models"),
        ('[fallback]\nconditions = ["always"]', "fallback.conditions"),
        (f"[fallback]\nmodels = {['m'] * 9}", "may have at most 8"),
        (
            '[[quota.models]]\nmodel = "a"\n[[quota.models]]\nmodel = "models/a"',
            "each model only once",
        ),
        ('[[quota.models]]\nmodel = "a"\nrequests_per_minute = -1', "quota.models"),
        ("[admission]\nmax_queued = -1", "admission.max_queued"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    """Values out of range and unknown names are refused by name."""
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read(file, {})
