"""Admission to hashing, end to end: refused in time, by turns, and taken back by nobody who hangs up."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import pytest
import pytest_asyncio

from service.observability.stats import HashingStats
from service.security.hashing.scheme import HashingScheme
from settings import Settings
from settings.passwords import PasswordSettings
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, RunningService, serving
from tests.support.databases import fetch_values


@dataclass
class Hall:
    """A service with one hashing thread, or more, which stand still until they are let go."""

    let_go: threading.Event = field(default_factory=threading.Event)
    inside: int = 0
    """How many hashes are being computed."""
    most_inside: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    service: RunningService | None = None

    @property
    def running(self) -> RunningService:
        assert self.service is not None
        return self.service

    def at(self, ip: str) -> Api:
        return Api(self.running.client(ip=ip), self.running.service)

    def knock(self, ip: str, login_id: str) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(self.at(ip).log_in(login_id, OTHER_PASSWORD))

    async def until(self, *, running: int = 1, queued: int) -> None:
        async with asyncio.timeout(30):
            while (self.stats.running, self.stats.queued) != (running, queued):  # noqa: ASYNC110 - the pool tells nobody
                await asyncio.sleep(0.005)

    @property
    def stats(self) -> HashingStats:
        return self.running.service.hasher.stats()

    def stand(self) -> None:
        """Stand still in a hashing thread."""
        with self.lock:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        assert self.let_go.wait(60)
        with self.lock:
            self.inside -= 1


@pytest_asyncio.fixture
async def hall(
    database: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Hall]:
    workers = getattr(request, "param", 1)
    passwords = PasswordSettings(
        memory_kib=8, iterations=1, workers=workers, max_queue=4, queue_timeout=timedelta(seconds=30)
    )
    hall, verify = Hall(), HashingScheme.verify

    def stand_still(self: HashingScheme, password_hash: str | None, password: str | None) -> bool:
        hall.stand()
        return verify(self, password_hash, password)

    monkeypatch.setattr(HashingScheme, "verify", stand_still)
    async with serving(Settings(profile="test", passwords=passwords), database) as hall.service:
        yield hall
        hall.let_go.set()


async def test_login_with_full_queue_gets_503_before_any_query(hall: Hall) -> None:
    waiting = [hall.knock("192.0.2.1", f"name-{turn}") for turn in range(7)]
    await hall.until(queued=6)
    refused = await hall.at("192.0.2.1").log_in("refused", OTHER_PASSWORD)
    assert (refused.status_code, refused.json()["code"]) == (503, "hashing_busy")
    assert int(refused.headers["Retry-After"]) >= 1
    engine = hall.running.service.engine
    assert await fetch_values(engine, "SELECT max(failures), count(*) FROM login_buckets") == [(1, 3)], (
        "who waits has been counted"
    )
    metrics = (await hall.at("192.0.2.1").get("/metrics")).text
    assert _metric(metrics, "rollcall_hashing_queued") == 6
    assert _metric(metrics, "rollcall_hashing_running") == 1
    assert _metric(metrics, "rollcall_hashing_oldest_wait_seconds") > 0
    assert (await hall.at("192.0.2.1").get("/health/live")).status_code == 200
    hall.let_go.set()
    assert [(await task).status_code for task in waiting] == [401] * 7


async def test_login_shed_for_another_network_is_not_counted(hall: Hall) -> None:
    flood = [hall.knock("192.0.2.1", f"name-{turn}") for turn in range(7)]
    await hall.until(queued=6)
    other = hall.knock("198.51.100.1", "other")
    done, _ = await asyncio.wait(flood, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status_code for task in done] == [503]
    engine = hall.running.service.engine
    assert await fetch_values(engine, "SELECT max(failures), count(*) FROM login_buckets") == [(1, 3)]
    hall.let_go.set()
    await asyncio.gather(*flood, other)


async def test_change_password_with_full_queue_gets_503_and_is_not_counted(hall: Hall) -> None:
    api = hall.at("192.0.2.1")
    ada, root = await api.account("ada"), api.by(await api.admin())
    issued = (await root.post(f"/v1/users/{ada.id}/reset-tokens")).json()["token"]
    waiting = [hall.knock("192.0.2.1", f"name-{turn}") for turn in range(7)]
    await hall.until(queued=6)
    changed, redeemed = (
        await api.by(ada).put(
            "/v1/users/me/password", {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
        ),
        await api.post("/v1/reset-tokens/redeem", {"token": issued, "new_password": OTHER_PASSWORD}),
    )
    assert [answer.json()["code"] for answer in (changed, redeemed)] == ["hashing_busy"] * 2
    engine = hall.running.service.engine
    assert await fetch_values(engine, "SELECT count(*) FROM login_buckets") == [(3,)]
    hall.let_go.set()
    await asyncio.gather(*waiting)
    answer = await api.post("/v1/reset-tokens/redeem", {"token": issued, "new_password": OTHER_PASSWORD})
    assert answer.status_code == 204


async def test_login_during_flood_from_another_network_succeeds(hall: Hall) -> None:
    flood = [hall.knock("192.0.2.1", f"name-{turn}") for turn in range(7)]
    await hall.until(queued=6)
    other = hall.knock("198.51.100.1", "other")
    done, _ = await asyncio.wait({*flood, other}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert {task.result().status_code for task in done} == {503}
    assert other not in done
    hall.let_go.set()
    assert (await other).status_code == 401
    assert sorted([(await task).status_code for task in flood]) == [401] * 6 + [503]


async def test_disconnect_while_hashing_keeps_the_thread_and_while_queued_leaves_the_queue(
    hall: Hall,
) -> None:
    """Source: argon2-cffi #53; Keycloak #28477: hanging up must not buy more hashes at once."""
    hashing = hall.knock("192.0.2.1", "hashing")
    await hall.until(queued=0)
    waiting = hall.knock("192.0.2.2", "waiting")
    await hall.until(queued=1)
    for task in (hashing, waiting):
        task.cancel()
    await hall.until(queued=0)
    later = hall.knock("192.0.2.3", "later")
    await hall.until(queued=1)
    hall.let_go.set()
    assert (await later).status_code == 401
    await hall.until(running=0, queued=0)
    assert hall.stats.done_total == 2
    counts = await fetch_values(hall.running.service.engine, "SELECT failures FROM login_buckets")
    assert counts == [(1,)] * 3, "who hangs up has made an attempt"


@pytest.mark.parametrize("hall", [2], indirect=True)
async def test_disconnect_repeatedly_exceeds_neither_threads_nor_queue(
    hall: Hall,
) -> None:
    """Source: OWASP ASVS 5.0 15.2.2: threads bound the processor, and with the queue the memory."""
    for turn in range(4):
        knocks = {hall.knock(f"192.0.{turn}.{n}", f"name-{turn}-{n}") for n in range(20)}
        pending = knocks
        async with asyncio.timeout(30):
            while len(pending) > 10:  # six were let in, and four wait
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        # The first two to be let in hang up as well, and keep the threads.
        await hall.until(running=2, queued=8 if turn == 0 else 10)
        assert hall.inside == 2
        refused = [task.result() for task in knocks - pending]
        assert {answer.status_code for answer in refused} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        for task in pending:
            task.cancel()
        await hall.until(running=2, queued=0)
    hall.let_go.set()
    await hall.until(running=0, queued=0)
    assert (hall.most_inside, hall.stats.done_total) == (2, 2)


async def test_requests_without_hashing_do_not_wait_for_the_queue(hall: Hall) -> None:
    """Source: Keycloak #28477: a flood of log-ins takes nothing from the other operations."""
    api = hall.at("198.51.100.1")
    root = api.by(await api.admin())
    flood = [hall.knock("192.0.2.1", f"name-{turn}") for turn in range(5)]
    await hall.until(queued=4)
    answers = [
        await api.get("/health/live"),
        await api.get("/health/ready"),
        await root.get("/v1/users/me"),
        await root.get("/v1/users"),
        await root.post("/v1/users", {"login_id": "ada", "name": "Ada"}),
        await root.delete("/v1/sessions/current"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 201, 204]
    assert (hall.stats.running, hall.stats.queued) == (1, 4)
    assert not any(knock.done() for knock in flood)
    hall.let_go.set()
    assert [(await knock).status_code for knock in flood] == [401] * 5


async def test_login_without_free_permit_waits_and_other_requests_do_not(hall: Hall) -> None:
    api = hall.at("198.51.100.1")
    root = api.by(await api.admin())
    acquire = hall.running.service.hasher.acquire
    async with acquire("192.0.2.1"), acquire("192.0.2.1"), acquire("192.0.2.1"):  # one thread, three permits
        knock = hall.knock("192.0.2.2", "ada")
        assert (await root.get("/v1/users/me")).status_code == 200
        assert (hall.stats.running, knock.done()) == (0, False)
    await hall.until(running=1, queued=0)
    hall.let_go.set()
    assert (await knock).status_code == 401


def _metric(text: str, name: str) -> float:
    return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name)))
