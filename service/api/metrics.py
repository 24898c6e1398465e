"""Metrics and the access log: one record per request, bounded labels, no names and no paths.

Source: OpenTelemetry semantic conventions for HTTP; OWASP ASVS 5.0 16.2.5.
"""

from collections.abc import Iterable

import structlog
from litestar import Controller, HttpMethod, Response
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from service import __version__
from service.api.boundary import RequestRecord
from service.api.operations import Operation, Success, endpoint
from service.domain.callers import Access
from service.security.hashing import PasswordHasher

_log = structlog.get_logger("rollcall.access")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNLOGGED = frozenset({"/health/live", "/health/ready", "/metrics"})


class Observer:
    """Counts and logs every request once it is over."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self.registry = CollectorRegistry()
        self._duration = Histogram(
            "http_server_request_duration_seconds",
            "Duration of HTTP requests.",
            ("http_request_method", "http_route", "http_response_status_code"),
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.registry.register(_Gauges(hasher))

    def observe(self, record: RequestRecord) -> None:
        """Take note of a request."""
        method = record.method if record.method in _METHODS else "_OTHER"
        route = record.route or ""
        self._duration.labels(method, route, str(record.status)).observe(record.duration_s)
        if route not in _UNLOGGED:
            _log.info(
                "request",
                method=method,
                route=route,
                status=record.status,
                duration_ms=round(record.duration_s * 1000, 2),
                request_id=record.request_id,
                caller_id=str(record.caller_id) if record.caller_id else None,
            )


class _Gauges(Collector):
    """What is read at the moment somebody asks."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self._hasher = hasher

    def collect(self) -> Iterable[Metric]:
        stats = self._hasher.stats()
        yield InfoMetricFamily("rollcall_build", "The release.", value={"version": __version__})
        yield GaugeMetricFamily("rollcall_hashing_workers", "Threads that hash.", value=stats.workers)
        yield GaugeMetricFamily("rollcall_hashing_running", "Hashes being computed.", value=stats.running)
        yield GaugeMetricFamily("rollcall_hashing_queued", "Hashes that wait.", value=stats.queued)
        yield GaugeMetricFamily(
            "rollcall_hashing_oldest_wait_seconds",
            "How long the first in the queue has waited.",
            value=stats.oldest_wait_seconds,
        )


METRICS = Operation(
    id="metrics",
    summary="Metrics in Prometheus' text format",
    tag="operations",
    access=Access(public=True),
    answers={200: Success("The metrics.", media_type="text/plain")},
)
GivenObserver = NamedDependency[SkipValidation[Observer]]


class MetricsController(Controller):
    """`/metrics`."""

    path = "/metrics"

    @endpoint(HttpMethod.GET, "", METRICS)
    async def metrics(self, observer: GivenObserver) -> Response[bytes]:
        """Give the metrics."""
        return Response(
            generate_latest(observer.registry), media_type="text/plain; version=0.0.4; charset=utf-8"
        )
