"""Health, for orchestrators: whether the process lives, and whether it should get requests."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec
from litestar import Controller, HttpMethod, Response
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from service.api.operations import Operation, ResponseSpec, endpoint
from service.api.responses import answer
from service.domain.callers import Access
from service.domain.errors import DatabaseUnavailable

Readiness: TypeAlias = Callable[[], Awaitable[bool]]
GivenReadiness: TypeAlias = NamedDependency[SkipValidation[Readiness]]


class HealthView(msgspec.Struct, frozen=True):
    """That all is well; anything else is a problem document."""

    status: str


LIVE = Operation(
    id="live",
    summary="Whether the process lives",
    description="LastUsedTracker nothing.",
    tag="health",
    access=Access(public=True),
    answers={200: ResponseSpec("It lives.", HealthView)},
)
READY = Operation(
    id="ready",
    summary="Whether the service can serve",
    description="The database answers within a second, its schema is one this release serves, and the "
    "service is not about to stop.",
    tag="health",
    access=Access(public=True),
    answers={200: ResponseSpec("It can.", HealthView)},
)


class HealthController(Controller):
    """`/health/live` and `/health/ready`."""

    path = "/health"

    @endpoint(HttpMethod.GET, "/live", LIVE)
    async def live(self) -> Response[bytes]:
        """Say that the process lives."""
        return answer(HealthView("ok"))

    @endpoint(HttpMethod.GET, "/ready", READY)
    async def ready(self, readiness: GivenReadiness) -> Response[bytes]:
        """Say whether the service can serve."""
        if not await readiness():
            raise DatabaseUnavailable("The service is not ready.")
        return answer(HealthView("ok"))
