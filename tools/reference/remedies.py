"""What helps against each reason for which a call can fail, for docs/errors.md."""

from __future__ import annotations

from typing import Final

_GROW = "Send less, or raise `upstream.gemini.max_event_bytes` or `.max_body_bytes`."

REMEDIES: Final = {
    "CALLER_INVALID_REQUEST": "Change the fields that `BadRequest` names; `shortened` "
    "counts those that did not fit.",
    "CALLER_MALFORMED_MESSAGE": "Generate the client's stubs from these protos; send only UTF-8.",
    "CALLER_MESSAGE_TOO_LARGE": "Send large media by URI (`file_data`), or raise "
    "`server.max_message_mb`.",
    "CALLER_TOO_MANY_PARTS": "Join texts that follow each other, set the `_json` twin of a large "
    "Struct, or split the request.",
    "CALLER_UNKNOWN_MODEL": "Use a name that `ModelService.ListModels` returns.",
    "CALLER_UNKNOWN_RESOURCE": "Check the name; it may have expired, or be another caller's or "
    "another project's.",
    "CALLER_DEADLINE_TOO_SHORT": "Set a later deadline; look for time lost before the call.",
    "CALLER_REFUSED_BY_MODEL_API": "Read Gemini's message and change the request.",
    "CALLER_UNAUTHENTICATED": "Send credentials that the server knows.",
    "CALLER_FORBIDDEN": "Ask an operator for the permission.",
    "CALLER_CANCELLED": "Nothing: the caller cancelled the call, or somebody the execution "
    "(`CancelExecution`).",
    "CALLER_CONFLICT": "Read the resource again, then repeat the change.",
    "CALLER_NEEDS_RESTART": "Change the setting in the file or environment, then restart.",
    "CALLER_UNSUPPORTED_BY_MODEL": "Use another model, or omit the feature.",
    "CALLER_CONTEXT_TOO_LONG": "Shorten the conversation, or use a model with a longer context.",
    "CALLER_ALREADY_EXISTS": "Use another name, or the existing resource.",
    "POLICY_RATE_LIMITED": "Wait for the time in `RetryInfo`; after failed authentication, send "
    "valid credentials.",
    "POLICY_BUDGET_SPENT": "Wait for the next period, or ask an operator for a larger budget.",
    "POLICY_OVERLOADED": "Wait for the time in `RetryInfo`; send fewer concurrent requests.",
    "POLICY_CIRCUIT_OPEN": "Wait for the time in `RetryInfo`, or use another model.",
    "POLICY_QUOTA_EXHAUSTED": "Wait for the time in `RetryInfo`.",
    "POLICY_NOT_CACHED": "Send the request without `ONLY_IF_CACHED`.",
    "POLICY_INJECTION_BLOCKED": "Check the prompt; an operator can change the rule.",
    "POLICY_CHAOS": "Retry; a drill is in progress (`chaos.rules`).",
    "POLICY_SESSION_FULL": "Delete sessions, or start a new one; an operator can raise "
    "`sessions.max_sessions`, `.max_turns` or `.max_session_mb`.",
    "UPSTREAM_UNREACHABLE": "Retry; check network, DNS and `upstream.gemini.base_url`.",
    "UPSTREAM_UNAVAILABLE": "Retry after a moment, or use another model.",
    "UPSTREAM_THROTTLED": "Wait for the time in `RetryInfo`; `QuotaFailure` names the quota.",
    "UPSTREAM_QUOTA_EXHAUSTED": "Wait until midnight Pacific time, use another model, or raise the "
    "quota at Google.",
    "UPSTREAM_KEY_REFUSED": "Put a valid key in the place of the refused one "
    "([keys of Gemini](operations.md#keys-of-gemini)); run `gemini-backend doctor`.",
    "UPSTREAM_ACCOUNT_LIMITED": "Resolve it with the account at Google, or configure a key "
    "of another account; this key is not used for a while.",
    "UPSTREAM_PROJECT_REFUSED": "Check the project at Google: billing, region, API enabled.",
    "UPSTREAM_CONNECT_TIMEOUT": "Retry; check the network, or raise "
    "`upstream.gemini.connect_timeout_seconds`.",
    "UPSTREAM_FIRST_TOKEN_TIMEOUT": "Retry, or raise `first_token_timeout` of the request or "
    "`execution.first_token_timeout_seconds`; thinking models take longer.",
    "UPSTREAM_IDLE_TIMEOUT": "Retry, or raise `idle_timeout` of the request or "
    "`execution.idle_timeout_seconds`.",
    "UPSTREAM_DEADLINE_EXCEEDED": "Set a later deadline, or request a shorter answer.",
    "UPSTREAM_STREAM_CUT": "Retry; `ExecutionFailure` reports what had been delivered.",
    "UPSTREAM_MALFORMED_ANSWER": "Retry; if it persists, check `upstream.gemini.base_url` and "
    "proxies in between.",
    "UPSTREAM_ANSWER_TOO_LARGE": _GROW,
    "UPSTREAM_PROMPT_BLOCKED": "Change the prompt or `safety_settings`.",
    "UPSTREAM_ANSWER_BLOCKED": "Check `ExecutionFailure.finish_reason`; change the prompt.",
    "UPSTREAM_EMPTY_ANSWER": "Retry; raise `max_output_tokens` if thinking used it up.",
    "UPSTREAM_CANCELLED": "Retry.",
    "UPSTREAM_TIMED_OUT": "Shorten the prompt, or set a later deadline.",
    "BACKEND_UNEXPECTED": "Report the id in the message to an operator; the log has the details.",
    "BACKEND_NOT_IMPLEMENTED": "Omit the fields in the message, correct the name, or use "
    "a later version.",
    "BACKEND_DRAINING": "Retry; a load balancer sends the next call to another server.",
    "BACKEND_OUT_OF_DESCRIPTORS": "Retry; an operator raises the limit of open files "
    "(`docs/operations.md`).",
    "BACKEND_NO_UPSTREAM_KEY": "Add a key: `gemini-backend upstream-keys add`, or another "
    "source ([keys of Gemini](operations.md#keys-of-gemini)).",
    "BACKEND_STORE_UNAVAILABLE": "Retry; `HealthService.GetHealthStatus` reports to an "
    "operator what to fix.",
}
