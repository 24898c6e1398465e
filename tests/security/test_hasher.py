import itertools
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from argon2.low_level import verify_secret
from structlog.testing import capture_logs

from service.domain.errors import HashingBusy
from service.security.hashing import imported_hashes
from service.security.hashing.hasher import PasswordHasher
from service.security.hashing.scheme import HashingScheme

PASSWORD = "green ladders sing at noon"


def make_hasher(workers: int | None = None) -> PasswordHasher:
    return PasswordHasher(memory_kib=64, iterations=2, parallelism=1, workers=workers)


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    hasher = make_hasher(workers=1)
    yield hasher
    hasher.close()


async def test_permit_hashes_and_verifies(hasher: PasswordHasher) -> None:
    async with hasher.acquire("192.0.2.0/24") as permit:
        password_hash = await permit.hash(PASSWORD)
        assert await permit.verify(password_hash, PASSWORD)
        assert not await permit.verify(password_hash, "wrong")
        assert not await permit.verify(None, None)
    assert not hasher.needs_rehash(password_hash)
    assert hasher.needs_rehash(password_hash.replace("m=64", "m=32"))
    assert hasher.stats().done_total == 4


async def test_acquire_limits_permits_to_three_per_thread(hasher: PasswordHasher) -> None:
    assert hasher.limiter.total_permits == 3


async def test_acquire_charges_the_flow_for_its_work(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged: list[float] = []
    monkeypatch.setattr("service.security.hashing.limiter.Permit.charge", lambda _, s: charged.append(s))
    async with hasher.acquire("192.0.2.0/24") as permit:
        await permit.hash(PASSWORD)
    (seconds,) = charged
    assert seconds > 0


async def test_verify_in_several_forms_charges_the_flow_for_all_of_them(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged: list[float] = []
    now = itertools.count()  # a second passes with each look at the clock
    computed: list[bytes] = []

    def compute(encoded: bytes, *rest: Any) -> bool:
        computed.append(encoded)
        next(now)
        return verify_secret(encoded, *rest)

    monkeypatch.setattr("service.security.hashing.limiter.Permit.charge", lambda _, s: charged.append(s))
    monkeypatch.setattr(imported_hashes, "verify_secret", compute)
    monkeypatch.setattr("service.security.hashing.hasher.time", SimpleNamespace(monotonic=lambda: next(now)))
    async with hasher.acquire("192.0.2.0/24") as permit:
        assert not await permit.verify(None, "a", "b", "c")
    assert len(computed) == 3
    assert charged == [4]


async def test_create_hasher_without_workers_uses_the_available_cores() -> None:
    hasher = make_hasher()
    assert hasher.stats().workers >= 1
    hasher.close()


async def test_hash_after_close_raises_hashing_busy() -> None:
    hasher = make_hasher()
    hasher.close()
    async with hasher.acquire("192.0.2.0/24") as permit:
        with pytest.raises(HashingBusy):
            await permit.hash(PASSWORD)


async def test_hash_and_verify_without_memory_raise_hashing_busy_and_log_it(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source: OWASP ASVS 5.0 15.2.2."""

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(HashingScheme, "hash", fail)
    monkeypatch.setattr(HashingScheme, "verify", fail)
    with capture_logs() as entries:
        async with hasher.acquire("192.0.2.0/24") as permit:
            with pytest.raises(HashingBusy):
                await permit.hash(PASSWORD)
            with pytest.raises(HashingBusy):
                await permit.verify(None, PASSWORD)
    assert [entry["event"] for entry in entries] == ["hashing_memory_unavailable"] * 2
