"""docs/errors.md: every reason for which a call can fail."""

from __future__ import annotations

import inspect

from gemini_backend import errors
from gemini_backend.errors import ServiceError
from tools.reference.protos import Enum, contract
from tools.reference.remedies import REMEDIES

_PREFIX = "ERROR_REASON_"
_FAULT = {
    "CALLER": "The caller must change something",
    "POLICY": "One of this server's own rules",
    "UPSTREAM": "Gemini, or the way to it",
    "BACKEND": "This server",
}
_HEAD = """\
# Errors

A call that fails ends in a gRPC status, never in a field of an OK answer. The status message is
one sentence that says what is wrong and what helps. Its details always hold
`google.rpc.ErrorInfo` with the domain `gemini.backend` and a reason from the closed set below,
and where they apply:

| detail | says |
|---|---|
| `google.rpc.BadRequest` | every field that breaks a rule, all at once |
| `google.rpc.RetryInfo` | how long to wait |
| `google.rpc.QuotaFailure` | which quota is spent |
| `google.rpc.Help` | where to read on |
| `gemini.backend.v1.UpstreamFailure` | what Gemini answered: HTTP status, code, words, details |
| `gemini.backend.v1.ExecutionFailure` | how far an execution came, its usage and attempts |

The trailer `grpc-retry-pushback-ms` tells gRPC's own retries to wait, or, with -1, to stay away
where **retry** says no. After the first event of a stream gRPC never retries; the caller may. A
reason marked *not yet* is in the contract, and nothing in this version fails for it.

This page is made by `make gen`.
"""


def render() -> str:
    """Return the page.

    Raises:
        KeyError: a reason has no remedy.
    """
    leaves = _leaves()
    reasons = _reasons()
    parts = [_HEAD]
    for fault, title in _FAULT.items():
        parts.append(
            f"\n## {fault}_*: {title}\n\n| reason | code | retry | meaning | what helps |\n"
            "|---|---|---|---|---|\n"
        )
        for name, comment in reasons.members.items():
            reason = name.removeprefix(_PREFIX)
            if reason.startswith(f"{fault}_"):
                parts.append(_row(reason, comment, leaves.get(reason)))
    return "".join(parts)


def _row(reason: str, comment: str, leaf: type[ServiceError] | None) -> str:
    code, _, meaning = comment.partition(". ")
    retry = "*not yet*" if leaf is None else "yes" if leaf.retryable else "no"
    if reason == "CALLER_CANCELLED":
        retry = "no"  # nobody is left to be told
    return f"| `{reason}` | {code} | {retry} | {meaning} | {REMEDIES[reason]} |\n"


def _reasons() -> Enum:
    enums = (enum for file in contract() for enum in file.enums)
    return next(enum for enum in enums if enum.name == "ErrorReason")


def _leaves() -> dict[str, type[ServiceError]]:
    return {
        kind.reason: kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ServiceError) and hasattr(kind, "reason")
    }
