"""Whose fault a refusal is: the key's, its project's, or the caller's.

Only what is known to be the key's or the project's counts as that: Google's reasons, and the
sentences that its front end has for keys and projects. A message may quote the caller, so a
sentence counts only where the message begins with it.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.failure.error_body import ErrorBody


class Blame(Enum):
    """Who can mend it."""

    KEY = "another key"
    PROJECT = "a key of another project"
    RESOURCE = "the caller, who named a file, cache, store or model of another project"
    NOBODY_KNOWN = "unknown until the key is tried apart"
    OTHER = "not a matter of access"


_KEY_REASONS = frozenset(
    {
        "ACCESS_TOKEN_EXPIRED",
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        "ACCOUNT_STATE_INVALID",
        "CREDENTIALS_MISSING",
    }
)
_PROJECT_REASONS = frozenset(
    {
        "BILLING_DISABLED",
        "CONSUMER_INVALID",
        "CONSUMER_SUSPENDED",
        "GCP_SUSPENDED",
        "LOCATION_ORG_POLICY_VIOLATED",
        "LOCATION_POLICY_VIOLATED",
        "LOCATION_TAX_POLICY_VIOLATED",
        "ORG_RESTRICTION_VIOLATION",
        "RESOURCE_PROJECT_INVALID",
        "SERVICE_DISABLED",
        "SERVICE_NOT_VISIBLE",
        "TOS_VIOLATION",
        "USER_BLOCKED_BY_ADMIN",
        "USER_PROJECT_DENIED",
    }
)
_KEY_WORDS = re.compile(
    r"\W*(?:"
    r"(?:the |your |this )?(?:provided |given )?api[ _-]?key (?:is )?"
    r"(?:not (?:valid|found|supported)|invalid|expired|has expired|was reported|has been"
    r"|has an? |doesn't|does not)"
    r"|(?:invalid|missing|expired|unknown) api[ _-]?key\b"
    r"|please (?:pass|use) (?:a valid|an) api[ _-]?key\b"
    r"|(?:this|your|the key) was reported as leaked"
    r"|request had (?:invalid|insufficient) authentication"
    r"|method doesn't allow unregistered callers"
    r"|requests? (?:from|to) .{0,300} are blocked"
    r")",
    re.IGNORECASE | re.DOTALL,
)
_PROJECT_WORDS = re.compile(
    r"\W*(?:"
    r"user location is not supported"
    r"|(?:the )?gemini api(?: free tier)? is not available in your"
    r"|(?:the )?(?:generative language|gemini|vertex ai|agent platform)(?: for [\w ]{1,40}| api)"
    r" (?:has not been (?:used|enabled)|is (?:not enabled|disabled))"
    r"|this api (?:method requires billing|has not been enabled|is not enabled)"
    r"|(?:your |the )?(?:project|billing account|account|consumer)\b.{0,80}?"
    r"(?:been (?:suspended|denied access|disabled|closed)|is (?:suspended|disabled|closed|inactive)"
    r"|has billing disabled)"
    r"|permission denied: consumer\b"
    r"|billing (?:is disabled|must be enabled|has not been enabled|account)"
    r")",
    re.IGNORECASE | re.DOTALL,
)
_RESOURCE_WORDS = re.compile(
    r"\b(?:(?:generated ?)?files?|cached ?contents?|tuned ?models?|file ?search ?stores?|corpus"
    r"|corpora|rag ?stores?|batches|buckets?)\b|\bgs://",
    re.IGNORECASE,
)
# In a request's body, where quotes within a caller's text are escaped.
_REFERENCES = re.compile(
    rb'"(?:fileUri|cachedContent|fileSearchStoreNames|ragCorpus|corpora)"\s*:',
)
_OWN_MODELS = ("tunedModels/", "models/tunedModels/")
_DENIALS = frozenset({401, 403})


def of(found: ErrorBody, status: int) -> Blame:
    """Return who is to blame for a refusal with an HTTP status."""
    reason = found.reason()
    if reason.startswith("API_KEY_") or reason in _KEY_REASONS:
        return Blame.KEY
    if reason in _PROJECT_REASONS or status == 402:  # noqa: PLR2004 - Payment Required
        return Blame.PROJECT
    return _by_words(found.reply.message, status)


def _by_words(words: str, status: int) -> Blame:
    if status in {400, *_DENIALS}:
        if _KEY_WORDS.match(words):
            return Blame.KEY
        if _PROJECT_WORDS.match(words):
            return Blame.PROJECT
    if status not in _DENIALS:
        return Blame.OTHER
    if _RESOURCE_WORDS.search(words):
        return Blame.RESOURCE
    return Blame.KEY if status == 401 else Blame.NOBODY_KNOWN  # noqa: PLR2004 - of credentials


def names_resource(words: str) -> bool:
    """Say whether a message is about something that a project owns, other than a model."""
    return bool(_RESOURCE_WORDS.search(words))


def refers_to_resource(model: str, body: bytes) -> bool:
    """Say whether a request names something that belongs to one project."""
    return model.startswith(_OWN_MODELS) or bool(_REFERENCES.search(body))
