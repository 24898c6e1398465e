"""Faults of the service's own processes: killed, rolled, drained, out of memory, out of descriptors."""

import asyncio
import json
import os
import re
import resource
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from harness.database import DatabaseProbe, holding_lock
from harness.http_client import Outcome, ServiceClient
from harness.processes import open_files_of
from harness.service_process import ServiceProcess, service_process
from harness.worker_pool import WorkerPool
from service.observability.metrics import SHARED_DIR
from tests.support.api import PASSWORD, Api
from tests.support.clusters import copy_migrated_cluster
from tests.support.faults import FaultEnvironment
from tests.support.servers import listening

WORKERS = 2
MEMORY_MIB = 64
"""Of one hash: a limit can lie between what everything else needs and what a hash needs."""


@dataclass(frozen=True)
class TwoWorkers:
    """A service with two workers on the tests' database."""

    service: ServiceProcess
    workers: WorkerPool
    database: DatabaseProbe

    def client(self, token: str | None) -> ServiceClient:
        return ServiceClient(self.service.port, token)

    def events(self) -> list[dict[str, object]]:
        """Return what the service has logged so far."""
        written = self.service.output()
        return [json.loads(line) for line in written[: written.rfind("\n") + 1].splitlines()]


@pytest_asyncio.fixture(scope="module")
async def two(tmp_path_factory: pytest.TempPathFactory, shared_database: str) -> AsyncIterator[TwoWorkers]:
    with service_process(
        tmp_path_factory.mktemp("workers"),
        DATABASE_URL=shared_database,
        ROLLCALL_HTTP__WORKERS=str(WORKERS),
        ROLLCALL_LOG__FORMAT="json",
        ROLLCALL_PASSWORDS__MEMORY_KIB=str(MEMORY_MIB * 1024),
    ) as service:
        workers = WorkerPool(service, WORKERS)
        await workers.wait_until_complete()
        yield TwoWorkers(service, workers, DatabaseProbe(shared_database))
        pids = workers.serving()
        assert service.stop() == 0
        assert not any(map(psutil.pid_exists, pids))


async def test_workers_leave_the_signals_of_a_terminal_to_the_supervisor(two: TwoWorkers) -> None:
    """Ctrl-C reaches every process of the terminal, and a second signal would end the drain of a worker."""
    workers = two.workers.serving()
    for worker in workers:
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(worker, number)
        assert {signal.SIGINT, signal.SIGHUP} <= pending_signals_of(worker)
    assert (await two.client(None).request("GET", "/health/ready")).status == 200
    assert two.workers.serving() == workers


def pending_signals_of(pid: int) -> set[int]:
    """Return the signals that a process has got and blocks."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = int(re.search(r"^ShdPnd:\s+([0-9a-f]+)$", status, re.MULTILINE)[1], 16)  # type: ignore[index]
    return {number for number in range(1, 65) if pending >> (number - 1) & 1}


def test_start_after_a_kill_finds_all_acknowledged_rows(tmp_path: Path) -> None:
    def log_in(service: ServiceProcess, password: str | None) -> str:
        opened = service.request("POST", "/v1/sessions", json={"login_id": "root", "password": password})
        token: str = opened.json()["token"]
        return token

    copy_migrated_cluster(tmp_path / "postgres")
    with service_process(tmp_path) as service:
        password = service.first_password()
        token = log_in(service, password)
        for number in range(20):
            body = {"login_id": f"user{number}", "name": "U"}
            assert service.request("POST", "/v1/users", token, body).status_code == 201
        service.process.kill()
        service.process.wait()

    with service_process(tmp_path) as again:
        listed = again.request("GET", "/v1/users?limit=100", log_in(again, password)).json()
        assert {f"user{number}" for number in range(20)} <= {item["login_id"] for item in listed["items"]}


@dataclass
class Writer:
    """Creates accounts one after the other, and records the outcomes."""

    client: ServiceClient
    name: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    is_done: bool = False

    async def run(self) -> None:
        while not self.is_done:
            login_id = f"{self.name}-{len(self.outcomes)}"
            body = {"login_id": login_id, "name": "W"}
            self.outcomes[login_id] = (await self.client.request("POST", "/v1/users", body)).outcome


async def test_writes_while_workers_are_rolled_and_killed_lose_nothing(two: TwoWorkers, api: Api) -> None:
    client = two.client((await api.admin()).token)
    writers = [Writer(client, f"writer{number}") for number in range(3)]
    tasks = [asyncio.create_task(writer.run()) for writer in writers]
    for number in (signal.SIGTERM, signal.SIGKILL):
        worker = two.workers.serving()[0]
        os.kill(worker, number)
        await two.workers.wait_until_complete(without=worker)
    for writer in writers:
        writer.is_done = True
    await asyncio.gather(*tasks)
    outcomes = {login_id: outcome for writer in writers for login_id, outcome in writer.outcomes.items()}
    there = {row[0] for row in await two.database.fetch("SELECT login_id FROM users WHERE name = 'W'")}
    assert {login_id for login_id, outcome in outcomes.items() if outcome is Outcome.OK} <= there
    assert not {login_id for login_id, outcome in outcomes.items() if outcome is Outcome.REJECTED} & there
    assert await two.database.fetch("SELECT count(*) FROM events") == [(len(there),)], "half-written"
    deaths = [event["exit_code"] for event in two.events() if event["event"] == "worker_died"]
    assert deaths == [0, -signal.SIGKILL]
    assert slots_with_metrics(two.workers.serving()[0]) == {"0", "1"}, "the dead have left files"


def slots_with_metrics(worker: int) -> set[str]:
    """Return the slots whose metrics this worker and its neighbours share."""
    directory = Path(psutil.Process(worker).environ()[SHARED_DIR])
    return {file.stem.rpartition("_")[2] for file in directory.iterdir()}


@contextmanager
def limited(workers: list[int], what: int, limits: list[int]) -> Iterator[None]:
    """Limit a resource of workers while the block runs."""
    before = [resource.prlimit(worker, what) for worker in workers]
    for worker, limit, (_, hard) in zip(workers, limits, before, strict=True):
        resource.prlimit(worker, what, (limit, hard))
    try:
        yield
    finally:
        for worker, limits_before in zip(workers, before, strict=True):
            resource.prlimit(worker, what, limits_before)


async def test_log_in_without_memory_for_a_hash_gets_503_and_other_requests_succeed(
    two: TwoWorkers, api: Api
) -> None:
    client, workers = two.client((await api.admin()).token), two.workers.serving()
    attempts = [{"login_id": f"name-{number}", "password": PASSWORD} for number in range(8)]
    address_spaces = [psutil.Process(worker).memory_info().vms for worker in workers]
    limits = [address_space + MEMORY_MIB // 2 * 1024 * 1024 for address_space in address_spaces]
    with limited(workers, resource.RLIMIT_AS, limits):
        *rejected, read, written = await asyncio.gather(
            *(client.request("POST", "/v1/sessions", body) for body in attempts),
            client.request("GET", "/v1/users/me"),
            client.request("POST", "/v1/users", {"login_id": "ada", "name": "Ada"}),
        )
    assert {result.summary for result in rejected} == {"503 hashing_busy"}
    assert [read.status, written.status] == [200, 201]
    failures = await two.database.fetch("SELECT max(failures) FROM login_buckets")
    assert failures == [(0,)], "they counted as failed attempts"
    assert (await client.request("POST", "/v1/sessions", attempts[0])).status == 401
    assert two.workers.serving() == workers


async def wait_until_asleep(pid: int) -> None:
    """Wait until a process sleeps: one that retries a failing accept in a loop never does."""
    worker = psutil.Process(pid)
    async with asyncio.timeout(30):
        asleep = 0
        while asleep < 20:
            asleep = asleep + 1 if worker.status() == psutil.STATUS_SLEEPING else 0
            await asyncio.sleep(0.005)


async def test_workers_without_descriptors_sleep_and_accept_again_later(two: TwoWorkers, api: Api) -> None:
    client, workers = two.client((await api.admin()).token), two.workers.serving()
    limits = [open_files_of(worker) + 4 for worker in workers]
    with limited(workers, resource.RLIMIT_NOFILE, limits):
        idle = [await asyncio.open_connection("127.0.0.1", two.service.port) for _ in range(30)]
        ended = [asyncio.create_task(reader.read()) for reader, _ in idle]
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        assert any(task.done() for task in ended), "there were descriptors for all of them"
        for worker in workers:
            await wait_until_asleep(worker)
        for _, writer in idle:
            writer.transport.abort()
        await asyncio.wait(ended)
        async with asyncio.timeout(30):
            while (await client.request("GET", "/v1/users/me")).status != 200:
                pass
    assert two.workers.serving() == workers


async def wait_until_refused(port: int) -> None:
    """Wait until connections are refused."""
    async with asyncio.timeout(30):
        while True:
            with socket.socket() as probe:
                probe.settimeout(0.05)  # a handshake that is ignored waits for a second
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("signals", [1, 2])
async def test_terminate_under_load_finishes_requests_unless_signalled_twice(
    long_env: FaultEnvironment, signals: int
) -> None:
    root = await long_env.admin()
    async with listening(long_env.running) as server, asyncio.timeout(30):
        client = ServiceClient(server.port, root.token)
        async with holding_lock(long_env.database, "LOCK TABLE events"):
            writes = [
                asyncio.create_task(client.request("POST", "/v1/users", {"login_id": f"u{n}", "name": "U"}))
                for n in range(4)
            ]
            while len(server.requests) < 4:  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(0.005)
            os.kill(os.getpid(), signal.SIGTERM)
            while not long_env.running.service.readiness.is_draining:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0)
            assert (await long_env.api.get("/health/ready")).status_code == 503
            assert (await long_env.api.get("/health/live")).status_code == 200
            await wait_until_refused(server.port)
            assert not server.ended.done()
            if signals == 2:
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.shield(server.ended)
                assert len(server.requests) == 4
        results = await asyncio.gather(*writes)
        await server.ended
    assert [result.status for result in results] == [201] * 4
    assert await long_env.database.fetch("SELECT count(*) FROM events") == [(4,)]
