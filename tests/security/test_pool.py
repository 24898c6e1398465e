"""The pool without argon2: jobs that wait for an event stand for slow hashes."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from service.domain.errors import HashingBusy
from service.security.hashing.pool import HashingPool

HOUR = timedelta(hours=1)


class BlockingJob:
    """A job that does not end before `may_finish` is set."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.may_finish = threading.Event()

    def __call__(self) -> str:
        self.started.set()
        assert self.may_finish.wait(30)
        return "done"

    async def wait_started(self) -> None:
        assert await asyncio.to_thread(self.started.wait, 30)


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


async def occupy(pool: HashingPool) -> tuple[BlockingJob, asyncio.Task[object]]:
    job = BlockingJob()
    task = start(pool, job)
    await job.wait_started()
    return job, task


async def start_until_rejected(pool: HashingPool) -> asyncio.Task[object]:
    """Start jobs until one is rejected; accepted ones are cancelled."""
    async with asyncio.timeout(30):
        while True:
            task = start(pool, int)
            await asyncio.sleep(0)
            if task.done():
                return task
            task.cancel()
            await asyncio.wait([task])


async def test_run_returns_the_result(make_pool: MakePool) -> None:
    assert await make_pool().run(lambda: 42) == 42


async def test_run_failing_job_raises_its_error_and_keeps_the_thread(make_pool: MakePool) -> None:
    pool = make_pool()

    def fail() -> None:
        raise LookupError("as it was")

    with pytest.raises(LookupError, match="as it was"):
        await pool.run(fail)
    assert await pool.run(lambda: 42) == 42


async def test_run_does_not_block_the_event_loop(make_pool: MakePool) -> None:
    pool = make_pool()
    job, task = await occupy(pool)
    assert not task.done()
    job.may_finish.set()
    assert await task == "done"


async def test_run_more_jobs_than_workers_queues_the_rest(make_pool: MakePool) -> None:
    pool = make_pool(workers=2)
    busy = [await occupy(pool), await occupy(pool)]
    ran = threading.Event()
    third = start(pool, ran.set)
    await asyncio.sleep(0)
    assert (pool.running, pool.queued) == (2, 1)
    assert not ran.is_set()
    busy[0][0].may_finish.set()
    await third
    busy[1][0].may_finish.set()
    assert [await task for _, task in busy] == ["done", "done"]


async def test_cancel_queued_job_removes_it_from_the_queue(make_pool: MakePool) -> None:
    pool = make_pool()
    job, first = await occupy(pool)
    ran = threading.Event()
    queued = start(pool, ran.set)
    await asyncio.sleep(0)
    assert pool.queued == 1
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert pool.queued == 0
    job.may_finish.set()
    await first
    assert not ran.is_set()


async def test_cancel_running_job_keeps_its_thread_busy(make_pool: MakePool) -> None:
    pool = make_pool()
    job, first = await occupy(pool)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert pool.running == 1
    ran = threading.Event()
    second = start(pool, ran.set)
    await asyncio.sleep(0)
    assert pool.queued == 1
    assert not ran.is_set()
    job.may_finish.set()
    await second
    assert ran.is_set()
    assert pool.done_total == 2


async def test_run_beyond_the_queue_timeout_raises_hashing_busy_and_skips_the_job(
    make_pool: MakePool,
) -> None:
    pool = make_pool(queue_timeout=timedelta(0))
    job, first = await occupy(pool)
    ran = threading.Event()
    with pytest.raises(HashingBusy):
        await pool.run(ran.set)
    assert (pool.queued, pool.shed_total) == (0, 1)
    job.may_finish.set()
    assert await first == "done"
    assert not ran.is_set()


async def test_run_with_a_free_worker_ignores_the_queue_timeout(make_pool: MakePool) -> None:
    pool = make_pool(queue_timeout=timedelta(0))
    assert [await pool.run(lambda: 42) for _ in range(100)] == [42] * 100


async def test_close_rejects_new_jobs_and_finishes_accepted_ones(make_pool: MakePool) -> None:
    pool = make_pool()
    job, first = await occupy(pool)
    queued = start(pool, int)
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(pool.close))
    rejected = await start_until_rejected(pool)
    assert isinstance(rejected.exception(), HashingBusy)
    assert (pool.queued, pool.shed_total, closing.done()) == (1, 1, False)
    job.may_finish.set()
    assert [await first, await queued] == ["done", 0]
    await closing


async def test_run_without_a_startable_thread_raises_hashing_busy_and_logs_it(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = make_pool()
    with monkeypatch.context() as patched, capture_logs() as entries:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(HashingBusy):
            await pool.run(lambda: pytest.fail("the job was rejected"))
    assert [(entry["event"], entry["reason"]) for entry in entries] == [
        ("hashing_thread_unavailable", "can't start new thread")
    ]
    assert (pool.queued, pool.running, pool.shed_total) == (0, 0, 1)
    assert await pool.run(lambda: 42) == 42
    assert (pool.queued, pool.running, pool.done_total) == (0, 0, 1)


async def test_close_ends_the_threads(make_pool: MakePool) -> None:
    pool = make_pool()
    thread = await pool.run(threading.current_thread)
    assert thread.is_alive()
    pool.close()
    assert not thread.is_alive()
    pool.close()


def test_run_on_several_event_loops_in_turn_returns_on_each() -> None:
    pool = HashingPool(workers=1, queue_timeout=HOUR)
    try:
        assert [asyncio.run(pool.run(lambda: 42)) for _ in range(3)] == [42] * 3
    finally:
        pool.close()


def test_close_event_loop_during_a_job_leaves_the_pool_usable() -> None:
    pool = HashingPool(workers=1, queue_timeout=HOUR)
    job = BlockingJob()

    async def give_up() -> None:
        task = start(pool, job)
        await job.wait_started()
        task.cancel()

    asyncio.run(give_up())
    job.may_finish.set()
    try:
        assert asyncio.run(pool.run(lambda: 42)) == 42
    finally:
        pool.close()


def test_run_under_uvloop_returns_the_results() -> None:
    uvloop = pytest.importorskip("uvloop")
    pool = HashingPool(workers=2, queue_timeout=HOUR)

    async def many() -> list[int]:
        return await asyncio.gather(*(pool.run(lambda: 42) for i in range(30)))

    try:
        assert uvloop.run(many()) == [42] * 30
    finally:
        pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="niceness belongs to the thread on Linux alone")
async def test_run_lowers_the_priority_of_the_thread(make_pool: MakePool) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert await make_pool().run(niceness) == min(niceness() + 10, 19)


async def test_run_without_permission_to_lower_priority_succeeds_and_logs_it(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", fail)
    with capture_logs() as entries:
        assert await make_pool().run(lambda: 42) == 42
    assert [entry["event"] for entry in entries] == ["hashing_priority_unchanged"]
