"""What a 429 says is used up: a quota per minute, one per day, none at all, or money."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gemini_backend import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.upstream.gemini.failure.error_body import ErrorBody

# A quota is told by its names where it has any, else by the sentence.
_MONEY_NAME = re.compile(r"spend|budget|billing|credit|permonth", re.IGNORECASE)
_MONEY_WORDS = re.compile(
    r"\bspend(?:ing)?[ -](?:based|cap|limit|budget|quota)"
    r"|\bmonthly\b.{0,40}\b(?:cap|budget|limit|quota|spend)|\bper[ -]month\b"
    r"|\bexceed\w*\b.{0,40}\bbudget"
    r"|\b(?:credits?|funds|balance|prepa\w+)\b.{0,40}"
    r"\b(?:deplet|exhaust|insufficient|used up|run out)"
    r"|\b(?:insufficient|no remaining|out of)\b.{0,20}\b(?:credits?|funds|balance)"
    r"|\bbilling\b.{0,30}\b(?:cap|disabled|suspended|closed|inactive|not active)",
    re.IGNORECASE | re.DOTALL,
)
_DAY_NAME = re.compile(r"per_?day|daily|/d/", re.IGNORECASE)
_DAY_WORDS = re.compile(r"\bper[ -]day\b|\bdaily\b|perday", re.IGNORECASE)
_OTHER_NAME = re.compile(r"per_?(?:minute|second|hour)|/(?:min|s|h)/", re.IGNORECASE)
_NO_QUOTA = re.compile(r"\blimit: ?0(?![.\d])", re.IGNORECASE)
# Quotas of a tool are spent by those who use it, and say nothing of the model.
_TOOL_NAME = re.compile(
    r"ground|google_?search|google_?maps|file_?search|url_?context", re.IGNORECASE
)
_WORDS_LIMIT = 16_384
# A day's quota comes with delays of seconds that are those of other quotas.
_LEAST_OF_A_DAY = 3600.0

_SPENT = (
    "a limit on the spending of the key's project or account is reached: {words}; raise it at "
    "Google, or add a key of another account to upstream.gemini.api_keys"
)
_NONE = (
    "the key's project has no quota for this: {words}; use a model that its tier includes, or "
    "raise the quota at Google"
)

Kind = tuple[type[errors.ServiceError], str, float | None]


def kind_of(found: ErrorBody, words: str, delay: float | None, now: datetime) -> Kind:
    """Return the class, the message, and after how many seconds a retry may help.

    Args:
        found: The refusal.
        words: Its message.
        delay: What it says of the time, in seconds.
        now: The time of day, with its zone.
    """
    names = list(_names(found))
    words = words[:_WORDS_LIMIT]
    if any(_MONEY_NAME.search(name) for name in names) or _in(words, _MONEY_WORDS, names):
        return (
            errors.AccountLimited,
            _SPENT.format(words=words),
            delay,
        )
    if _NO_QUOTA.search(words) or any(value == "0" for value in _limits(found)):
        return (
            errors.DailyQuotaExhausted,
            _NONE.format(words=words),
            None,
        )
    if any(_DAY_NAME.search(name) for name in names) or _in(words, _DAY_WORDS, names):
        stated = delay is not None and delay >= _LEAST_OF_A_DAY
        return (
            errors.DailyQuotaExhausted,
            f"a quota per day is used up until midnight Pacific time: {words}",
            delay if stated else until_midnight_pacific(now),
        )
    return errors.Throttled, f"the model API throttles this project: {words}", delay


def is_of_a_tool(found: ErrorBody) -> bool:
    """Say whether all quotas that are named belong to a tool."""
    names = list(_names(found))
    return bool(names) and all(_TOOL_NAME.search(name) for name in names)


def until_midnight_pacific(now: datetime) -> float:
    """Return the seconds from `now`, a time with a zone, to the next midnight in California."""
    here = now.astimezone(_pacific())
    midnight = datetime.combine(here.date() + timedelta(days=1), time(), here.tzinfo)
    return (midnight.astimezone(UTC) - now.astimezone(UTC)).total_seconds()


@cache
def _pacific() -> tzinfo:
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:  # no zone data here: winter time is at most an hour late
        return timezone(timedelta(hours=-8))


def _in(words: str, pattern: re.Pattern[str], names: list[str]) -> bool:
    """Search the sentence, unless the names say already what kind of quota it is."""
    return not any(_OTHER_NAME.search(name) for name in names) and bool(pattern.search(words))


def _names(found: ErrorBody) -> Iterator[str]:
    """Yield how each quota that is spent is called."""
    for one in found.objects():
        for name in ("quotaId", "quota_limit", "quotaLimit", "quota_unit"):
            if isinstance(one.get(name), str):
                yield f"{one[name]} {one.get('quotaMetric') or one.get('quota_metric') or ''}"


def _limits(found: ErrorBody) -> Iterator[str]:
    for one in found.objects():
        for name in ("quotaValue", "quota_limit_value", "quotaLimitValue"):
            if name in one:
                yield str(one[name])
