"""Spans of requests."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.observability.access_log import RequestRecord
from service.observability.tracing import RequestTracer
from tests.support.api import Api, serving
from tests.support.settings import settings_for_tests

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECORD = RequestRecord("GET", "/v1/users", 503, 0.25, "id", "unknown", None, f"00-{TRACE}-{PARENT}-01")


def test_configured_without_endpoint_returns_no_tracer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert RequestTracer.configured("rollcall") is None


async def test_serve_with_traces_configured_but_not_installed_succeeds(
    monkeypatch: pytest.MonkeyPatch, shared_database: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("service.observability.tracing.import_module", _missing)
    async with serving(settings_for_tests(), shared_database) as running, running.client() as client:
        assert (await Api(client, running.service).get("/health/live")).status_code == 200


def test_observe_a_request_creates_a_child_of_the_client_span() -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = RequestTracer(provider)

    tracer.observe(RECORD)
    tracer.observe(RECORD._replace(traceparent=None, status=200, route=None))

    spans: tuple[Any, ...] = memory.get_finished_spans()
    span, alone = spans
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert (span.name, span.kind.name, span.status.status_code.name) == ("GET /v1/users", "SERVER", "ERROR")
    assert span.end_time - span.start_time == 250_000_000
    assert span.attributes["http.response.status_code"] == 503
    assert (alone.name, alone.parent, alone.status.status_code.name) == ("GET", None, "UNSET")
    tracer.close()


def _missing(name: str) -> Any:
    raise ImportError(name)
