"""The pool without argon2: work that waits for an event stands in for a hash that takes its time."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from service.domain.errors import HashingBusy
from service.security.hashing.pool import HashingPool

HOUR = timedelta(hours=1)


class HashingLimiter:
    """Work that tells when it began, and does not end before it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.let_go.wait(30)
        return "done"

    async def wait_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, 30)


MakePool = Callable[..., HashingPool]


@pytest.fixture
async def make_pool() -> AsyncIterator[MakePool]:
    made: list[HashingPool] = []

    def make(*, workers: int = 1, queue_timeout: timedelta = HOUR) -> HashingPool:
        made.append(HashingPool(workers=workers, queue_timeout=queue_timeout))
        return made[-1]

    yield make
    for pool in made:
        await asyncio.to_thread(pool.close)


def start(pool: HashingPool, work: Callable[[], object]) -> asyncio.Task[object]:
    return asyncio.create_task(pool.run(work))


async def occupy(pool: HashingPool) -> tuple[HashingLimiter, asyncio.Task[object]]:
    gate = HashingLimiter()
    task = start(pool, gate)
    await gate.wait_begun()
    return gate, task


async def test_run_work_returns_its_result(make_pool: MakePool) -> None:
    assert await make_pool().run(lambda: 42) == 42


async def test_run_work_that_fails_raises_its_error_and_keeps_the_thread(make_pool: MakePool) -> None:
    pool = make_pool()

    def fail() -> None:
        raise LookupError("as it was")

    with pytest.raises(LookupError, match="as it was"):
        await pool.run(fail)
    assert await pool.run(lambda: 42) == 42


async def test_run_work_leaves_the_event_loop_free(make_pool: MakePool) -> None:
    pool = make_pool()
    gate, task = await occupy(pool)
    assert not task.done()
    gate.let_go.set()
    assert await task == "done"


async def test_run_more_work_than_workers_queues_the_rest(make_pool: MakePool) -> None:
    pool = make_pool(workers=2)
    busy = [await occupy(pool), await occupy(pool)]
    ran = threading.Event()
    third = start(pool, ran.set)
    await asyncio.sleep(0)
    assert (pool.running, pool.queued) == (2, 1)
    assert not ran.is_set()
    busy[0][0].let_go.set()
    await third
    busy[1][0].let_go.set()
    assert [await task for _, task in busy] == ["done", "done"]


async def test_cancel_a_queued_request_takes_it_out(make_pool: MakePool) -> None:
    pool = make_pool()
    gate, first = await occupy(pool)
    ran = threading.Event()
    queued = start(pool, ran.set)
    await asyncio.sleep(0)
    assert pool.queued == 1
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert pool.queued == 0
    gate.let_go.set()
    await first
    assert not ran.is_set()


async def test_cancel_a_running_request_keeps_its_thread_taken(make_pool: MakePool) -> None:
    pool = make_pool()
    gate, first = await occupy(pool)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert pool.running == 1
    ran = threading.Event()
    second = start(pool, ran.set)
    await asyncio.sleep(0)
    assert pool.queued == 1
    assert not ran.is_set()
    gate.let_go.set()
    await second
    assert ran.is_set()
    assert pool.done_total == 2


async def test_wait_past_the_deadline_is_refused_and_not_run(make_pool: MakePool) -> None:
    pool = make_pool(queue_timeout=timedelta(0))
    gate, first = await occupy(pool)
    ran = threading.Event()
    with pytest.raises(HashingBusy):
        await pool.run(ran.set)
    assert (pool.queued, pool.shed_total) == (0, 1)
    gate.let_go.set()
    assert await first == "done"
    assert not ran.is_set()


async def test_wait_with_a_free_worker_is_never_refused(make_pool: MakePool) -> None:
    pool = make_pool(queue_timeout=timedelta(0))
    assert [await pool.run(lambda: 42) for _ in range(100)] == [42] * 100


async def test_close_refuses_what_comes_later_and_finishes_what_is_there(make_pool: MakePool) -> None:
    pool = make_pool()
    gate, first = await occupy(pool)
    queued = start(pool, int)
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(pool.close))
    async with asyncio.timeout(30):
        while not pool._executor._shutdown:  # noqa: ASYNC110 - the executor tells nobody
            await asyncio.sleep(0)
    with pytest.raises(HashingBusy):
        await pool.run(int)
    assert (pool.queued, pool.shed_total, closing.done()) == (1, 1, False)
    gate.let_go.set()
    assert [await first, await queued] == ["done", 0]
    await closing


async def test_start_no_thread_is_refused_and_counts_nothing_as_running(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = make_pool()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(HashingBusy):
            await pool.run(lambda: pytest.fail("it was refused"))
    assert (pool.queued, pool.running, pool.shed_total) == (0, 0, 1)
    assert await pool.run(lambda: 42) == 42
    assert (pool.queued, pool.running, pool.done_total) == (0, 0, 1)


async def test_close_a_pool_ends_its_threads(make_pool: MakePool) -> None:
    pool = make_pool()
    thread = await pool.run(threading.current_thread)
    assert thread.is_alive()
    pool.close()
    assert not thread.is_alive()
    pool.close()


def test_run_on_one_loop_after_another_answers_on_each() -> None:
    pool = HashingPool(workers=1, queue_timeout=HOUR)
    try:
        assert [asyncio.run(pool.run(lambda: 42)) for _ in range(3)] == [42] * 3
    finally:
        pool.close()


def test_close_the_loop_before_the_work_is_done_is_survived() -> None:
    pool = HashingPool(workers=1, queue_timeout=HOUR)
    gate = HashingLimiter()

    async def give_up() -> None:
        task = start(pool, gate)
        await gate.wait_begun()
        task.cancel()

    asyncio.run(give_up())
    gate.let_go.set()
    try:
        assert asyncio.run(pool.run(lambda: 42)) == 42
    finally:
        pool.close()


def test_run_under_uvloop_works_alike() -> None:
    uvloop = pytest.importorskip("uvloop")
    pool = HashingPool(workers=2, queue_timeout=HOUR)

    async def many() -> list[int]:
        return await asyncio.gather(*(pool.run(lambda: 42) for i in range(30)))

    try:
        assert uvloop.run(many()) == [42] * 30
    finally:
        pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="niceness belongs to the thread on Linux alone")
async def test_work_runs_at_a_lower_priority_than_the_loop(make_pool: MakePool) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert await make_pool().run(niceness) == min(niceness() + 10, 19)


async def test_work_without_leave_to_lower_its_priority_runs_all_the_same(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    assert await make_pool().run(lambda: 42) == 42
