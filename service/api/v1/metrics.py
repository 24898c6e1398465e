"""Metrics on the port of the API."""

from litestar import Controller, HttpMethod, Response
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from prometheus_client import generate_latest

from service.api.operations import Operation, ResponseSpec, endpoint
from service.domain.callers import Access
from service.observability.metrics import RequestTelemetry

METRICS = Operation(
    id="metrics",
    summary="Metrics in Prometheus' text format",
    tag="metrics",
    access=Access(public=True),
    answers={200: ResponseSpec("The metrics.", media_type="text/plain")},
)
GivenTelemetry = NamedDependency[SkipValidation[RequestTelemetry]]


class MetricsController(Controller):
    """`/metrics`."""

    path = "/metrics"

    @endpoint(HttpMethod.GET, "", METRICS)
    async def metrics(self, telemetry: GivenTelemetry) -> Response[bytes]:
        """Give the metrics."""
        return Response(
            generate_latest(telemetry.registry), media_type="text/plain; version=0.0.4; charset=utf-8"
        )
