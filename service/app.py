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
from service.api.http.edge import Boundary
from service.api.http.problems import exception_handlers
from service.api.injection import Parts, providers
from service.api.openapi.routes import ReferenceController, asset_handlers
from service.api.operations import Operation
from service.api.pipeline import Admission
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
from service.db.core.read_pool import ReadLane
from service.db.core.replica import LOOK_EVERY, Replica
from service.db.core.unit_of_work import UnitOfWork, count_nothing
from service.db.migrations.compatibility import SERVED, Standing, number_of, read_revision
from service.db.reads import Reads
from service.domain.ids import new_id
from service.domain.passwords import PasswordPolicy
from service.domain.sessions import Lifetime, SessionPolicy
from service.domain.throttle import ThrottlePolicy
from service.jobs.periodic import attempt, doing
from service.observability.access_log import TellRequest, log_request
from service.observability.metrics import Observer, Readings
from service.observability.tracing import Traces
from service.security.hashing.hasher import PasswordHasher
from service.usecases.cleanup import purge_expired
from service.usecases.last_used import Touches
from service.usecases.policies import Retention, Rules
from settings import Settings

_log = structlog.get_logger("rollcall")

READY_WITHIN = timedelta(seconds=1)
TOUCH_EVERY = timedelta(seconds=5)
FIGURES_EVERY = timedelta(seconds=5)
CHORE_CONNECTIONS = 2
REPLICA_CONNECTIONS = 4
"""Where the settings keep none for reads of the primary, because of a pooler."""
DIRECT = (get_user, get_current_session, introspect_token, open_session, add_user)


@dataclass(slots=True)
class Service:
    """The parts of one running service; `app.state.service` in the application."""

    settings: Settings
    rules: Rules
    engine: AsyncEngine
    chore_engine: AsyncEngine
    """A few connections apart, so that health and chores neither wait for requests nor take their place."""
    lane: ReadLane
    reads: Reads
    replica: Replica | None
    hasher: PasswordHasher
    touches: Touches
    is_draining: bool = field(default=False)
    schema_revision: int | None = field(default=None)
    """The number of the database's revision when it was last looked at, for the metrics."""
    count: Callable[[str], None] = field(default=count_nothing)
    """Counts the actions of the audit trail, for the metrics."""

    def uow(self) -> UnitOfWork:
        """Make the unit of work of one request."""
        return UnitOfWork(self.engine, count=self.count)

    def after_drain_delay(self, stop: Callable[[], None]) -> None:
        """Call `stop` once load balancers have had the time to see that the service is no longer ready."""
        asyncio.get_running_loop().call_later(self.settings.http.drain_delay.total_seconds(), stop)

    def chore_uow(self) -> UnitOfWork:
        """Make the unit of work of one chore."""
        return UnitOfWork(self.chore_engine)


def create_app(
    settings: Settings, *, dsn: str | None = None, tell_request: TellRequest = log_request
) -> Litestar:
    """Make the application. It opens nothing before its lifespan starts.

    `dsn` is the database when the settings name none: the embedded one, which somebody else starts and stops.
    `tell_request` takes the lines of the access log.
    """
    service = create_service(settings, dsn or settings.database.dsn or "")
    observer = Observer(partial(readings_of, service), Traces.configured(settings.service_name), tell_request)
    overridden = _overridden(service.rules)
    authenticator = Authenticator(service.reads, service.touches)
    parts = Parts(service.uow, service.reads, service.hasher, service.rules)
    admission = Admission(authenticator, parts, overridden)
    app = Litestar(
        route_handlers=_routes(settings),
        middleware=[admission],
        dependencies={
            **providers(parts),
            "observer": Provide(lambda: observer, use_cache=True, sync_to_thread=False),
            "readiness": Provide(lambda: _readiness(service), use_cache=True, sync_to_thread=False),
        },
        exception_handlers=exception_handlers,
        lifespan=[lambda _app: running(service, observer)],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )
    service.count = observer.count
    app.state["service"] = service
    app.state["observer"] = observer
    app.state["overridden"] = overridden
    app.asgi_handler = Boundary(
        ShortWays(app.asgi_handler, admission, DIRECT),
        observe=observer.observe,
        trusted_proxies=settings.http.trusted_proxies,
        cors_origins=settings.http.cors_origins,
        request_timeout=settings.http.request_timeout,
        body_timeout=settings.http.body_timeout,
    )
    return app


def create_service(settings: Settings, dsn: str) -> Service:
    """Make the parts of the service from what was chosen."""
    rules = rules_of(settings)
    engine = _engine(settings, dsn, pool_size=settings.database.pool_size, name=settings.service_name)
    lane = ReadLane(engine, size=settings.database.read_lane_size)
    replica = _replica(settings, lane)
    return Service(
        settings=settings,
        rules=rules,
        engine=engine,
        chore_engine=_engine(
            settings, dsn, pool_size=CHORE_CONNECTIONS, name=f"{settings.service_name}-chores"
        ),
        lane=lane,
        reads=Reads(lane, replica),
        replica=replica,
        hasher=create_hasher(settings),
        touches=Touches(rules.sessions),
    )


def readings_of(service: Service) -> Readings:
    """Read the figures of this moment."""
    pools: tuple[PoolStats, ...] = (
        pool_stats(service.engine, "requests"),
        pool_stats(service.chore_engine, "chores"),
        service.lane.stats(),
    )
    if (replica := service.replica) is None:
        return Readings(service.hasher.stats(), pools, service.schema_revision)
    pools += (replica.stats(),)
    return Readings(service.hasher.stats(), pools, service.schema_revision, replica.outcomes)


def create_hasher(settings: Settings) -> PasswordHasher:
    """Make the pool that hashes passwords."""
    chosen = settings.passwords
    return PasswordHasher(
        memory_kib=chosen.memory_kib,
        iterations=chosen.iterations,
        parallelism=chosen.parallelism,
        workers=chosen.workers,
        queue_limit=chosen.queue_limit,
        queue_wait=chosen.queue_wait,
    )


def rules_of(settings: Settings) -> Rules:
    """Give the policies that the settings choose."""
    sessions, throttle, retention = settings.sessions, settings.throttle, settings.retention
    return Rules(
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
            free_failures=throttle.free_failures,
            first_wait=throttle.first_wait,
            longest_wait=throttle.longest_wait,
            strangers_per_hour=throttle.strangers_per_hour,
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
async def running(service: Service, observer: Observer) -> AsyncIterator[None]:
    """Run what belongs to the service for as long as the block runs, and end it in order."""
    instance = instances.Instance.here(new_id(), __version__)
    await service.lane.start()

    async def write_touches() -> None:
        await service.touches.write(service.chore_uow())

    async def beat() -> None:
        await instances.beat(service.chore_engine, instance)

    async def leave() -> None:
        await instances.leave(service.chore_engine, instance.id)

    async def purge() -> None:
        await purge_expired(service.chore_uow(), service.rules.retention)

    async def take_figures() -> None:
        service.schema_revision = await _schema_revision(service.chore_engine)
        observer.refresh()

    chores: dict[str, tuple[timedelta, Callable[[], Awaitable[object]]]] = {
        "heartbeat": (instances.BEAT_EVERY, beat),
        "touches": (TOUCH_EVERY, write_touches),
        "purge": (service.settings.retention.purge_interval, purge),
        "figures": (FIGURES_EVERY, take_figures),
    }
    if service.replica is not None:
        chores["replica"] = (LOOK_EVERY, service.replica.look)
        await service.replica.look()
    await attempt("heartbeat", beat)
    await attempt("figures", take_figures)
    try:
        async with doing(chores):
            yield
    finally:
        await attempt("touches", write_touches)
        await attempt("heartbeat", leave)
        await asyncio.to_thread(service.hasher.close)
        await asyncio.to_thread(observer.close)
        if service.replica is not None:
            await service.replica.close()
        await service.lane.close()
        await service.engine.dispose()
        await service.chore_engine.dispose()


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


def _overridden(rules: Rules) -> dict[str, Operation]:
    """Give the operations that the settings make another than declared."""
    overridden = {}
    if rules.registration_is_open:
        access = replace(CREATE_USER.access, public=True, optional=True)
        overridden[CREATE_USER.id] = replace(CREATE_USER, access=access)
    return overridden


def _readiness(service: Service) -> Callable[[], Awaitable[bool]]:
    async def is_ready() -> bool:
        if service.is_draining:
            return False
        try:
            async with asyncio.timeout(READY_WITHIN.total_seconds()):
                revision = await read_revision(service.chore_engine)
        except Exception as error:  # noqa: BLE001 - whatever it is, the service cannot serve now
            _log.warning("not_ready", reason="database", **error_classes.describe(error))
            return False
        standing = SERVED.place(revision)
        if standing is not Standing.INSIDE:
            _log.warning("not_ready", reason=f"schema {standing}", schema=revision, served=str(SERVED))
        return standing is Standing.INSIDE

    return is_ready


async def _schema_revision(engine: AsyncEngine) -> int | None:
    """Give the number of the database's revision, or None while it cannot be had; the heartbeat tells why."""
    try:
        return number_of(await read_revision(engine))
    except Exception as error:
        if error_classes.translate(error) is None and not isinstance(error, ValueError):
            raise
        return None


def _replica(settings: Settings, primary: ReadLane) -> Replica | None:
    chosen = settings.database
    if chosen.replica_dsn is None:
        return None
    size = chosen.read_lane_size or REPLICA_CONNECTIONS
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
