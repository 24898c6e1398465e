"""Health for orchestrators: whether the process is alive, and whether it should get requests."""

import msgspec

from service.api.http.response import Response
from service.api.operations import ResponseSpec, get
from service.api.responses import ok
from service.db.readiness import Readiness
from service.domain.callers import Access
from service.domain.errors import DatabaseUnavailable


class HealthView(msgspec.Struct, frozen=True):
    """The only healthy status; everything else is a problem document."""

    status: str


@get(
    "/health/live",
    description="Touches nothing.",
    tag="operations",
    access=Access(public=True),
    responses={200: ResponseSpec("It is alive.", HealthView)},
)
async def check_live() -> Response:
    """Check that the process is alive."""
    return ok(HealthView("ok"))


@get(
    "/health/ready",
    description="The database answers within a second, its schema serves this release, and the "
    "service is not about to stop.",
    tag="operations",
    access=Access(public=True),
    responses={200: ResponseSpec("It is ready.", HealthView)},
)
async def check_ready(readiness: Readiness) -> Response:
    """Check that the service is ready."""
    if not await readiness.is_ready():
        raise DatabaseUnavailable("The service is not ready.")
    return ok(HealthView("ok"))
