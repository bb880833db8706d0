"""Traces by OpenTelemetry, exported as the standard OTEL_* variables say.

Everything here is imported only when tracing is on: it costs start-up time and memory, and a
sampled span costs more than all other layers together.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gemini_backend import masking
from gemini_backend.config.errors import ConfigError
from gemini_backend.telemetry.events import RpcFinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gemini_backend.telemetry.events import Bus

_FAREWELL_SECONDS = 3.0
_TELLING = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)


def tracing_wanted(setting: str, environ: Mapping[str, str]) -> bool:
    """Say whether to trace: "on", "off", or "auto" when a variable names an exporter."""
    if setting != "auto":
        return setting == "on"
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return any(environ.get(name, "none") not in {"", "none"} for name in _TELLING)


class Tracing:
    """The tracer provider and the interceptor that makes the spans."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Build the provider: sampler, limits and resource come from the variables too."""
        from opentelemetry.instrumentation.grpc import aio_server_interceptor
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from gemini_backend.telemetry.clean_spans import CleanSpans

        masking.remember(_secrets(environ))
        named = {} if "OTEL_SERVICE_NAME" in environ else {SERVICE_NAME: "gemini-backend"}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        for exporter in _exporters(environ):
            self._provider.add_span_processor(BatchSpanProcessor(CleanSpans(exporter)))
        make: Any = aio_server_interceptor  # has no types of its own
        self.interceptor = make(tracer_provider=self._provider)

    def listen(self, bus: Bus) -> None:
        """Write the name of each execution, and the reason of each failure, into its span."""
        bus.subscribe(RpcFinished, _rpc_finished)

    def close(self) -> None:
        """Export what waits, then stop; what is not gone after three seconds is lost.

        A collector that is not there would otherwise hold the process up for as long as its
        exporter tries again.
        """
        farewell = threading.Thread(target=self._provider.shutdown, daemon=True)
        farewell.start()
        farewell.join(_FAREWELL_SECONDS)


def _rpc_finished(event: RpcFinished) -> None:
    from opentelemetry.trace import get_current_span

    from gemini_backend.telemetry.clean_spans import REASON

    span = get_current_span()
    span.set_attribute("gemini_backend.execution", event.execution)
    if event.reason:
        span.set_attribute(REASON, event.reason)


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of the headers that exporters send, where tokens for collectors are."""
    for name, text in environ.items():
        if name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("HEADERS"):
            for pair in text.split(","):
                value = unquote(pair.partition("=")[2].strip())
                yield value
                yield value.rpartition(" ")[2]  # the token of "Bearer TOKEN"


def _exporters(environ: Mapping[str, str]) -> list[Any]:
    """Return the exporters that OTEL_TRACES_EXPORTER names; OTLP when it names none.

    Raises:
        ConfigError: it names one that is not to be had here.
    """
    names = environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")
    return [_exporter(name.strip(), environ) for name in names if name.strip() != "none"]


def _exporter(name: str, environ: Mapping[str, str]) -> Any:
    if name == "console":
        import sys

        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    if name != "otlp":
        msg = f"OTEL_TRACES_EXPORTER names {name!r}; use otlp, console or none"
        raise ConfigError.at(msg, "tracing.enabled")
    protocol = environ.get(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    )
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

        return http.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as rpc

    return rpc.OTLPSpanExporter()
