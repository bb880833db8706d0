"""When a refusal says to come back, in whatever shape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemini_backend.upstream.gemini.failure import retry_hints
from gemini_backend.upstream.gemini.failure.retry_hints import LONGEST_SECONDS

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SOON = NOW + timedelta(seconds=77)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("39s", 39),
        ("39.5s", 39.5),
        ("45.837906927s", 45.837906927),
        ("77.5", 77.5),
        (77, 77),
        ("900ms", 0.9),
        ("373.801628ms", 0.373801628),
        ("1h2m3s", 3723),
        ("2m5.5s", 125.5),
        ("0h 59m 3s", 3543),
        ("1 minute and 3 seconds", 63),
        ("PT1M30S", 90),
        ({"seconds": 77, "nanos": 500_000_000}, 77.5),
        ({"seconds": "77"}, 77),
        ("\x1e5\u2003", 5),
    ],
)
def test_a_span_in_each_form(value: Any, seconds: float) -> None:
    """Protobuf's, Go's, plain numbers, words."""
    assert pytest.approx(seconds, abs=1e-9) == retry_hints.span_of(value)


@pytest.mark.parametrize(
    "value", ["", "soon", "-5s", "NaN", "inf", -1, 0, "0s", True, None, [], {"seconds": "x"}, "5x"]
)
def test_what_is_no_time_ahead_is_none(value: Any) -> None:
    """A delay of nothing would bring every caller back at once."""
    assert retry_hints.span_of(value) is None


@pytest.mark.parametrize("value", [10**400, "999999999999999", "9999d", float("inf")])
def test_more_than_a_day_counts_as_a_day(value: Any) -> None:
    """A server that says more does not close a model for good."""
    assert LONGEST_SECONDS == retry_hints.span_of(value)


def headers(**named: str) -> Any:
    """Return a look-up of headers; `_` stands for `-`."""
    known = {name.replace("_", "-"): value for name, value in named.items()}
    return lambda name: known.get(name.lower(), "")


@pytest.mark.parametrize(
    ("named", "seconds"),
    [
        ({"retry_after": "77"}, 77),
        ({"retry_after": "77.5"}, 77.5),
        ({"retry_after": format_datetime(SOON, usegmt=True)}, 77),
        ({"retry_after": "Mon, 30 Nov 2020 12:01:17 GMT"}, None),
        ({"retry_after": "Mon, 99 Nov 9999999 12:01:17 GMT"}, None),
        ({"retry_after_ms": "1500", "retry_after": "9"}, 1.5),
        ({"x_ratelimit_reset": str(int(SOON.timestamp()))}, 77),
        ({"x_ratelimit_reset": str(int(SOON.timestamp() * 1000))}, 77),
        ({"x_ratelimit_reset_requests": "6m0s", "x_ratelimit_reset_tokens": "1s"}, 360),
        ({"x_ratelimit_reset": SOON.isoformat()}, 77),
        ({"retry_after": "never"}, None),
        ({}, None),
    ],
)
def test_headers_say_it_in_several_ways(named: dict[str, str], seconds: float | None) -> None:
    """Seconds, a span, a date, the time of a reset; what is past is not believed."""
    assert seconds == retry_hints.in_headers(headers(**named), NOW)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Quota exceeded. Please retry in 77.25s.", 77.25),
        ("Please retry in 2m5.5s.", 125.5),
        ("Your quota will reset after 18h31m10s.", 66_670),
        ("Rate limit: retry after 5 seconds", 5),
        ("Please try again in 6m0s. Visit the docs", 360),
        ("You can retry in about 30 seconds", 30),
        ("retry-after: 20", 20),
        ("retry after 20", 20),
        ('429: {"error": {"details": [{"retryDelay": "77s"}]}}', 77),
        ('"retryDelay\\": \\"77s\\"', 77),
        ("{'quotaResetDelay': '373.801628ms'}", 0.373801628),
        ("retry_delay {\n  seconds: 45\n}", 45),
        ("retryAfterMs: 1500", 1.5),
        (f"The quota resets at {SOON.isoformat()}", 77),
        ("Please try again later.", None),
        ("retry your request 3 times", None),
        ("limit: 10 per 60s", None),
        ("retry after 3 attempts", None),
    ],
)
def test_words_say_it_in_several_ways(words: str, seconds: float | None) -> None:
    """Sentences, and fields of JSON within them; other numbers are none."""
    found = retry_hints.in_words(words, NOW)
    assert (None if seconds is None else pytest.approx(seconds)) == found


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        ([{"@type": "x/google.rpc.RetryInfo", "retryDelay": "77s"}], 77),
        ([{"retry_delay": {"seconds": 77}}], 77),
        ([{"quotaResetDelay": "99.5s"}, {"retryDelay": "0.5s"}], 99.5),
        ([{"quotaResetTimeStamp": SOON.isoformat().replace("+00:00", "Z")}], 77),
        ([{"retryDelay": "soon"}, {"other": "5s"}], None),
    ],
)
def test_fields_say_it_wherever_they_stand(details: Any, seconds: float | None) -> None:
    """Of several times the longest is right: before it the call would be refused again."""
    assert seconds == retry_hints.in_details(details, NOW)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(["retryDelay", "retryAfterMs", "quotaResetTimeStamp", "retry_after"])


@given(st.dictionaries(KEYS, json), st.text(max_size=200), st.text(max_size=60))
@example({"retryDelay": {"seconds": float("nan")}}, "retry in 1e9s", "31 Feb")
def test_nothing_is_raised_and_every_time_is_bounded(details: Any, words: str, told: str) -> None:
    """Whatever a server writes."""
    found = (
        retry_hints.in_details([details], NOW),
        retry_hints.in_words(words, NOW),
        retry_hints.in_words(f"retry in {told}", NOW),
        retry_hints.in_headers(lambda _name: told, NOW),
    )
    assert [] == [one for one in found if one is not None and not 0 < one <= LONGEST_SECONDS]


@given(st.integers(1, 80_000), st.integers(1, 80_000))
def test_more_seconds_are_a_longer_wait(one: int, other: int) -> None:
    """In every form alike."""
    for form in ("retry in {}s", "retryDelay: {}.25s", "reset after 0h{}s", "retry-after: {}"):
        waits = [retry_hints.in_words(form.format(n), NOW) or 0 for n in (one, other)]
        assert (one < other) == (waits[0] < waits[1])
