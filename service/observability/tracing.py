"""Spans, one a request, for an installation with the extra `otel`.

OpenTelemetry's own variables say where spans go and how many of them: `OTEL_EXPORTER_OTLP_ENDPOINT`,
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
    """Makes a span of each request once it is over, under the caller's span if it sent one.

    `provider` is OpenTelemetry's; its packages are imported here alone, and only when traces are wanted.
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
        """Give the traces that the environment asks for; None when it asks for none or they cannot be had."""
        if not any(name in os.environ for name in _ENDPOINTS):
            return None
        try:
            sdk, export = import_module("opentelemetry.sdk.trace"), "opentelemetry.sdk.trace.export"
            resources = import_module("opentelemetry.sdk.resources")
            exporter = import_module(
                "opentelemetry.exporter.otlp.proto.http.trace_exporter"
            ).OTLPSpanExporter()
        except ImportError:
            _log.warning("traces_unavailable", reason="the extra otel is not installed")
            return None
        provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": service_name}))
        provider.add_span_processor(import_module(export).BatchSpanProcessor(exporter))
        return cls(provider)

    def observe(self, record: RequestRecord) -> None:
        """Make the span of a request that has just ended."""
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
        """Send what has not been sent; blocks until that is done or given up."""
        self._provider.shutdown()
