"""Spans leave with reasons, never with messages."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from gemini_backend import masking
from gemini_backend.telemetry.clean_spans import REASON, CleanSpans

KEY = "one-secret-key-for-the-spans"


class AbortError(Exception):
    """Named as the exception by which gRPC ends a call."""


def exported(*errors: Exception, reason: str, code: StatusCode) -> tuple[object, ...]:
    """Return description, attributes and events of a span with these errors in it."""
    masking.remember([KEY])
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(CleanSpans(kept)))
    with provider.get_tracer("test").start_as_current_span(f"call {KEY}") as span:
        span.set_status(Status(code, "the words" if code is StatusCode.ERROR else None))
        span.set_attribute(REASON, reason)
        span.set_attribute("many", [KEY, "b"])
        span.add_event("step", {"key": KEY, "count": 3})
        for error in errors:
            span.record_exception(error)
    (found,) = kept.get_finished_spans()
    assert "call [key]" == found.name
    events = [(event.name, dict(event.attributes or {})) for event in found.events]
    return found.status.description, dict(found.attributes or {}), events


def test_messages_are_replaced_by_the_reason() -> None:
    """Of a status the reason is left, of an exception the type; secrets are masked."""
    found = exported(ValueError("the words"), reason="BACKEND_UNEXPECTED", code=StatusCode.ERROR)
    attributes = {REASON: "BACKEND_UNEXPECTED", "many": ("[key]", "b")}
    events = [
        ("step", {"key": "[key]", "count": 3}),
        ("exception", {"exception.type": "ValueError"}),
    ]
    assert ("BACKEND_UNEXPECTED", attributes, events) == found


def test_the_end_of_a_call_is_no_exception() -> None:
    """How gRPC ends a call is not an event of its own; a good span has no description."""
    description, _, events = exported(AbortError("no"), reason="X", code=StatusCode.UNSET)
    assert (None, [("step", {"key": "[key]", "count": 3})]) == (description, events)
