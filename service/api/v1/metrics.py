"""Metrics on the port of the API."""

from litestar import Controller, HttpMethod, Response
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from prometheus_client import generate_latest

from service.api.operations import Operation, Success, endpoint
from service.domain.callers import Access
from service.observability.metrics import Observer

METRICS = Operation(
    id="metrics",
    summary="Metrics in Prometheus' text format",
    tag="metrics",
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
