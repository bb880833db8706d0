"""Spans as they leave the process: reasons in place of messages, which may quote a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status, StatusCode

from gemini_backend import masking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REASON = "gemini_backend.reason"
_TYPE = "exception.type"


class CleanSpans(SpanExporter):
    """Hands spans on to an exporter without messages, stack traces and secrets.

    OpenTelemetry's interceptor writes the message of a status, and the text and stack of every
    exception, into its spans. Of a status the code and the reason are left, of an exception the
    type. It runs in the exporter's thread, so that calls do not wait for it.
    """

    def __init__(self, inner: SpanExporter) -> None:
        """Hand on to `inner`."""
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans, cleaned."""
        return self._inner.export([cleaned(span) for span in spans])

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits; return whether it was done in time."""
        return self._inner.force_flush(timeout_millis)


def cleaned(span: ReadableSpan) -> ReadableSpan:
    """Return the span without messages, stack traces and secrets."""
    attributes = _masked(span.attributes or {})
    reason = attributes.get(REASON)
    failed = span.status.status_code is StatusCode.ERROR
    description = reason if failed and isinstance(reason, str) else None
    return ReadableSpan(
        name=masking.text(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=[_cleaned_event(event) for event in span.events if not _is_abort(event)],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, description),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _is_abort(event: Any) -> bool:
    """Tell whether an exception is the one by which gRPC ends a call; the status says all of it."""
    return str((event.attributes or {}).get(_TYPE, "")).endswith(".AbortError")


def _cleaned_event(event: Any) -> Event:
    attributes = _masked(event.attributes or {})
    if event.name == "exception":
        attributes = {_TYPE: attributes[_TYPE]} if _TYPE in attributes else {}
    return Event(masking.text(event.name), attributes, event.timestamp)


def _masked(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {masking.text(name): _masked_value(value) for name, value in attributes.items()}


def _masked_value(value: Any) -> Any:
    return tuple(map(masking.value, value)) if isinstance(value, tuple) else masking.value(value)
