"""Metrics: one record per request, bounded labels, no names and no paths.

Source: OpenTelemetry semantic conventions for HTTP and database clients; OWASP ASVS 5.0 16.2.5.
"""

import os
import platform
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Final, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service import __version__
from service.domain.events import Action
from service.observability.access_log import RequestRecord, entry_from, log_request
from service.observability.stats import MetricsSnapshot
from service.observability.tracing import RequestTracer

SHARED_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own variable: the directory in which the workers of one service keep their figures."""

cast(Any, disable_created_metrics)()  # a third of all lines, and nobody asks for them

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Those of the conventions, and two for reads, which are faster than their first."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNLOGGED: Final = frozenset({"/health/live", "/health/ready", "/metrics"})
_LOGIN: Final = ("POST", "/v1/sessions")
_LOGIN_OUTCOMES: Final = {201: "succeeded", 401: "failed", 429: "throttled", 503: "unavailable"}


class RequestTelemetry:
    """Counts and logs every request once it is over, and gives the figures to whoever asks.

    `read` is called for the figures of the moment: whenever somebody asks, and by `refresh`. Worker processes
    that share a directory add up; then each has to `refresh` every few seconds, as only the one that answers
    is read at that moment.

    With `traces`, each request makes a span, too.
    """

    def __init__(
        self,
        read: Callable[[], MetricsSnapshot],
        traces: RequestTracer | None = None,
    ) -> None:
        self._read = read
        self._traces = traces
        self._durations: dict[tuple[str, str, int], Histogram] = {}
        self._lock = Lock()
        is_shared = SHARED_DIR in os.environ
        own = CollectorRegistry() if is_shared else _registry_with(_BuildInfo(self.refresh))
        self.registry = _registry_of_all(_BuildInfo(self.refresh)) if is_shared else own
        self._requests = Histogram(
            "http_server_request_duration_seconds",
            "Duration of HTTP requests.",
            ("http_request_method", "http_route", "http_response_status_code"),
            registry=own,
            buckets=_BUCKETS,
        )
        self._logins = Counter(
            "rollcall_logins", "Attempts to log in, by their outcome.", ("outcome",), registry=own
        )
        for outcome in _LOGIN_OUTCOMES.values():
            self._logins.labels(outcome)
        self._events = Counter(
            "rollcall_events", "What the audit trail tells of, by its action.", ("action",), registry=own
        )
        for action in Action:
            self._events.labels(action.value)
        self._moment = _Gauges(own)
        if not is_shared:
            ProcessCollector(registry=own)

    def observe(self, record: RequestRecord) -> None:
        """Take note of a request."""
        method = record.method if record.method in _METHODS else "_OTHER"
        route = record.route or ""
        self._duration_of(method, route, record.status).observe(record.duration_s)
        if (method, route) == _LOGIN and record.status in _LOGIN_OUTCOMES:
            self._logins.labels(_LOGIN_OUTCOMES[record.status]).inc()
        if route in _UNLOGGED:
            return
        log_request(entry_from(record, method))
        if self._traces is not None:
            self._traces.observe(record)

    def _duration_of(self, method: str, route: str, status: int) -> Histogram:
        """Give the series of a kind of request; the library takes longer to find it than to count in it."""
        kind = (method, route, status)
        found = self._durations.get(kind)
        if found is None:
            found = self._durations[kind] = self._requests.labels(method, route, str(status))
        return found

    def count(self, action: str) -> None:
        """Take note of an action of the audit trail, once it is committed."""
        self._events.labels(action).inc()

    def close(self) -> None:
        """Send the spans that are left; blocks."""
        if self._traces is not None:
            self._traces.close()

    def refresh(self) -> None:
        """Take the figures of this moment; any thread may."""
        with self._lock:
            self._moment.show(self._read())


class _Gauges:
    """What is read at a moment: gauges, and counters that somebody else counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._hashing_running = self._sum("rollcall_hashing_running", "Hashes being computed.")
        self._hashing_queued = self._sum(
            "rollcall_hashing_queued",
            "Requests that wait for their turn to hash, and hashes that wait for a thread.",
        )
        self._hashing_workers = self._sum("rollcall_hashing_workers", "Threads that hash.")
        self._oldest_wait = self._max(
            "rollcall_hashing_oldest_wait_seconds", "How long who waits longest for a turn has waited."
        )
        self._done = _MirroredCounter(Counter("rollcall_hashing_done", "Hashes computed.", registry=registry))
        shed = Counter("rollcall_hashing_shed", "Hashes refused for want of room.", registry=registry)
        self._shed = _MirroredCounter(shed)
        self._replica_reads = Counter(
            "rollcall_replica_reads",
            "Reads that the read replica might have answered, by their outcome.",
            ("outcome",),
            registry=registry,
        )
        self._outcomes: dict[str, _MirroredCounter] = {}
        pool, state = "db_client_connection_pool_name", "db_client_connection_state"
        self._connections = self._sum("db_client_connection_count", "Connections.", pool, state)
        self._most = self._sum("db_client_connection_max", "Connections, at most.", pool)
        self._pending = self._sum("db_client_connection_pending_requests", "Waiting for one.", pool)
        self._revision = self._max("rollcall_schema_revision", "The database's revision; -1: not known.")

    def show(self, readings: MetricsSnapshot) -> None:
        hashing = readings.hashing
        self._hashing_running.set(hashing.running)
        self._hashing_queued.set(hashing.queued)
        self._hashing_workers.set(hashing.workers)
        self._oldest_wait.set(hashing.oldest_wait_seconds)
        self._done.reach(hashing.done_total)
        self._shed.reach(hashing.shed_total)
        for outcome, total in readings.replica_reads.items():
            if outcome not in self._outcomes:
                self._outcomes[outcome] = _MirroredCounter(self._replica_reads.labels(outcome))
            self._outcomes[outcome].reach(total)
        for pool in readings.pools:
            self._connections.labels(pool.name, "used").set(pool.used)
            self._connections.labels(pool.name, "idle").set(pool.idle)
            self._most.labels(pool.name).set(pool.limit)
            if pool.waiting is not None:
                self._pending.labels(pool.name).set(pool.waiting)
        revision = readings.schema_revision
        self._revision.set(-1 if revision is None else revision)

    def _sum(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self._registry, multiprocess_mode="livesum")

    def _max(self, name: str, about: str) -> Gauge:
        return Gauge(name, about, registry=self._registry, multiprocess_mode="livemax")


class _MirroredCounter:
    """A counter that follows a total counted elsewhere."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._reached = 0

    def reach(self, total: int) -> None:
        self._counter.inc(total - self._reached)
        self._reached = total


class _BuildInfo(Collector):
    """Tells the release; asked first, it also lets the others read the moment."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare

    def collect(self) -> Iterable[Metric]:
        self._prepare()
        about = {"version": __version__, "python_version": platform.python_version()}
        yield InfoMetricFamily("rollcall_build", "The release.", value=about)


def registry_of_workers() -> CollectorRegistry:
    """Give the figures of all workers that share the directory, read from its files."""
    return _registry_of_all(_BuildInfo(lambda: None))


def _registry_of_all(release: _BuildInfo) -> CollectorRegistry:
    registry = _registry_with(release)
    cast(Any, MultiProcessCollector)(registry)  # the library leaves it untyped
    return registry


def _registry_with(release: _BuildInfo) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(release)
    return registry
