"""Prometheus metrics, with bounded labels and without names or paths.

Source: OpenTelemetry semantic conventions for HTTP and database clients; OWASP ASVS 5.0 16.2.5.
"""

import os
import platform
from collections import defaultdict
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
from service.observability.stats import MAIL_OUTCOMES, MetricsSnapshot
from service.observability.tracing import RequestTracer

SHARED_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable of prometheus_client: the directory in which worker processes share their metrics."""

cast(Any, disable_created_metrics)()  # a third of all lines, of no use here

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Those of the conventions, and two for reads, which are faster than the first of those."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNLOGGED: Final = frozenset({"/health/live", "/health/ready", "/metrics"})
_LOGIN: Final = ("POST", "/v1/sessions")
_LOGIN_OUTCOMES: Final = {201: "succeeded", 401: "failed", 429: "throttled", 503: "unavailable"}


class RequestTelemetry:
    """Counts, logs and traces every completed request, and collects the metrics of the process.

    `snapshot` returns the current figures; it is called at every scrape and by `refresh`. With several worker
    processes a scrape reads one of them, so each has to `refresh` every few seconds.
    """

    def __init__(
        self,
        snapshot: Callable[[], MetricsSnapshot],
        tracer: RequestTracer | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._tracer = tracer
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
        self._logins = Counter("rollcall_logins", "Login attempts by outcome.", ("outcome",), registry=own)
        for outcome in _LOGIN_OUTCOMES.values():
            self._logins.labels(outcome)
        self._events = Counter("rollcall_events", "Audit events by action.", ("action",), registry=own)
        for action in Action:
            self._events.labels(action.value)
        self._gauges = _Gauges(own)
        if not is_shared:
            ProcessCollector(registry=own)

    def observe(self, record: RequestRecord) -> None:
        """Record a completed request: metrics, access log and span."""
        method = record.method if record.method in _METHODS else "_OTHER"
        route = record.route or ""
        self._durations_of(method, route, record.status).observe(record.duration_s)
        if (method, route) == _LOGIN and record.status in _LOGIN_OUTCOMES:
            self._logins.labels(_LOGIN_OUTCOMES[record.status]).inc()
        if route in _UNLOGGED:
            return
        log_request(entry_from(record, method))
        if self._tracer is not None:
            self._tracer.observe(record)

    def _durations_of(self, method: str, route: str, status: int) -> Histogram:
        """Return the histogram of these labels, cached: the library's look-up costs more than `observe`."""
        labels = (method, route, status)
        found = self._durations.get(labels)
        if found is None:
            found = self._durations[labels] = self._requests.labels(method, route, str(status))
        return found

    def count(self, action: str) -> None:
        """Count a committed audit event."""
        self._events.labels(action).inc()

    def close(self) -> None:
        """Send the remaining spans; blocks."""
        if self._tracer is not None:
            self._tracer.close()

    def refresh(self) -> None:
        """Update the gauges from a snapshot; thread-safe."""
        with self._lock:
            self._gauges.update(self._snapshot())


class _Gauges:
    """Metrics that come from snapshots: gauges, and counters whose totals are counted elsewhere."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._hashing_running = self._sum("rollcall_hashing_running", "Hashes in progress.")
        self._hashing_queued = self._sum(
            "rollcall_hashing_queued", "Requests queued for a permit, and hashes queued for a thread."
        )
        self._hashing_workers = self._sum("rollcall_hashing_workers", "Hashing threads.")
        self._oldest_wait = self._max(
            "rollcall_hashing_oldest_wait_seconds", "Age of the oldest request in the queue."
        )
        self._done = self._total("rollcall_hashing_done", "Hashes computed.")
        self._shed = self._total(
            "rollcall_hashing_shed", "Hashes rejected because the queue was full or too slow."
        )
        self._replica_reads = self._total(
            "rollcall_replica_reads", "Reads for which the replica was considered, by outcome.", "outcome"
        )
        self._mails = self._total("rollcall_mails", "Mails by outcome.", "outcome")
        self._access_tokens = self._total("rollcall_access_tokens", "Access tokens issued.")
        self._mail_pending = self._max("rollcall_mail_pending", "Mails in the outbox.")
        self._mail_oldest = self._max("rollcall_mail_oldest_seconds", "Age of the oldest mail in the outbox.")
        pool, state = "db_client_connection_pool_name", "db_client_connection_state"
        self._connections = self._sum("db_client_connection_count", "Open connections.", pool, state)
        self._limit = self._sum("db_client_connection_max", "Maximum number of connections.", pool)
        self._pending = self._sum(
            "db_client_connection_pending_requests", "Requests waiting for a connection.", pool
        )
        self._revision = self._max("rollcall_schema_revision", "Revision of the database; -1 if unknown.")

    def update(self, snapshot: MetricsSnapshot) -> None:
        hashing = snapshot.hashing
        self._hashing_running.set(hashing.running)
        self._hashing_queued.set(hashing.queued)
        self._hashing_workers.set(hashing.workers)
        self._oldest_wait.set(hashing.oldest_wait_seconds)
        self._done.set(hashing.done_total)
        self._shed.set(hashing.shed_total)
        for outcome, total in snapshot.replica_reads.items():
            self._replica_reads.set(total, outcome)
        for outcome in MAIL_OUTCOMES:
            self._mails.set(snapshot.mail.outcomes.get(outcome, 0), outcome)
        self._mail_pending.set(snapshot.mail.pending)
        self._mail_oldest.set(snapshot.mail.oldest_seconds)
        self._access_tokens.set(snapshot.access_tokens_total)
        for pool in snapshot.pools:
            self._connections.labels(pool.name, "used").set(pool.used)
            self._connections.labels(pool.name, "idle").set(pool.idle)
            self._limit.labels(pool.name).set(pool.limit)
            if pool.waiting is not None:
                self._pending.labels(pool.name).set(pool.waiting)
        revision = snapshot.schema_revision
        self._revision.set(-1 if revision is None else revision)

    def _sum(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self._registry, multiprocess_mode="livesum")

    def _max(self, name: str, about: str) -> Gauge:
        return Gauge(name, about, registry=self._registry, multiprocess_mode="livemax")

    def _total(self, name: str, about: str, *labels: str) -> "_MirroredCounter":
        return _MirroredCounter(Counter(name, about, labels, registry=self._registry))


class _MirroredCounter:
    """A counter that follows totals counted elsewhere, one for each combination of labels."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._totals: defaultdict[tuple[str, ...], int] = defaultdict(int)

    def set(self, total: int, *labels: str) -> None:
        counter = self._counter.labels(*labels) if labels else self._counter
        counter.inc(total - self._totals[labels])
        self._totals[labels] = total


class _BuildInfo(Collector):
    """The build info. As the first collector of a scrape, it also refreshes the others."""

    def __init__(self, refresh: Callable[[], None]) -> None:
        self._refresh = refresh

    def collect(self) -> Iterable[Metric]:
        self._refresh()
        about = {"version": __version__, "python_version": platform.python_version()}
        yield InfoMetricFamily("rollcall_build", "Version of the service and of Python.", value=about)


def registry_of_workers() -> CollectorRegistry:
    """Return the metrics of all workers that share the directory."""
    return _registry_of_all(_BuildInfo(lambda: None))


def _registry_of_all(build_info: _BuildInfo) -> CollectorRegistry:
    registry = _registry_with(build_info)
    cast(Any, MultiProcessCollector)(registry)  # the library leaves it untyped
    return registry


def _registry_with(build_info: _BuildInfo) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(build_info)
    return registry
