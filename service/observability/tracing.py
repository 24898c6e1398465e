"""Trace requests, one span each, if the extra `otel` is installed.

OpenTelemetry's own variables configure the export and the sampling: `OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_TRACES_SAMPLER` and the rest. Source: OpenTelemetry semantic conventions for HTTP servers.
"""

import os
import time
from importlib import import_module
from typing import Any, Final, Self

import structlog

from service.observability.access_log import RequestRecord

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_log = structlog.get_logger("rollcall")


class RequestTracer:
    """Creates a span for each completed request, as a child of the client's span if it sent one.

    `provider` is OpenTelemetry's. Its packages are imported by name, as they are optional.
    """

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("rollcall")
        self._api = import_module("opentelemetry.trace")
        self._propagator = import_module(
            "opentelemetry.trace.propagation.tracecontext"
        ).TraceContextTextMapPropagator()

    @classmethod
    def configured(cls, service_name: str) -> Self | None:
        """Return a tracer if the environment names an endpoint and the extra is installed."""
        if not any(name in os.environ for name in _ENDPOINTS):
            return None
        try:
            sdk, export = import_module("opentelemetry.sdk.trace"), "opentelemetry.sdk.trace.export"
            resources = import_module("opentelemetry.sdk.resources")
            exporters = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        except ImportError:
            _log.warning("traces_unavailable", reason="the extra otel is not installed")
            return None
        provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": service_name}))
        provider.add_span_processor(import_module(export).BatchSpanProcessor(exporters.OTLPSpanExporter()))
        return cls(provider)

    def observe(self, record: RequestRecord) -> None:
        """Create the span of a request that has just ended."""
        ended_at_ns = time.time_ns()
        parent = self._propagator.extract({"traceparent": record.traceparent or ""})
        span = self._tracer.start_span(
            f"{record.method} {record.route or ''}".rstrip(),
            context=parent,
            kind=self._api.SpanKind.SERVER,
            start_time=ended_at_ns - int(record.duration_s * 1e9),
            attributes={
                "http.request.method": record.method,
                "http.response.status_code": record.status,
                "rollcall.request_id": record.request_id,
                **({"http.route": record.route} if record.route else {}),
            },
        )
        if record.status >= 500:
            span.set_status(self._api.StatusCode.ERROR)
        span.end(ended_at_ns)

    def close(self) -> None:
        """Send the remaining spans; blocks until done or timed out."""
        self._provider.shutdown()
