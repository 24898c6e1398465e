import asyncio
import itertools
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import argon2
import bcrypt
import pytest
from argon2.exceptions import HashingError, VerificationError
from argon2.low_level import verify_secret

from service.domain.errors import HashingBusy
from service.security.hashing import imported_hashes
from service.security.hashing.hasher import PasswordHasher, default_workers

PASSWORD = "green ladders sing at n\u00f6\u00f6n"
MIB = 1024 * 1024


def make_hasher(*, memory_kib: int = 64, iterations: int = 2, parallelism: int = 1) -> PasswordHasher:
    return PasswordHasher(memory_kib=memory_kib, iterations=iterations, parallelism=parallelism)


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    hasher = make_hasher()
    yield hasher
    hasher.close()


@pytest.fixture
def work(hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The memory, in KiB, of every verification that was really computed, in order."""
    done: list[int] = []
    timed = hasher._timed

    def record(stored: imported_hashes.StoredHash, password: str) -> tuple[bool, float]:
        done.append(stored.memory_kib)
        return timed(stored, password)

    monkeypatch.setattr(hasher, "_timed", record)
    return done


def foreign_hash(password: str = PASSWORD) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def old_hash(password: str = PASSWORD, memory_kib: int = 8) -> str:
    return argon2.PasswordHasher(memory_cost=memory_kib, time_cost=1, parallelism=1).hash(password)


async def test_hash_password_writes_phc_with_the_parameters_and_sizes(hasher: PasswordHasher) -> None:
    password_hash = await hasher.hash(PASSWORD)
    assert re.fullmatch(
        r"\$argon2id\$v=19\$m=64,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", password_hash
    )


async def test_hash_the_same_password_twice_salts_afresh(hasher: PasswordHasher) -> None:
    first, second = [await hasher.hash(PASSWORD) for _ in range(2)]
    assert first.split("$")[4] != second.split("$")[4]
    assert first.split("$")[5] != second.split("$")[5]


async def test_verify_right_password_says_yes_and_any_other_no(hasher: PasswordHasher) -> None:
    password_hash = await hasher.hash(PASSWORD)
    assert await hasher.verify(password_hash, PASSWORD)
    for other in (PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1], ""):
        assert not await hasher.verify(password_hash, other)


async def test_verify_long_password_uses_all_of_it(hasher: PasswordHasher) -> None:
    password_hash = await hasher.hash("x" * 1023 + "y")
    assert await hasher.verify(password_hash, "x" * 1023 + "y")
    assert not await hasher.verify(password_hash, "x" * 1024)


@pytest.mark.parametrize("make", [foreign_hash, old_hash])
async def test_verify_foreign_or_old_hash_fits_its_password_alone(
    hasher: PasswordHasher, make: object
) -> None:
    assert callable(make)
    assert await hasher.verify(make(), PASSWORD)
    assert not await hasher.verify(make(), PASSWORD + "!")


async def test_verify_wrong_password_does_the_usual_work_once(
    hasher: PasswordHasher, work: list[int]
) -> None:
    password_hash = await hasher.hash(PASSWORD)
    assert not await hasher.verify(password_hash, "wrong")
    assert work == [64]


async def test_verify_for_nobody_does_the_usual_work_once(hasher: PasswordHasher, work: list[int]) -> None:
    assert not await hasher.verify(None, PASSWORD)
    assert work == [64]


async def test_verify_without_a_possible_password_does_the_usual_work_once(
    hasher: PasswordHasher, work: list[int]
) -> None:
    password_hash = await hasher.hash(PASSWORD)
    assert not await hasher.verify(password_hash, None)
    assert not await hasher.verify(None, None)
    assert work == [64, 64]


UNUSABLE = [
    "",
    "!unusable",
    "$argon2id$v=19$m=64,t=2,p=1$",
    "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$AAAA",
    "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
    "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
]


@pytest.mark.parametrize("password_hash", UNUSABLE)
async def test_verify_unusable_hash_fails_after_the_usual_work_and_is_logged_without_it(
    hasher: PasswordHasher, work: list[int], caplog: pytest.LogCaptureFixture, password_hash: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert not await hasher.verify(password_hash, PASSWORD)
    assert work == [64]
    (record,) = (record for record in caplog.records if record.name == "service.security.hashing.hasher")
    assert record.levelno == logging.WARNING
    assert PASSWORD not in record.getMessage()
    assert not password_hash or password_hash not in record.getMessage()


async def test_verify_with_success_logs_nothing(
    hasher: PasswordHasher, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="service"):
        await hasher.verify(await hasher.hash(PASSWORD), PASSWORD)
    assert caplog.records == []


async def test_verify_cheaper_hash_with_a_wrong_password_is_topped_up_to_the_usual_work(
    hasher: PasswordHasher, work: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = {8: 0.25, 64: 1.0}
    recorded = hasher._timed
    monkeypatch.setattr(
        hasher, "_timed", lambda stored, pw: (recorded(stored, pw)[0], spent.get(stored.memory_kib, 0.0))
    )
    await hasher.verify(None, PASSWORD)
    assert not await hasher.verify(old_hash(), "wrong")
    assert work == [64, 8, 48]


async def test_verify_cheaper_hash_with_the_right_password_needs_no_top_up(
    hasher: PasswordHasher, work: list[int]
) -> None:
    assert await hasher.verify(old_hash(), PASSWORD)
    assert work == [8]


async def test_verify_costlier_hash_with_a_wrong_password_is_not_topped_up(
    hasher: PasswordHasher, work: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = hasher._timed
    monkeypatch.setattr(
        hasher, "_timed", lambda stored, pw: (recorded(stored, pw)[0], float(stored.memory_kib))
    )
    await hasher.verify(None, PASSWORD)
    assert not await hasher.verify(old_hash(memory_kib=512), "wrong")
    assert work == [64, 512]


async def test_verify_cheaper_hash_first_of_all_measures_the_usual_work(
    hasher: PasswordHasher, work: list[int]
) -> None:
    assert not await hasher.verify(old_hash(), "wrong")
    assert work[:2] == [8, 64]


async def test_verify_hashes_of_much_memory_takes_one_at_a_time() -> None:
    hasher = PasswordHasher(memory_kib=64, iterations=2, parallelism=1, workers=2)
    large = old_hash(memory_kib=128)
    with hasher._large_memory:
        waiting = asyncio.create_task(hasher.verify(large, PASSWORD))
        assert await hasher.verify(old_hash(), PASSWORD)
        assert not waiting.done()
    assert await waiting
    hasher.close()


async def test_needs_rehash_of_own_hash_is_false_and_of_any_other_true(hasher: PasswordHasher) -> None:
    assert not hasher.needs_rehash(await hasher.hash(PASSWORD))
    for other in (old_hash(), foreign_hash(), "", "argon2" + await hasher.hash(PASSWORD)):
        assert hasher.needs_rehash(other)


@pytest.mark.parametrize("change", [{"memory_kib": 65}, {"iterations": 3}, {"parallelism": 2}])
async def test_needs_rehash_after_any_parameter_changed_is_true(
    hasher: PasswordHasher, change: dict[str, int]
) -> None:
    changed = make_hasher(**change)
    try:
        password_hash = await hasher.hash(PASSWORD)
        assert changed.needs_rehash(password_hash)
        assert await changed.verify(password_hash, PASSWORD)
    finally:
        changed.close()


async def test_own_hash_may_be_imported(hasher: PasswordHasher) -> None:
    assert imported_hashes.check_importable(await hasher.hash(PASSWORD)) is None


@pytest.mark.parametrize(
    "parameters",
    [
        {"memory_kib": 7, "iterations": 1, "parallelism": 1},
        {"memory_kib": 256 * 1024 + 1, "iterations": 1, "parallelism": 1},
        {"memory_kib": 64, "iterations": 11, "parallelism": 1},
        {"memory_kib": 64, "iterations": 0, "parallelism": 1},
        {"memory_kib": 64, "iterations": 1, "parallelism": 17},
    ],
)
def test_make_hasher_with_parameters_it_could_not_verify_is_refused(parameters: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"hash"):
        make_hasher(**parameters)


def test_make_hasher_without_a_number_of_workers_uses_what_there_is() -> None:
    hasher = make_hasher()
    assert hasher.stats().workers >= 1
    hasher.close()


async def test_hash_after_close_is_refused_as_busy() -> None:
    hasher = make_hasher()
    hasher.close()
    with pytest.raises(HashingBusy):
        await hasher.hash(PASSWORD)


@pytest.mark.parametrize(
    ("memory_kib", "cores", "limit", "workers"),
    [
        (19456, 4, None, 4),
        (19456, 4, 2048 * MIB, 4),
        (19456, 4, 256 * MIB, 3),
        (65536, 4, 256 * MIB, 1),
        (65536, 4, 64 * MIB, 1),
        (19456, 1, 2048 * MIB, 1),
    ],
)
def test_afford_workers_takes_a_core_each_and_a_quarter_of_the_memory(
    memory_kib: int, cores: int, limit: int | None, workers: int
) -> None:
    assert default_workers(memory_kib, cores, limit) == workers


def starve(monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> None:
    """Let no memory be had for a hash, once so many were computed."""
    done = itertools.count()

    def verify_in_time(*arguments: Any) -> bool:
        if next(done) >= after:
            raise VerificationError("Memory allocation error")
        return verify_secret(*arguments)

    def hash_secret(*_: object, **__: object) -> bytes:
        raise HashingError("Memory allocation error")

    monkeypatch.setattr("service.security.hashing.imported_hashes.verify_secret", verify_in_time)
    monkeypatch.setattr("argon2._password_hasher.hash_secret", hash_secret)


async def test_hash_and_verify_without_memory_are_refused_as_busy(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source: OWASP ASVS 5.0 15.2.2."""
    password_hash = await hasher.hash(PASSWORD)
    starve(monkeypatch)
    for stored in (password_hash, None):
        with pytest.raises(HashingBusy):
            await hasher.verify(stored, PASSWORD)
    with pytest.raises(HashingBusy):
        await hasher.hash(PASSWORD)


async def test_verify_cheaper_hash_without_memory_for_the_top_up_still_says_no(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal as busy would give back a guess that was verified."""
    cheaper = old_hash()
    starve(monkeypatch, after=1)
    assert not await hasher.verify(cheaper, PASSWORD + "!")
