"""When a refusal says to come back: the shapes in which servers write it, none of them trusted."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# No quota that is worth waiting for takes longer; a server that says more is believed so far.
LONGEST_SECONDS = 86_400.0
_WORDS_LIMIT = 16_384  # characters of a text that are searched
_EPOCH_FROM = 1e9  # from here on a number is a time since 1970, not a span
_EPOCH_MS_FROM = 1e11

_UNITS = (
    ("milliseconds?|millis|msecs?|ms", 1e-3),
    ("microseconds?|us|µs", 1e-6),
    ("nanoseconds?|ns", 1e-9),
    ("days?|d", 86_400.0),
    ("hours?|hrs?|h", 3600.0),
    ("minutes?|mins?|m", 60.0),
    ("seconds?|secs?|s", 1.0),
)
_NUMBER = r"\d{1,15}(?:\.\d{1,18})?"
_UNIT = "|".join(pattern for pattern, _ in _UNITS)
_AMOUNT = rf"{_NUMBER}\s?(?:{_UNIT})(?![a-zµ])"
_SPAN = rf"{_AMOUNT}(?:(?:\s|,\s?|\s?and\s)?{_AMOUNT}){{0,5}}"
_TIME = r"\d{4}-\d\d-\d\d[t ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:z|[+-]\d\d:?\d\d)?"

_PIECE = re.compile(rf"({_NUMBER})\s?({_UNIT})(?![a-zµ])", re.IGNORECASE)
_ONLY_SPAN = re.compile(rf"\s*(?:pt)?({_SPAN})\s*", re.IGNORECASE)
_ONLY_NUMBER = re.compile(rf"\s*({_NUMBER})\s*")
_KEYED = re.compile(
    r"(?:re-?try[-_ ]?(?:delay|after)|quota_?reset_?delay)([-_]?ms\b)?"
    rf"[\"'\\\s:={{]{{1,12}}(?:seconds[\"'\\\s:]{{1,4}})?"
    rf"({_SPAN}|{_NUMBER}(?!\d|\.\d|\s?[a-z]))",
    re.IGNORECASE,
)
_COME_BACK = r"(?:re-?try|try again|come back|resets?|wait|back ?off|available|renewed|refilled)"
_SENTENCE = re.compile(rf"\b{_COME_BACK}\b[a-z :=~]{{0,40}}?\b({_SPAN})", re.IGNORECASE)
_MOMENT = re.compile(rf"\b{_COME_BACK}\b[a-z :=]{{0,40}}?\b({_TIME})", re.IGNORECASE)

_SPAN_KEYS = frozenset({"retrydelay", "quotaresetdelay", "retryafter", "retryafterseconds"})
_MS_KEYS = frozenset({"retryafterms", "retrydelayms"})
_MOMENT_KEYS = frozenset({"quotaresettimestamp", "quotaresettime", "resettime", "resetat"})
_RESET_HEADERS = (
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-reset-after",
    "x-ratelimit-reset",
    "ratelimit-reset",
)


def in_details(details: Iterable[Mapping[str, Any]], now: datetime) -> float | None:
    """Return the seconds that fields of any objects name; the longest where several do."""
    found = [
        seconds
        for one in details
        for key, value in one.items()
        if (seconds := _keyed_value(key, value, now)) is not None
    ]
    return max(found, default=None)


def in_headers(header: Callable[[str], str], now: datetime) -> float | None:
    """Return the seconds that the headers of an answer name: seconds, a span, or a date.

    Args:
        header: Gives a header by its name; empty where it is not there.
        now: The time of day, with its zone.
    """
    exact = _bounded(_number(header("retry-after-ms")), 1e-3)
    if exact is not None:
        return exact
    after = span_of(header("retry-after")) or _until_date(header("retry-after"), now)
    if after is not None:
        return after
    resets = (_reset(header(name), now) for name in _RESET_HEADERS)
    return max((one for one in resets if one is not None), default=None)


def in_words(text: str, now: datetime) -> float | None:
    """Return the seconds that a text names, be it a sentence or JSON inside of it."""
    text = text[:_WORDS_LIMIT]
    keyed = [
        seconds
        for match in _KEYED.finditer(text)
        if (seconds := _bounded(span_of(match[2]), 1e-3 if match[1] else 1.0)) is not None
    ]
    if keyed:
        return max(keyed)
    for match in _SENTENCE.finditer(text):
        seconds = span_of(match[1])
        if seconds is not None:
            return seconds
    for match in _MOMENT.finditer(text):
        seconds = _until(match[1], now)
        if seconds is not None:
            return seconds
    return None


def span_of(value: Any) -> float | None:
    """Return the seconds that a value stands for; None where it is no time ahead.

    Known are numbers of seconds, `77.5`, `39s`, `373.8ms`, `1h2m3s`, `5 seconds`, and an object
    of `seconds` and `nanos`. What is longer than `LONGEST_SECONDS` counts as that.
    """
    if isinstance(value, dict):
        parts = (_number(value.get("seconds", 0)), _number(value.get("nanos", 0)))
        return None if None in parts else _bounded(parts[0] + parts[1] * 1e-9)  # type: ignore[operator] # neither is None
    if not isinstance(value, str):
        return _bounded(_number(value))
    if _ONLY_NUMBER.fullmatch(value):
        return _bounded(_number(value))
    match = _ONLY_SPAN.fullmatch(value[:100])
    if match is None:
        return None
    pieces = _PIECE.findall(match[1])
    return _bounded(sum(float(number) * _seconds_per(unit) for number, unit in pieces))


def _keyed_value(key: str, value: Any, now: datetime) -> float | None:
    name = str(key).lower().replace("_", "").replace("-", "")
    if name in _SPAN_KEYS:
        return span_of(value)
    if name in _MS_KEYS:
        return _bounded(_number(value), 1e-3)
    return _until(str(value), now) if name in _MOMENT_KEYS else None


def _reset(text: str, now: datetime) -> float | None:
    number = _number(text)
    if number is not None and number >= _EPOCH_FROM:
        at = number / 1000 if number >= _EPOCH_MS_FROM else number
        return _bounded(at - now.timestamp())
    return span_of(text) or _until(text, now)


def _until_date(text: str, now: datetime) -> float | None:
    """Return the seconds until a date as HTTP writes it."""
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return _ahead(at, now)


def _until(text: str, now: datetime) -> float | None:
    """Return the seconds until a time as RFC 3339 writes it."""
    try:
        at = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        return None
    return _ahead(at, now)


def _ahead(at: datetime, now: datetime) -> float | None:
    try:
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return _bounded((at - now).total_seconds())
    except OverflowError:
        return None


def _number(value: Any) -> float | None:
    if isinstance(value, str) and (found := _ONLY_NUMBER.fullmatch(value)):
        return float(found[1])  # float() knows fewer kinds of white space than the pattern
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


def _seconds_per(unit: str) -> float:
    unit = unit.lower()
    return next(factor for pattern, factor in _UNITS if re.fullmatch(pattern, unit))


def _bounded(seconds: float | None, factor: float = 1.0) -> float | None:
    if seconds is None or math.isnan(seconds) or seconds <= 0:
        return None
    return min(seconds * factor, LONGEST_SECONDS)
