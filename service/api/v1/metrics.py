"""Metrics on the port of the API."""

from prometheus_client import generate_latest

from service.api.http.response import Response
from service.api.operations import ResponseSpec, get
from service.domain.callers import Access
from service.observability.metrics import RequestTelemetry


@get(
    "/metrics",
    description="In the text format of Prometheus.",
    tag="operations",
    access=Access(public=True),
    responses={200: ResponseSpec("The metrics.", media_type="text/plain")},
)
async def get_metrics(telemetry: RequestTelemetry) -> Response:
    """Get the metrics."""
    text = generate_latest(telemetry.registry)
    return Response(200, text, media_type=b"text/plain; version=0.0.4; charset=utf-8")
