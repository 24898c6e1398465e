"""Metrics of a process, and of several workers."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.domain.callers import OPERATOR
from service.domain.errors import NotFound
from service.domain.events import Action, AuditContext
from service.domain.keys import Scope
from tests.api.test_access_tokens import issue, settings_with_tokens
from tests.support.api import PASSWORD, Api, serving
from tests.support.databases import empty_all_tables
from tests.support.settings import settings_for_tests

ROOT = Path(__file__).parents[2]
_PIPES: dict[str, Any] = {
    "stdin": subprocess.PIPE,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.DEVNULL,
    "text": True,
}
_WORKER = """
import structlog, sys
structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
from service.observability.access_log import RequestRecord
from service.observability.metrics import RequestTelemetry
from service.observability.stats import HashingStats, MetricsSnapshot

snapshot = MetricsSnapshot(HashingStats(2, 0, float(sys.argv[1]), 0, 3, 1), (), 7)
telemetry = RequestTelemetry(lambda: snapshot)
telemetry.observe(RequestRecord("POST", "/v1/sessions", 201, 0.01, "id", "unknown", None))
telemetry.refresh()
print("ready", flush=True)
if sys.stdin.readline() == "scrape\\n":
    from prometheus_client import generate_latest
    print(generate_latest(telemetry.registry).decode())
"""


@pytest_asyncio.fixture
async def fresh(shared_database: str) -> AsyncIterator[Api]:
    """An application whose counters start at 0."""
    async with serving(settings_for_tests(), shared_database) as running, running.client() as client:
        await empty_all_tables(running.service.engine)
        yield Api(client, running.service)


async def test_scrape_counts_requests_by_route_template(fresh: Api) -> None:
    admin = await fresh.admin()
    await fresh.by(admin).get(f"/v1/users/{admin.id}")
    await fresh.by(admin).get("/v1/users/me")
    await fresh.get("/v1/nowhere/at/all")
    await fresh.request("PURGE", "/v1/users")
    await fresh.put("/v1/users", {})

    assert (await _samples(fresh))["http_server_request_duration_seconds_count"] == {
        ("GET", "200", "/v1/users/{user_id}"): 2,
        ("GET", "404", ""): 1,
        ("PUT", "405", ""): 1,
        ("_OTHER", "405", ""): 1,
    }


async def test_scrape_counts_logins_by_outcome(fresh: Api) -> None:
    await fresh.account("ada")
    await fresh.log_in("ada")
    await fresh.log_in("ada", "not the password at all")
    await fresh.log_in("nobody", PASSWORD)

    samples = await _samples(fresh)
    assert _only(samples["rollcall_logins_total"]) == {
        "succeeded": 1,
        "failed": 2,
        "throttled": 0,
        "unavailable": 0,
    }
    assert samples["rollcall_hashing_done_total"][()] == 4
    events = _only(samples["rollcall_events_total"])
    assert (events["login.succeeded"], events["login.failed"]) == (1, 2)


async def test_scrape_counts_access_tokens_and_the_rotation_in_the_background(
    fresh: Api, shared_database: str
) -> None:
    ada = await fresh.account("ada")
    async with serving(settings_with_tokens(), shared_database) as running, running.client() as client:
        issuing = Api(client, running.service)
        for _ in range(2):
            await issue(issuing.by(ada))
        refused = await issuing.by(ada).post("/v1/tokens", {"audience": "https://elsewhere.example.org"})
        samples = await _samples(issuing)
    assert refused.status_code == 422
    assert samples["rollcall_access_tokens_total"][()] == 2
    assert _only(samples["rollcall_events_total"])["signing_key.rotated"] == 1


async def test_scrape_does_not_count_rolled_back_audit_events(fresh: Api) -> None:
    async def record(tx: Transaction) -> None:
        await EventRepository(tx).add(AuditContext(OPERATOR), Action.KEY_CREATED, None)

    async def record_and_fail(tx: Transaction) -> None:
        await record(tx)
        raise NotFound

    await fresh.service.database.run(record, caller=OPERATOR)
    with pytest.raises(NotFound):
        await fresh.service.database.run(record_and_fail, caller=OPERATOR)

    assert _only((await _samples(fresh))["rollcall_events_total"])["key.created"] == 1


async def test_scrape_shows_schema_connections_and_threads(fresh: Api) -> None:
    samples = await _samples(fresh)

    assert samples["rollcall_schema_revision"][()] >= 10
    assert samples["rollcall_hashing_workers"][()] == 2
    most, connections = samples["db_client_connection_max"], samples["db_client_connection_count"]
    assert most[("requests",)] == 10
    assert connections[("read", "idle")] == most[("read",)] == 4
    assert connections[("requests", "used")] >= 4
    assert samples["process_resident_memory_bytes"][()] > 0


async def test_scrape_contains_no_name_and_no_secret(fresh: Api) -> None:
    ada = await fresh.account("ada-of-the-metrics")
    await fresh.log_in(ada.login_id)
    key = await fresh.key(Scope.SESSIONS_INTROSPECT)
    await fresh.by(key).post("/v1/introspect", {"token": ada.token})

    text = (await fresh.get("/metrics")).text
    assert not [secret for secret in (ada.login_id, ada.token, str(ada.id), key, PASSWORD) if secret in text]


async def test_metrics_on_another_port_or_disabled_are_not_served_by_the_api(shared_database: str) -> None:
    for chosen in ({"port": 9100}, {"enabled": False}):
        async with (
            serving(settings_for_tests(metrics=chosen), shared_database) as running,
            running.client() as client,
        ):
            assert (await client.get("/metrics")).status_code == 404


def test_scrape_of_one_worker_returns_the_sum_of_all(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with ExitStack() as running:
        workers = [
            running.enter_context(
                subprocess.Popen([sys.executable, "-c", _WORKER, wait], env=environment, **_PIPES)
            )
            for wait in ("1.5", "0.5")
        ]
        assert [worker.stdout.readline() for worker in workers if worker.stdout] == ["ready\n", "ready\n"]
        output, _ = workers[0].communicate("scrape\n", timeout=60)

    samples = _parse(output)
    assert samples["rollcall_logins_total"][("succeeded",)] == 2
    assert samples["rollcall_hashing_done_total"][()] == 6
    assert samples["rollcall_hashing_workers"][()] == 4
    assert samples["rollcall_hashing_oldest_wait_seconds"][()] == pytest.approx(1.5)
    assert samples["rollcall_schema_revision"][()] == 7
    assert "rollcall_build_info" in samples


Samples = dict[str, dict[tuple[str, ...], float]]


async def _samples(api: Api) -> Samples:
    response = await api.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return _parse(response.text)


def _parse(text: str) -> Samples:
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            samples.setdefault(sample.name, {})[labels] = sample.value
    return samples


def _only(samples: dict[tuple[str, ...], float]) -> dict[str, float]:
    return {labels[0]: value for labels, value in samples.items()}
