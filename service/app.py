"""The one place where the parts meet."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache, partial

import msgspec
import structlog
from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send
from sqlalchemy.ext.asyncio import AsyncEngine

from service import __version__
from service.api.authentication import Authenticator
from service.api.dispatch import RouteTable
from service.api.http.edge import EdgeMiddleware
from service.api.openapi.document import document
from service.api.openapi.routes import DOCS_ENDPOINTS, OpenApiJson
from service.api.operations import Endpoint, Operation
from service.api.pipeline import OperationPipeline
from service.api.providers import make_providers
from service.api.v1 import ENDPOINTS, users
from service.api.v1.metrics import metrics
from service.db import instances
from service.db.core import error_classes
from service.db.core.database import Database
from service.db.core.engine import PoolStats, create_engine, pool_stats
from service.db.core.read_pool import ReadPool
from service.db.core.replica import PROBE_INTERVAL, Replica
from service.db.core.unit_of_work import UnitOfWork, ignore_action
from service.db.migrations.compatibility import SUPPORTED, SchemaStatus, number_of, read_revision
from service.db.reads import Reads
from service.domain.ids import new_id
from service.domain.passwords import PasswordPolicy
from service.domain.sessions import Lifetime, SessionPolicy
from service.domain.throttle import ThrottlePolicy
from service.jobs.periodic import run_and_log, run_periodically
from service.observability.access_log import AccessLogSink, log_request
from service.observability.metrics import MetricsSnapshot, RequestTelemetry
from service.observability.tracing import RequestTracer
from service.security.hashing.hasher import PasswordHasher
from service.usecases.cleanup import purge_expired
from service.usecases.last_used import LastUsedTracker
from service.usecases.policies import Policies, Retention
from settings import Settings

_log = structlog.get_logger("rollcall")

READY_WITHIN = timedelta(seconds=1)
LAST_USED_INTERVAL = timedelta(seconds=5)
METRICS_INTERVAL = timedelta(seconds=5)
BACKGROUND_CONNECTIONS = 2
REPLICA_CONNECTIONS = 4
"""Where the settings keep none for reads of the primary, because of a pooler."""


@dataclass(slots=True)
class Service:
    """The parts of one running service."""

    settings: Settings
    policies: Policies
    engine: AsyncEngine
    background_engine: AsyncEngine
    """A few connections apart, so that health and chores neither wait for requests nor take their place."""
    read_pool: ReadPool
    reads: Reads
    replica: Replica | None
    hasher: PasswordHasher
    last_used: LastUsedTracker
    is_draining: bool = field(default=False)
    schema_revision: int | None = field(default=None)
    """The number of the database's revision when it was last looked at, for the metrics."""
    count: Callable[[str], None] = field(default=ignore_action)
    """Counts the actions of the audit trail, for the metrics."""

    def uow(self) -> UnitOfWork:
        """Make the unit of work of one request."""
        return UnitOfWork(self.engine, count=self.count)

    def after_drain_delay(self, stop: Callable[[], None]) -> None:
        """Call `stop` once load balancers have had the time to see that the service is no longer ready."""
        asyncio.get_running_loop().call_later(self.settings.http.drain_delay.total_seconds(), stop)

    def background_uow(self) -> UnitOfWork:
        """Make the unit of work of one chore."""
        return UnitOfWork(self.background_engine)


@dataclass(frozen=True, slots=True)
class Application:
    """The ASGI application, with the parts it was built from.

    Litestar runs the lifespan. Requests go to the edge and the pipeline: the framework's layers cost a
    quarter of a read and add nothing to them (docs/decisions/0012-hot-path.md).
    """

    services: Service
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


def create_app(
    settings: Settings, *, dsn: str | None = None, access_log: AccessLogSink = log_request
) -> Application:
    """Make the application. It opens nothing before its lifespan starts.

    `dsn` is the database if the settings name none: the embedded one, which the caller starts and stops.
    `access_log` takes the entries of the access log.
    """
    service = create_service(settings, dsn or settings.database.dsn or "")
    telemetry = RequestTelemetry(
        partial(metrics_snapshot, service), RequestTracer.configured(settings.service_name), access_log
    )
    service.count = telemetry.count
    endpoints = _endpoints(settings)
    operations = tuple(endpoint.operation for endpoint in endpoints)
    providers = make_providers(
        database=Database(service.engine, on_audit=telemetry.count),
        reads=service.reads,
        hasher=service.hasher,
        policies=service.policies,
        telemetry=telemetry,
        is_ready=_readiness(service),
        openapi_json=cache(lambda: OpenApiJson(msgspec.json.encode(document(operations)))),
    )
    pipeline = OperationPipeline(
        RouteTable(endpoints, providers), Authenticator(service.reads, service.last_used)
    )
    framework = Litestar(
        lifespan=[lambda _app: running(service, telemetry)], openapi_config=None, logging_config=None
    )
    edge = EdgeMiddleware(
        pipeline,
        observe=telemetry.observe,
        trusted_proxies=settings.http.trusted_proxies,
        cors_origins=settings.http.cors_origins,
        request_timeout=settings.http.request_timeout,
        body_timeout=settings.http.body_timeout,
    )
    return Application(service, telemetry, operations, framework, edge)


def create_service(settings: Settings, dsn: str) -> Service:
    """Make the parts of the service from what was chosen."""
    policies = policies_from(settings)
    engine = _engine(settings, dsn, pool_size=settings.database.pool_size, name=settings.service_name)
    read_pool = ReadPool(engine, size=settings.database.read_pool_size)
    replica = _replica(settings, read_pool)
    return Service(
        settings=settings,
        policies=policies,
        engine=engine,
        background_engine=_engine(
            settings, dsn, pool_size=BACKGROUND_CONNECTIONS, name=f"{settings.service_name}-background"
        ),
        read_pool=read_pool,
        reads=Reads(read_pool, replica),
        replica=replica,
        hasher=create_hasher(settings),
        last_used=LastUsedTracker(policies.sessions),
    )


def metrics_snapshot(service: Service) -> MetricsSnapshot:
    """Read the figures of this moment."""
    pools: tuple[PoolStats, ...] = (
        pool_stats(service.engine, "requests"),
        pool_stats(service.background_engine, "background"),
        service.read_pool.stats(),
    )
    if (replica := service.replica) is None:
        return MetricsSnapshot(service.hasher.stats(), pools, service.schema_revision)
    pools += (replica.stats(),)
    return MetricsSnapshot(service.hasher.stats(), pools, service.schema_revision, replica.outcomes)


def create_hasher(settings: Settings) -> PasswordHasher:
    """Make the pool that hashes passwords."""
    chosen = settings.passwords
    return PasswordHasher(
        memory_kib=chosen.memory_kib,
        iterations=chosen.iterations,
        parallelism=chosen.parallelism,
        workers=chosen.workers,
        max_queue=chosen.max_queue,
        queue_timeout=chosen.queue_timeout,
    )


def policies_from(settings: Settings) -> Policies:
    """Give the policies that the settings choose."""
    sessions, throttle, retention = settings.sessions, settings.throttle, settings.retention
    return Policies(
        service_name=settings.service_name,
        registration_is_open=settings.registration == "open",
        passwords=PasswordPolicy(min_length=settings.passwords.min_length),
        sessions=SessionPolicy(
            user=Lifetime(sessions.idle_ttl, sessions.absolute_ttl),
            admin=Lifetime(sessions.admin_idle_ttl, sessions.admin_absolute_ttl),
            step_up_ttl=sessions.step_up_ttl,
            per_user=sessions.per_user,
            touch_interval=sessions.touch_interval,
        ),
        throttle=ThrottlePolicy(
            free_attempts=throttle.free_attempts,
            initial_backoff=throttle.initial_backoff,
            max_backoff=throttle.max_backoff,
            unrecognised_per_hour=throttle.unrecognised_per_hour,
            failures_in_a_row=throttle.failures_in_a_row,
            network_per_minute=throttle.network_per_minute,
            network_per_hour=throttle.network_per_hour,
        ),
        reset_ttl=settings.tokens.reset_ttl,
        retention=Retention(
            idempotency_ttl=retention.idempotency_ttl,
            events_ttl=retention.events_ttl,
            throttle_ttl=throttle.memory_ttl,
            batch=retention.purge_batch,
        ),
    )


@asynccontextmanager
async def running(service: Service, telemetry: RequestTelemetry) -> AsyncIterator[None]:
    """Run what belongs to the service for as long as the block runs, and end it in order."""
    instance = instances.Instance.here(new_id(), __version__)
    await service.read_pool.start()

    async def write_last_used() -> None:
        await service.last_used.flush(service.background_uow())

    async def record_heartbeat() -> None:
        await instances.record_heartbeat(service.background_engine, instance)

    async def unregister() -> None:
        await instances.unregister(service.background_engine, instance.id)

    async def purge() -> None:
        await purge_expired(service.background_uow(), service.policies.retention)

    async def take_figures() -> None:
        service.schema_revision = await _schema_revision(service.background_engine)
        telemetry.refresh()

    chores: dict[str, tuple[timedelta, Callable[[], Awaitable[object]]]] = {
        "heartbeat": (instances.HEARTBEAT_INTERVAL, record_heartbeat),
        "last_used": (LAST_USED_INTERVAL, write_last_used),
        "purge": (service.settings.retention.purge_interval, purge),
        "figures": (METRICS_INTERVAL, take_figures),
    }
    if service.replica is not None:
        chores["replica"] = (PROBE_INTERVAL, service.replica.probe)
        await service.replica.probe()
    await run_and_log("heartbeat", record_heartbeat)
    await run_and_log("figures", take_figures)
    try:
        async with run_periodically(chores):
            yield
    finally:
        await run_and_log("last_used", write_last_used)
        await run_and_log("heartbeat", unregister)
        await asyncio.to_thread(service.hasher.close)
        await asyncio.to_thread(telemetry.close)
        if service.replica is not None:
            await service.replica.close()
        await service.read_pool.close()
        await service.engine.dispose()
        await service.background_engine.dispose()


def _endpoints(settings: Settings) -> list[Endpoint]:
    """Return what is served, with the access that the settings choose."""
    endpoints = list(ENDPOINTS)
    if settings.registration == "open":
        operation, function = users.create_user
        public = replace(operation.access, public=True, optional=True)
        endpoints.remove(users.create_user)
        endpoints.append(Endpoint(replace(operation, access=public), function))
    if settings.http.docs:
        endpoints += DOCS_ENDPOINTS
    if settings.metrics.enabled and settings.metrics.port is None:
        endpoints.append(metrics)
    return endpoints


def _readiness(service: Service) -> Callable[[], Awaitable[bool]]:
    async def is_ready() -> bool:
        if service.is_draining:
            return False
        try:
            async with asyncio.timeout(READY_WITHIN.total_seconds()):
                revision = await read_revision(service.background_engine)
        except Exception as error:  # noqa: BLE001 - whatever it is, the service cannot serve now
            _log.warning("not_ready", reason="database", **error_classes.describe(error))
            return False
        standing = SUPPORTED.classify(revision)
        if standing is not SchemaStatus.INSIDE:
            _log.warning("not_ready", reason=f"schema {standing}", schema=revision, served=str(SUPPORTED))
        return standing is SchemaStatus.INSIDE

    return is_ready


async def _schema_revision(engine: AsyncEngine) -> int | None:
    """Give the number of the database's revision, or None while it cannot be had; the heartbeat tells why."""
    try:
        return number_of(await read_revision(engine))
    except Exception as error:
        if error_classes.translate(error) is None and not isinstance(error, ValueError):
            raise
        return None


def _replica(settings: Settings, primary: ReadPool) -> Replica | None:
    chosen = settings.database
    if chosen.replica_dsn is None:
        return None
    size = chosen.read_pool_size or REPLICA_CONNECTIONS
    name = f"{settings.service_name}-replica"
    engine = _engine(settings, chosen.replica_dsn, pool_size=size + 1, name=name, pgbouncer=False)
    return Replica(engine, primary, size=size, recycle=chosen.recycle.total_seconds())


def _engine(
    settings: Settings, dsn: str, *, pool_size: int, name: str, pgbouncer: bool | None = None
) -> AsyncEngine:
    chosen = settings.database
    return create_engine(
        dsn,
        pool_size=pool_size,
        pool_timeout=chosen.pool_timeout.total_seconds(),
        connect_timeout=chosen.connect_timeout.total_seconds(),
        command_timeout=chosen.command_timeout.total_seconds(),
        statement_timeout=chosen.statement_timeout.total_seconds(),
        lock_timeout=chosen.lock_timeout.total_seconds(),
        idle_in_transaction_timeout=chosen.idle_in_transaction_timeout.total_seconds(),
        recycle=chosen.recycle.total_seconds(),
        application_name=name,
        pgbouncer=chosen.pgbouncer if pgbouncer is None else pgbouncer,
    )
