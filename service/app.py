"""Wire the application together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from litestar import Litestar
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from service.api.authentication import Authenticator
from service.api.http.edge import EdgeMiddleware
from service.api.http.problems import exception_handlers
from service.api.injection import Parts, providers
from service.api.openapi.routes import ReferenceController, asset_handlers
from service.api.operations import Operation
from service.api.pipeline import OperationPipeline
from service.api.short_ways import ShortWays
from service.api.v1.events import EventController
from service.api.v1.health import HealthController
from service.api.v1.introspection import introspect_token
from service.api.v1.keys import KeyController
from service.api.v1.metrics import MetricsController
from service.api.v1.passwords import PasswordController
from service.api.v1.sessions import SessionController, get_current_session, open_session
from service.api.v1.users import CREATE_USER, UserController, add_user, get_user
from service.db.core.engine import pool_stats
from service.jobs.schedule import background_work
from service.observability.metrics import RequestTelemetry
from service.observability.stats import MetricsSnapshot, PoolStats
from service.observability.tracing import RequestTracer
from service.services import Services
from service.usecases.policies import Policies
from settings import Settings

DIRECT = (get_user, get_current_session, introspect_token, open_session, add_user)


def create_app(settings: Settings, *, dsn: str | None = None) -> Litestar:
    """Create the application. It opens no connection before its lifespan starts.

    `dsn` is the database if the settings name none: the embedded one, which the caller starts and stops.
    """
    # Telemetry reads the services only once it is asked for figures.
    telemetry = RequestTelemetry(
        lambda: metrics_snapshot(services), RequestTracer.configured(settings.service_name)
    )
    services = Services(settings, dsn or settings.database.dsn or "", on_audit=telemetry.count)
    overridden = _overridden(services.policies)
    authenticator = Authenticator(services.reads, services.last_used)
    parts = Parts(services.uow, services.reads, services.hasher, services.policies)
    pipeline = OperationPipeline(authenticator, parts, overridden)
    app = Litestar(
        route_handlers=_routes(settings),
        middleware=[pipeline],
        dependencies={
            **providers(parts),
            "telemetry": Provide(lambda: telemetry, use_cache=True, sync_to_thread=False),
            "readiness": Provide(lambda: services.readiness.is_ready, use_cache=True, sync_to_thread=False),
        },
        exception_handlers=exception_handlers,
        lifespan=[lambda _app: _running(services, telemetry)],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )
    app.state["services"] = services
    app.state["telemetry"] = telemetry
    app.state["overridden"] = overridden
    app.asgi_handler = EdgeMiddleware(
        ShortWays(app.asgi_handler, pipeline, DIRECT),
        observe=telemetry.observe,
        trusted_proxies=settings.http.trusted_proxies,
        cors_origins=settings.http.cors_origins,
        request_timeout=settings.http.request_timeout,
        body_timeout=settings.http.body_timeout,
    )
    return app


def metrics_snapshot(services: Services) -> MetricsSnapshot:
    """Read the current figures of the services."""
    pools: tuple[PoolStats, ...] = (
        pool_stats(services.engine, "requests"),
        pool_stats(services.background_engine, "background"),
        services.read_pool.stats(),
    )
    hashing, revision = services.hasher.stats(), services.readiness.schema_revision
    if (replica := services.replica) is None:
        return MetricsSnapshot(hashing, pools, revision)
    return MetricsSnapshot(hashing, (*pools, replica.stats()), revision, replica.outcomes)


@asynccontextmanager
async def _running(services: Services, telemetry: RequestTelemetry) -> AsyncIterator[None]:
    async with services.closing():
        await services.read_pool.start()
        try:
            async with background_work(services, telemetry.refresh):
                yield
        finally:
            await asyncio.to_thread(telemetry.close)


def _routes(settings: Settings) -> list[ControllerRouterHandler]:
    routes: list[ControllerRouterHandler] = [
        UserController,
        PasswordController,
        SessionController,
        KeyController,
        EventController,
        HealthController,
        *DIRECT,
    ]
    if settings.http.docs:
        routes += [ReferenceController, *asset_handlers()]
    if settings.metrics.enabled and settings.metrics.port is None:
        routes.append(MetricsController)
    return routes


def _overridden(policies: Policies) -> dict[str, Operation]:
    """Return the operations whose declaration the settings change."""
    overridden = {}
    if policies.registration_is_open:
        access = replace(CREATE_USER.access, public=True, optional=True)
        overridden[CREATE_USER.id] = replace(CREATE_USER, access=access)
    return overridden
