"""The hashing queue, end to end: bounded, fair, and unaffected by clients that disconnect."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import pytest
import pytest_asyncio

from service.db.repositories.emails import EmailReads
from service.domain.users import User
from service.observability.stats import HashingStats
from service.security.hashing.scheme import HashingScheme
from settings import Settings
from settings.passwords import PasswordSettings
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, RunningService, serving
from tests.support.databases import fetch_values


@dataclass
class BlockedHasher:
    """A service whose hashing threads block until `unblock` is set."""

    unblock: threading.Event = field(default_factory=threading.Event)
    hashing_now: int = 0
    """Hashes that are being computed."""
    max_hashing: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    service: RunningService | None = None

    @property
    def running(self) -> RunningService:
        assert self.service is not None
        return self.service

    def at(self, ip: str) -> Api:
        return Api(self.running.client(ip=ip), self.running.service)

    def send_login(self, ip: str, login_id: str) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(self.at(ip).log_in(login_id, OTHER_PASSWORD))

    async def wait_until(self, *, running: int = 1, queued: int) -> None:
        async with asyncio.timeout(30):
            while (self.stats.running, self.stats.queued) != (running, queued):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.005)

    @property
    def stats(self) -> HashingStats:
        return self.running.service.hasher.stats()

    def block(self) -> None:
        """Block a hashing thread."""
        with self.lock:
            self.hashing_now += 1
            self.max_hashing = max(self.max_hashing, self.hashing_now)
        assert self.unblock.wait(60)
        with self.lock:
            self.hashing_now -= 1


@pytest_asyncio.fixture
async def blocked(
    database: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[BlockedHasher]:
    workers = getattr(request, "param", 1)
    passwords = PasswordSettings(
        memory_kib=8, iterations=1, workers=workers, max_queue=4, queue_timeout=timedelta(seconds=30)
    )
    blocked, verify = BlockedHasher(), HashingScheme.verify

    def verify_blocked(self: HashingScheme, password_hash: str | None, password: str | None) -> bool:
        blocked.block()
        return verify(self, password_hash, password)

    monkeypatch.setattr(HashingScheme, "verify", verify_blocked)
    async with serving(Settings(profile="test", passwords=passwords), database) as blocked.service:
        yield blocked
        blocked.unblock.set()


async def test_login_with_full_queue_gets_503_before_any_query(blocked: BlockedHasher) -> None:
    waiting = [blocked.send_login("192.0.2.1", f"name-{turn}") for turn in range(7)]
    await blocked.wait_until(queued=6)
    rejected = await blocked.at("192.0.2.1").log_in("rejected", OTHER_PASSWORD)
    assert (rejected.status_code, rejected.json()["code"]) == (503, "hashing_busy")
    assert int(rejected.headers["Retry-After"]) >= 1
    engine = blocked.running.service.engine
    assert await fetch_values(engine, "SELECT max(failures), count(*) FROM login_buckets") == [(1, 3)], (
        "a queued login was counted"
    )
    metrics = (await blocked.at("192.0.2.1").get("/metrics")).text
    assert _metric(metrics, "rollcall_hashing_queued") == 6
    assert _metric(metrics, "rollcall_hashing_running") == 1
    assert _metric(metrics, "rollcall_hashing_oldest_wait_seconds") > 0
    assert (await blocked.at("192.0.2.1").get("/health/live")).status_code == 200
    blocked.unblock.set()
    assert [(await task).status_code for task in waiting] == [401] * 7


async def test_login_by_address_with_full_queue_gets_503_before_any_query(
    blocked: BlockedHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up, find = [], EmailReads.get_by_verified

    async def find_and_note(reads: EmailReads, email: str) -> User | None:
        looked_up.append(email)
        return await find(reads, email)

    monkeypatch.setattr(EmailReads, "get_by_verified", find_and_note)
    waiting = [blocked.send_login("192.0.2.1", f"name-{turn}") for turn in range(7)]
    await blocked.wait_until(queued=6)
    body = {"email": "ada@example.org", "password": OTHER_PASSWORD}
    rejected = await blocked.at("192.0.2.1").post("/v1/sessions", body)
    assert (rejected.json()["code"], looked_up) == ("hashing_busy", [])
    blocked.unblock.set()
    await asyncio.gather(*waiting)
    assert (await blocked.at("192.0.2.1").post("/v1/sessions", body)).status_code == 401
    assert looked_up == ["ada@example.org"]


async def test_login_shed_for_another_network_is_not_counted(blocked: BlockedHasher) -> None:
    flood = [blocked.send_login("192.0.2.1", f"name-{turn}") for turn in range(7)]
    await blocked.wait_until(queued=6)
    other = blocked.send_login("198.51.100.1", "other")
    done, _ = await asyncio.wait(flood, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status_code for task in done] == [503]
    engine = blocked.running.service.engine
    assert await fetch_values(engine, "SELECT max(failures), count(*) FROM login_buckets") == [(1, 3)]
    blocked.unblock.set()
    await asyncio.gather(*flood, other)


async def test_change_password_with_full_queue_gets_503_and_is_not_counted(blocked: BlockedHasher) -> None:
    api = blocked.at("192.0.2.1")
    ada, root = await api.account("ada"), api.by(await api.admin())
    issued = (await root.post(f"/v1/users/{ada.id}/reset-tokens")).json()["token"]
    waiting = [blocked.send_login("192.0.2.1", f"name-{turn}") for turn in range(7)]
    await blocked.wait_until(queued=6)
    changed, redeemed = (
        await api.by(ada).put(
            "/v1/users/me/password", {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
        ),
        await api.post("/v1/reset-tokens/redeem", {"token": issued, "new_password": OTHER_PASSWORD}),
    )
    assert [answer.json()["code"] for answer in (changed, redeemed)] == ["hashing_busy"] * 2
    engine = blocked.running.service.engine
    assert await fetch_values(engine, "SELECT count(*) FROM login_buckets") == [(3,)]
    blocked.unblock.set()
    await asyncio.gather(*waiting)
    answer = await api.post("/v1/reset-tokens/redeem", {"token": issued, "new_password": OTHER_PASSWORD})
    assert answer.status_code == 204


async def test_login_during_flood_from_another_network_succeeds(blocked: BlockedHasher) -> None:
    flood = [blocked.send_login("192.0.2.1", f"name-{turn}") for turn in range(7)]
    await blocked.wait_until(queued=6)
    other = blocked.send_login("198.51.100.1", "other")
    done, _ = await asyncio.wait({*flood, other}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert {task.result().status_code for task in done} == {503}
    assert other not in done
    blocked.unblock.set()
    assert (await other).status_code == 401
    assert sorted([(await task).status_code for task in flood]) == [401] * 6 + [503]


async def test_login_during_flood_from_many_networks_of_one_provider_succeeds(
    blocked: BlockedHasher,
) -> None:
    """None of them has more than one waiting."""
    flood = [blocked.send_login(f"2001:db8:0:{turn}::1", f"name-{turn}") for turn in range(7)]
    await blocked.wait_until(queued=6)
    other = blocked.send_login("198.51.100.1", "other")
    done, _ = await asyncio.wait({*flood, other}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert {task.result().status_code for task in done} == {503}
    assert other not in done
    blocked.unblock.set()
    assert (await other).status_code == 401
    assert sorted([(await task).status_code for task in flood]) == [401] * 6 + [503]


async def test_disconnect_while_hashing_keeps_the_thread_and_while_queued_leaves_the_queue(
    blocked: BlockedHasher,
) -> None:
    """Source: argon2-cffi #53; Keycloak #28477: disconnecting must not allow more concurrent hashes."""
    hashing = blocked.send_login("192.0.2.1", "hashing")
    await blocked.wait_until(queued=0)
    waiting = blocked.send_login("192.0.2.2", "waiting")
    await blocked.wait_until(queued=1)
    for task in (hashing, waiting):
        task.cancel()
    await blocked.wait_until(queued=0)
    later = blocked.send_login("192.0.2.3", "later")
    await blocked.wait_until(queued=1)
    blocked.unblock.set()
    assert (await later).status_code == 401
    await blocked.wait_until(running=0, queued=0)
    assert blocked.stats.done_total == 2
    counts = await fetch_values(blocked.running.service.engine, "SELECT failures FROM login_buckets")
    assert counts == [(1,)] * 3, "a disconnected login was not counted"


@pytest.mark.parametrize("blocked", [2], indirect=True)
async def test_disconnect_repeatedly_exceeds_neither_threads_nor_queue(
    blocked: BlockedHasher,
) -> None:
    """Source: OWASP ASVS 5.0 15.2.2: threads bound the processor, and with the queue the memory."""
    for turn in range(4):
        logins = {blocked.send_login(f"192.0.{turn}.{n}", f"name-{turn}-{n}") for n in range(20)}
        pending = logins
        async with asyncio.timeout(30):
            while len(pending) > 10:  # six have a permit, and four wait
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        # The first two disconnect as well, and keep the threads.
        await blocked.wait_until(running=2, queued=8 if turn == 0 else 10)
        assert blocked.hashing_now == 2
        rejected = [task.result() for task in logins - pending]
        assert {answer.status_code for answer in rejected} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in rejected)
        for task in pending:
            task.cancel()
        await blocked.wait_until(running=2, queued=0)
    blocked.unblock.set()
    await blocked.wait_until(running=0, queued=0)
    assert (blocked.max_hashing, blocked.stats.done_total) == (2, 2)


async def test_requests_without_hashing_do_not_wait_for_the_queue(blocked: BlockedHasher) -> None:
    """Source: Keycloak #28477: a flood of logins does not slow other operations."""
    api = blocked.at("198.51.100.1")
    root = api.by(await api.admin())
    flood = [blocked.send_login("192.0.2.1", f"name-{turn}") for turn in range(5)]
    await blocked.wait_until(queued=4)
    answers = [
        await api.get("/health/live"),
        await api.get("/health/ready"),
        await root.get("/v1/users/me"),
        await root.get("/v1/users"),
        await root.post("/v1/users", {"login_id": "ada", "name": "Ada"}),
        await root.delete("/v1/sessions/current"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 201, 204]
    assert (blocked.stats.running, blocked.stats.queued) == (1, 4)
    assert not any(login.done() for login in flood)
    blocked.unblock.set()
    assert [(await login).status_code for login in flood] == [401] * 5


async def test_login_without_free_permit_waits_and_other_requests_do_not(blocked: BlockedHasher) -> None:
    api = blocked.at("198.51.100.1")
    root = api.by(await api.admin())
    acquire = blocked.running.service.hasher.acquire
    async with acquire("192.0.2.1"), acquire("192.0.2.1"), acquire("192.0.2.1"):  # one thread, three permits
        login = blocked.send_login("192.0.2.2", "ada")
        await blocked.wait_until(running=0, queued=1)
        assert (await root.get("/v1/users/me")).status_code == 200
        assert (blocked.stats.running, login.done()) == (0, False)
    await blocked.wait_until(running=1, queued=0)
    blocked.unblock.set()
    assert (await login).status_code == 401


def _metric(text: str, name: str) -> float:
    return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name)))
