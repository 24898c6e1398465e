"""The one place where the parts meet."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

import structlog
from litestar import Litestar
from litestar.di import Provide
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncEngine

from service import __version__
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
from service.db import instances
from service.db.core import error_classes
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
from service.domain.users import LoginIdCharset
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
DIRECT = (get_user, get_current_session, introspect_token, open_session, add_user)


@dataclass(slots=True)
class Service:
    """The parts of one running service; `app.state.service` in the application."""

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


def create_app(
    settings: Settings, *, dsn: str | None = None, access_log: AccessLogSink = log_request
) -> Litestar:
    """Make the application. It opens nothing before its lifespan starts.

    `dsn` is the database when the settings name none: the embedded one, which somebody else starts and stops.
    `access_log` takes the lines of the access log.
    """
    service = create_service(settings, dsn or settings.database.dsn or "")
    telemetry = RequestTelemetry(
        partial(metrics_snapshot, service), RequestTracer.configured(settings.service_name), access_log
    )
    overridden = _overridden(service.policies)
    authenticator = Authenticator(service.reads, service.last_used)
    parts = Parts(service.uow, service.reads, service.hasher, service.policies)
    admission = OperationPipeline(authenticator, parts, overridden)
    app = Litestar(
        route_handlers=_routes(settings),
        middleware=[admission],
        dependencies={
            **providers(parts),
            "telemetry": Provide(lambda: telemetry, use_cache=True, sync_to_thread=False),
            "readiness": Provide(lambda: _readiness(service), use_cache=True, sync_to_thread=False),
        },
        exception_handlers=exception_handlers,
        lifespan=[lambda _app: running(service, telemetry)],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )
    service.count = telemetry.count
    app.state["service"] = service
    app.state["telemetry"] = telemetry
    app.state["overridden"] = overridden
    app.asgi_handler = EdgeMiddleware(
        ShortWays(app.asgi_handler, admission, DIRECT),
        observe=telemetry.observe,
        trusted_proxies=settings.http.trusted_proxies,
        cors_origins=settings.http.cors_origins,
        request_timeout=settings.http.request_timeout,
        body_timeout=settings.http.body_timeout,
    )
    return app


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
        login_ids=LoginIdCharset(settings.login_ids),
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
    """Give the operations that the settings make another than declared."""
    overridden = {}
    if policies.registration_is_open:
        access = replace(CREATE_USER.access, public=True, optional=True)
        overridden[CREATE_USER.id] = replace(CREATE_USER, access=access)
    return overridden


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
