"""What helps against each reason for which a call can fail, for docs/errors.md."""

from __future__ import annotations

from typing import Final

_GROW = "Send less, or raise `upstream.gemini.max_event_bytes` or `.max_body_bytes`."

REMEDIES: Final = {
    "CALLER_INVALID_REQUEST": "Change the fields that `BadRequest` names; it names all of them.",
    "CALLER_MALFORMED_MESSAGE": "Make the client's stubs from these protos; send UTF-8 only.",
    "CALLER_MESSAGE_TOO_LARGE": "Send large media by URI (`file_data`), or raise "
    "`server.max_message_mb`.",
    "CALLER_UNKNOWN_MODEL": "Take a name that `ModelService.ListModels` gives.",
    "CALLER_UNKNOWN_RESOURCE": "Check the name; it may have expired.",
    "CALLER_DEADLINE_TOO_SHORT": "Set a later deadline; look for time lost before the call.",
    "CALLER_REFUSED_BY_MODEL_API": "Read Gemini's words in the message and change the request.",
    "CALLER_UNAUTHENTICATED": "Send credentials that the server knows.",
    "CALLER_FORBIDDEN": "Ask an operator for the right.",
    "CALLER_CANCELLED": "Nothing: the caller wanted it so. Seen in logs and metrics only.",
    "CALLER_CONFLICT": "Read again, then change.",
    "CALLER_NEEDS_RESTART": "Change the setting in the file or environment, then restart.",
    "CALLER_UNSUPPORTED_BY_MODEL": "Take another model, or leave the feature out.",
    "CALLER_CONTEXT_TOO_LONG": "Shorten the conversation, or take a model with a longer context.",
    "CALLER_ALREADY_EXISTS": "Take another name, or use what is there.",
    "POLICY_RATE_LIMITED": "Wait as long as `RetryInfo` says.",
    "POLICY_BUDGET_SPENT": "Wait for the next period, or ask an operator for a larger budget.",
    "POLICY_OVERLOADED": "Wait as long as `RetryInfo` says; send less at once.",
    "POLICY_CIRCUIT_OPEN": "Wait as long as `RetryInfo` says, or take another model.",
    "POLICY_QUOTA_EXHAUSTED": "Wait as long as `RetryInfo` says.",
    "POLICY_NOT_CACHED": "Ask without `ONLY_IF_CACHED`.",
    "POLICY_INJECTION_BLOCKED": "Look at the prompt; an operator can change the rule.",
    "POLICY_CHAOS": "Try again; a drill is on (`chaos.rules`).",
    "POLICY_SESSION_FULL": "Delete sessions, or begin a new one; an operator can raise "
    "`sessions.max_sessions`, `.max_turns` or `.max_session_mb`.",
    "UPSTREAM_UNREACHABLE": "Try again; check network, DNS and `upstream.gemini.base_url`.",
    "UPSTREAM_UNAVAILABLE": "Try again after a moment, or take another model.",
    "UPSTREAM_THROTTLED": "Wait as long as `RetryInfo` says; `QuotaFailure` names the quota.",
    "UPSTREAM_QUOTA_EXHAUSTED": "Wait until midnight Pacific time, or raise the quota at Google.",
    "UPSTREAM_KEY_REFUSED": "Put a valid key into `GEMINI_API_KEY`, then restart; run "
    "`gemini-backend doctor`.",
    "UPSTREAM_ACCOUNT_LIMITED": "See to the account at Google, or configure a key of another "
    "account; this key is set aside.",
    "UPSTREAM_PROJECT_REFUSED": "See to the project at Google: billing, region, API enabled.",
    "UPSTREAM_CONNECT_TIMEOUT": "Try again; check the network, or raise "
    "`upstream.gemini.connect_timeout_seconds`.",
    "UPSTREAM_FIRST_TOKEN_TIMEOUT": "Try again, or raise `first_token_timeout` of the request or "
    "`execution.first_token_timeout_seconds`; models that think take long.",
    "UPSTREAM_IDLE_TIMEOUT": "Try again, or raise `idle_timeout` of the request or "
    "`execution.idle_timeout_seconds`.",
    "UPSTREAM_DEADLINE_EXCEEDED": "Set a later deadline, or ask for a shorter answer.",
    "UPSTREAM_STREAM_CUT": "Try again; `ExecutionFailure` says what had been delivered.",
    "UPSTREAM_MALFORMED_ANSWER": "Try again; if it stays so, check `upstream.gemini.base_url` and "
    "proxies in between.",
    "UPSTREAM_ANSWER_TOO_LARGE": _GROW,
    "UPSTREAM_PROMPT_BLOCKED": "Change the prompt or `safety_settings`.",
    "UPSTREAM_ANSWER_BLOCKED": "Look at `ExecutionFailure.finish_reason`; change the prompt.",
    "UPSTREAM_EMPTY_ANSWER": "Try again; raise `max_output_tokens` if thinking used it up.",
    "UPSTREAM_CANCELLED": "Try again.",
    "UPSTREAM_TIMED_OUT": "Shorten the prompt, or set a later deadline.",
    "BACKEND_UNEXPECTED": "Tell an operator the id in the message; the log has it.",
    "BACKEND_NOT_IMPLEMENTED": "Leave out what the message names, or take a later version.",
    "BACKEND_DRAINING": "Try again; a balancer sends the next call elsewhere.",
    "BACKEND_NO_UPSTREAM_KEY": "Set `GEMINI_API_KEY`, then restart.",
    "BACKEND_STORE_UNAVAILABLE": "Try again; `HealthService.GetHealthStatus` tells an operator "
    "what to mend.",
}
