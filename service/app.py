"""The application: where the parts of the process, the operations and the framework meet."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, partial

import msgspec
from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from service.api.authentication import Authenticator
from service.api.cookies import CookieSessions
from service.api.dispatch import RouteTable
from service.api.http.edge import EdgeMiddleware
from service.api.openapi.document import document
from service.api.openapi.routes import DOCS_ENDPOINTS, OpenApiJson, index
from service.api.operations import Endpoint, Operation
from service.api.pipeline import OperationPipeline
from service.api.providers import make_providers
from service.api.v1 import ENDPOINTS, recovery, users
from service.api.v1.metrics import get_metrics
from service.db.core.engine import pool_stats
from service.jobs.delivery import create_delivery
from service.jobs.outbox import OutboxDispatcher
from service.jobs.periodic import PeriodicTask, interval_jitter
from service.jobs.schedule import METRICS_INTERVAL, background_work
from service.observability.metrics import RequestTelemetry
from service.observability.stats import MetricsSnapshot, PoolStats
from service.observability.tracing import RequestTracer
from service.services import Services
from settings import Settings


@dataclass(frozen=True, slots=True)
class Application:
    """The ASGI application, with the parts it was built from.

    Litestar runs the lifespan. Requests go to the edge and the pipeline: the framework's layers cost
    more than a fifth of a read and add nothing to them (docs/decisions/0012-hot-path.md).
    """

    services: Services
    telemetry: RequestTelemetry
    operations: tuple[Operation, ...]
    framework: Litestar
    edge: EdgeMiddleware

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == ScopeType.HTTP or scope["type"] == ScopeType.WEBSOCKET:
            await self.edge(scope, receive, send)
        else:
            await self.framework(scope, receive, send)

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Return the context in which the application runs, for callers that are no ASGI server."""
        return self.framework.lifespan()


def create_app(settings: Settings, *, dsn: str | None = None) -> Application:
    """Create the application. It opens no connection before its lifespan starts.

    `dsn` is the database if the settings name none: the embedded one, which the caller starts and stops.
    """
    # Telemetry reads the services only once it is asked for figures.
    telemetry = RequestTelemetry(
        lambda: metrics_snapshot(services, outbox), RequestTracer.configured(settings.service_name)
    )
    services = Services(settings, dsn or settings.database.dsn or "", on_audit=telemetry.count)
    outbox = OutboxDispatcher(
        services.background_database,
        partial(create_delivery, settings),
        tokens=services.mail_tokens,
        jitter=interval_jitter,
    )
    endpoints = _endpoints(settings)
    operations = tuple(endpoint.operation for endpoint in endpoints)
    pipeline = _create_pipeline(services, endpoints, telemetry)
    lifespan = partial(_running, services, telemetry, outbox)
    framework = Litestar(lifespan=[lambda _app: lifespan()], openapi_config=None, logging_config=None)
    edge = _create_edge(settings, pipeline, telemetry, operations)
    return Application(services, telemetry, operations, framework, edge)


def _create_pipeline(
    services: Services, endpoints: list[Endpoint], telemetry: RequestTelemetry
) -> OperationPipeline:
    settings, policies = services.settings, services.policies
    cookies = CookieSessions(
        is_enabled=settings.http.cookies,
        origins=settings.http.cors_origins,
        own_origin=settings.public_url,
    )
    shared = (
        services.hasher,
        services.login,
        services.factors,
        services.last_used,
        services.mail_tokens,
        services.access_tokens,
        services.readiness,
        policies,
        cookies,
        telemetry,
    )
    operations = [endpoint.operation for endpoint in endpoints]
    openapi_json = cache(lambda: OpenApiJson(msgspec.json.encode(document(operations))))
    return OperationPipeline(
        RouteTable(endpoints, make_providers(services.database, services.reads, openapi_json, shared)),
        Authenticator(services.reads, services.last_used, policies.factors),
        step_up_ttl=policies.sessions.step_up_ttl,
        cookies=cookies,
    )


def _create_edge(
    settings: Settings,
    pipeline: OperationPipeline,
    telemetry: RequestTelemetry,
    operations: Iterable[Operation],
) -> EdgeMiddleware:
    return EdgeMiddleware(
        pipeline,
        observe=telemetry.observe,
        trusted_proxies=settings.http.trusted_proxies,
        cors_origins=settings.http.cors_origins,
        allows_cookies=settings.http.cookies,
        forwarded_paths=[operation.path for operation in operations if operation.is_forwarded],
        request_timeout=settings.http.request_timeout,
        body_timeout=settings.http.body_timeout,
    )


def metrics_snapshot(services: Services, outbox: OutboxDispatcher) -> MetricsSnapshot:
    """Read the current figures of the services."""
    pools: tuple[PoolStats, ...] = (
        pool_stats(services.engine, "requests"),
        pool_stats(services.background_engine, "background"),
        services.read_pool.stats(),
    )
    replica = services.replica
    return MetricsSnapshot(
        hashing=services.hasher.stats(),
        pools=pools if replica is None else (*pools, replica.stats()),
        schema_revision=services.readiness.schema_revision,
        replica_reads={} if replica is None else replica.outcomes,
        mail=outbox.stats(),
        access_tokens_total=services.access_tokens.issued_total,
    )


@asynccontextmanager
async def _running(
    services: Services, telemetry: RequestTelemetry, outbox: OutboxDispatcher
) -> AsyncIterator[None]:
    mail = (
        PeriodicTask("mail", services.settings.mail.interval, outbox.run),
        PeriodicTask("mail_backlog", METRICS_INTERVAL, outbox.count_backlog),
    )
    async with services.closing():
        await services.read_pool.start()
        try:
            async with background_work(services, telemetry.refresh, *mail):
                yield
        finally:
            await asyncio.to_thread(telemetry.close)


def _endpoints(settings: Settings) -> list[Endpoint]:
    """Return what is served, with the access that the settings choose."""
    endpoints = list(ENDPOINTS)
    if settings.registration == "open":
        operation, function = users.create_user
        public = replace(operation.access, public=True, optional=True)
        endpoints.remove(users.create_user)
        endpoints.append(Endpoint(replace(operation, access=public), function))
    if settings.login.by_code:
        endpoints.append(recovery.send_login_code)
    endpoints += DOCS_ENDPOINTS if settings.http.serves_docs else (index,)
    if settings.serves_metrics_beside_api:
        endpoints.append(get_metrics)
    return endpoints
