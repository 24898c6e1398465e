"""Faults of the service's own processes: killed, rolled, told to end, out of memory, out of descriptors."""

import asyncio
import json
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from harness.http_client import Client
from harness.processes import open_files_of
from harness.service_process import ServiceProcess, service_process
from service.embedded.server import EmbeddedPostgres
from settings.database import DatabaseSettings
from settings.http import HttpSettings
from tests.faults.conftest import Seen, Stage, placed, staged
from tests.faults.test_postgres import holding
from tests.support.api import PASSWORD, Api
from tests.support.settings import settings_for_tests
from tools.chaos.history import Outcome

MEMORY_MIB = 64
"""Of one hash, so that a limit can lie between what the rest needs and what a hash does."""


@dataclass(frozen=True)
class House:
    """A service with two workers on the tests' database."""

    service: ServiceProcess
    seen: Seen

    @property
    def port(self) -> int:
        return int(self.service.url.rpartition(":")[2])

    def workers(self) -> list[psutil.Process]:
        """Give the workers that can serve."""
        children = psutil.Process(self.service.process.pid).children()
        serving = {line["worker"] for line in self.lines() if line["event"] == "serving"}
        return [child for child in children if child.pid in serving]

    def lines(self) -> list[dict[str, object]]:
        written = self.service.output()
        return [json.loads(line) for line in written[: written.rfind("\n") + 1].splitlines()]

    async def until_complete(self, *, without: int = 0) -> None:
        async with asyncio.timeout(60):
            while len({worker.pid for worker in self.workers()} - {without}) < 2:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, shared_database: str) -> AsyncIterator[House]:
    with service_process(
        tmp_path_factory.mktemp("house"),
        DATABASE_URL=shared_database,
        ROLLCALL_HTTP__WORKERS="2",
        ROLLCALL_LOG__FORMAT="json",
        ROLLCALL_PASSWORDS__MEMORY_KIB=str(MEMORY_MIB * 1024),
    ) as service:
        house = House(service, Seen(shared_database))
        await house.until_complete()
        yield house
        workers = house.workers()
        assert service.stop() == 0
        assert not any(worker.is_running() for worker in workers)


def test_service_killed_opens_its_database_with_all_acknowledged_rows(tmp_path: Path) -> None:
    def log_in(service: ServiceProcess, password: str | None) -> str:
        answer = service.request("POST", "/v1/sessions", json={"login_id": "root", "password": password})
        token: str = answer.json()["token"]
        return token

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
class Load:
    """Creates accounts one after the other, and remembers what it was told."""

    client: Client
    name: str
    told: dict[str, Outcome] = field(default_factory=dict)
    is_done: bool = False

    async def run(self) -> None:
        while not self.is_done:
            login_id = f"{self.name}-{len(self.told)}"
            body = {"login_id": login_id, "name": "L"}
            self.told[login_id] = (await self.client.request("POST", "/v1/users", body)).outcome


async def test_workers_rolled_and_killed_under_load_are_replaced_and_lose_nothing(
    house: House, api: Api
) -> None:
    client = Client(house.port, (await api.admin()).token)
    loads = [Load(client, f"load{number}") for number in range(3)]
    tasks = [asyncio.create_task(load.run()) for load in loads]
    for number in (signal.SIGTERM, signal.SIGKILL):
        worker = house.workers()[0].pid
        os.kill(worker, number)
        await house.until_complete(without=worker)
    for load in loads:
        load.is_done = True
    await asyncio.gather(*tasks)
    told = {login_id: outcome for load in loads for login_id, outcome in load.told.items()}
    there = {row[0] for row in await house.seen.fetch("SELECT login_id FROM users WHERE name = 'L'")}
    assert {login_id for login_id, outcome in told.items() if outcome is Outcome.OK} <= there
    assert not {login_id for login_id, outcome in told.items() if outcome is Outcome.REFUSED} & there
    assert await house.seen.fetch("SELECT count(*) FROM events") == [(len(there),)], "half-written"
    deaths = [line["exit_code"] for line in house.lines() if line["event"] == "worker_died"]
    assert deaths == [0, -signal.SIGKILL]


@contextmanager
def limited(workers: list[psutil.Process], what: int, limits: list[int]) -> Iterator[None]:
    """Limit what workers may use, for as long as the block runs."""
    before = [resource.prlimit(worker.pid, what) for worker in workers]
    for worker, limit, (_, hard) in zip(workers, limits, before, strict=True):
        resource.prlimit(worker.pid, what, (limit, hard))
    try:
        yield
    finally:
        for worker, limits_before in zip(workers, before, strict=True):
            resource.prlimit(worker.pid, what, limits_before)


async def test_log_ins_without_memory_for_a_hash_are_refused_and_nothing_else_is(
    house: House, api: Api
) -> None:
    client, workers = Client(house.port, (await api.admin()).token), house.workers()
    attempts = [{"login_id": f"name-{number}", "password": PASSWORD} for number in range(8)]
    with limited(
        workers,
        resource.RLIMIT_AS,
        [worker.memory_info().vms + MEMORY_MIB // 2 * 1024 * 1024 for worker in workers],
    ):
        flood = [client.request("POST", "/v1/sessions", body) for body in attempts]
        *refused, read, written = await asyncio.gather(
            *flood,
            client.request("GET", "/v1/users/me"),
            client.request("POST", "/v1/users", {"login_id": "ada", "name": "Ada"}),
        )
    assert {answer.word for answer in refused} == {"503 hashing_busy"}
    assert [read.status, written.status] == [200, 201]
    assert await house.seen.fetch("SELECT max(failures) FROM login_buckets") == [(0,)], "they cost nothing"
    assert (await client.request("POST", "/v1/sessions", attempts[0])).status == 401
    assert house.workers() == workers


async def until_asleep(worker: psutil.Process) -> None:
    """Wait until a process rests: who asks again and again for what it cannot get never does."""
    async with asyncio.timeout(30):
        looks = 0
        while looks < 20:
            looks = looks + 1 if worker.status() == psutil.STATUS_SLEEPING else 0
            await asyncio.sleep(0.005)


async def test_workers_without_descriptors_rest_and_accept_again(house: House, api: Api) -> None:
    client, workers = Client(house.port, (await api.admin()).token), house.workers()
    limits = [open_files_of(worker.pid) + 4 for worker in workers]
    with limited(workers, resource.RLIMIT_NOFILE, limits):
        idle = [await asyncio.open_connection("127.0.0.1", house.port) for _ in range(30)]
        ended = [asyncio.create_task(reader.read()) for reader, _ in idle]
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        assert any(task.done() for task in ended), "there was room for all of them"
        for worker in workers:
            await until_asleep(worker)
        for _, writer in idle:
            writer.transport.abort()
        await asyncio.wait(ended)
        async with asyncio.timeout(30):
            while (await client.request("GET", "/v1/users/me")).status != 200:
                pass
    assert house.workers() == workers


PATIENT = timedelta(minutes=1)


@pytest_asyncio.fixture
async def patient(postgres: EmbeddedPostgres, shared_database: str) -> AsyncIterator[Stage]:
    """As `patient_stage`, for what waits until the test lets it go."""
    database = DatabaseSettings(lock_timeout=PATIENT, statement_timeout=PATIENT, command_timeout=2 * PATIENT)
    http = HttpSettings(request_timeout=3 * PATIENT)
    settings = settings_for_tests(database=database, http=http)
    async with staged(postgres, Path(), shared_database, settings) as stage:
        yield stage


async def refuses(port: int) -> None:
    """Wait until nobody is accepted any more."""
    async with asyncio.timeout(30):
        while True:
            with socket.socket() as probe:
                probe.settimeout(0.05)  # a handshake that is ignored waits for a second
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("signals", [1, 2])
async def test_service_told_to_end_under_load_answers_what_is_in_flight_unless_told_twice(
    patient: Stage, signals: int
) -> None:
    root = await patient.admin()
    async with placed(patient.running) as place, asyncio.timeout(30):
        client, tasks = Client(place.address[1], root.token or ""), place.server.server_state.tasks
        async with holding(patient, "LOCK TABLE events"):
            writes = [
                asyncio.create_task(client.request("POST", "/v1/users", {"login_id": f"u{n}", "name": "U"}))
                for n in range(4)
            ]
            while len(tasks) < 4:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.005)
            os.kill(os.getpid(), signal.SIGTERM)
            while not patient.running.service.is_draining:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0)
            assert (await patient.api.get("/health/ready")).status_code == 503
            assert (await patient.api.get("/health/live")).status_code == 200
            await refuses(place.address[1])
            assert not place.ended.done()
            if signals == 2:
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.shield(place.ended)
                assert len(tasks) == 4
        answers = await asyncio.gather(*writes)
        await place.ended
    assert [answer.status for answer in answers] == [201] * 4
    assert await patient.seen.fetch("SELECT count(*) FROM events") == [(4,)]
