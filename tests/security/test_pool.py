"""The pool without argon2: work that waits for an event stands in for a hash that takes its time."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from service.domain.errors import HashingBusy
from service.security.pool import HashingPool, _Job

HOUR = timedelta(hours=1)


class Gate:
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

    def make(*, workers: int = 1, queue_limit: int = 100, queue_wait: timedelta = HOUR) -> HashingPool:
        made.append(HashingPool(workers=workers, queue_limit=queue_limit, queue_wait=queue_wait))
        return made[-1]

    yield make
    for pool in made:
        await asyncio.to_thread(pool.close)


def start(pool: HashingPool, work: Callable[[], object], caller: str = "a") -> asyncio.Task[object]:
    return asyncio.create_task(pool.run(work, caller=caller))


async def occupy(pool: HashingPool, caller: str = "a") -> tuple[Gate, asyncio.Task[object]]:
    gate = Gate()
    task = start(pool, gate, caller)
    await gate.wait_begun()
    return gate, task


async def test_run_work_returns_its_result(make_pool: MakePool) -> None:
    assert await make_pool().run(lambda: 42, caller="a") == 42


async def test_run_work_that_fails_raises_its_error_and_keeps_the_thread(make_pool: MakePool) -> None:
    pool = make_pool()

    def fail() -> None:
        raise LookupError("as it was")

    with pytest.raises(LookupError, match="as it was"):
        await pool.run(fail, caller="a")
    assert await pool.run(lambda: 42, caller="a") == 42


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
    assert (pool.stats().running, pool.stats().queued) == (2, 1)
    assert not ran.is_set()
    busy[0][0].let_go.set()
    await third
    busy[1][0].let_go.set()
    assert [await task for _, task in busy] == ["done", "done"]


async def test_run_for_several_callers_takes_turns(make_pool: MakePool) -> None:
    pool = make_pool()
    gate, first = await occupy(pool, "flood")
    order: list[str] = []
    tasks = [start(pool, lambda: order.append("flood"), "flood") for _ in range(5)]
    await asyncio.sleep(0)
    tasks += [start(pool, lambda: order.append("other"), "other") for _ in range(2)]
    await asyncio.sleep(0)
    assert pool.stats().queued == 7
    gate.let_go.set()
    await asyncio.gather(first, *tasks)
    assert order.index("other") <= 1
    assert [i for i, who in enumerate(order) if who == "other"][1] <= 4


async def test_cancel_a_queued_request_takes_it_out(make_pool: MakePool) -> None:
    pool = make_pool()
    gate, first = await occupy(pool)
    ran = threading.Event()
    queued = start(pool, ran.set)
    await asyncio.sleep(0)
    assert pool.stats().queued == 1
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert pool.stats().queued == 0
    gate.let_go.set()
    await first
    assert not ran.is_set()


async def test_cancel_a_running_request_keeps_its_thread_taken(make_pool: MakePool) -> None:
    pool = make_pool()
    gate, first = await occupy(pool)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert pool.stats().running == 1
    ran = threading.Event()
    second = start(pool, ran.set)
    await asyncio.sleep(0)
    assert pool.stats().queued == 1
    assert not ran.is_set()
    gate.let_go.set()
    await second
    assert ran.is_set()
    assert pool.stats().done_total == 2


async def test_wait_past_the_deadline_is_refused_and_not_run(make_pool: MakePool) -> None:
    pool = make_pool(queue_wait=timedelta(0))
    gate, first = await occupy(pool)
    ran = threading.Event()
    with pytest.raises(HashingBusy) as refusal:
        await pool.run(ran.set, caller="b")
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after >= 1
    assert pool.stats().shed_total == 1
    gate.let_go.set()
    assert await first == "done"
    assert not ran.is_set()


async def test_wait_that_looks_too_long_is_let_wait_while_there_is_room(make_pool: MakePool) -> None:
    pool = make_pool(queue_limit=2)
    pool._mean_seconds = 2 * HOUR.total_seconds()
    gate, first = await occupy(pool)
    tasks = [start(pool, int) for _ in range(2)]
    await asyncio.sleep(0)
    assert pool.stats().queued == 2
    gate.let_go.set()
    assert await asyncio.gather(first, *tasks) == ["done", 0, 0]


async def test_refusal_of_a_full_queue_tells_how_long_its_backlog_takes(make_pool: MakePool) -> None:
    pool = make_pool(queue_limit=2)
    pool._mean_seconds = 4.0
    gate, first = await occupy(pool)
    tasks = [start(pool, int) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(HashingBusy) as refusal:
        await pool.run(int, caller="a")
    assert refusal.value.retry_after == 12
    gate.let_go.set()
    await asyncio.gather(first, *tasks)


async def test_check_room_in_a_full_queue_refuses_whom_nobody_would_give_way_to(make_pool: MakePool) -> None:
    pool = make_pool(queue_limit=2)
    gate, first = await occupy(pool)
    tasks = [start(pool, int)]
    await asyncio.sleep(0)
    pool.check_room("a")
    tasks.append(start(pool, int))
    await asyncio.sleep(0)
    with pytest.raises(HashingBusy):
        pool.check_room("a")
    pool.check_room("b")
    assert (pool.stats().queued, pool.stats().shed_total) == (2, 1)
    gate.let_go.set()
    await asyncio.gather(first, *tasks)


async def test_wait_with_a_free_worker_is_never_refused(make_pool: MakePool) -> None:
    pool = make_pool(queue_wait=timedelta(0), queue_limit=0)
    pool._mean_seconds = 1000.0
    assert await pool.run(lambda: 42, caller="a") == 42


async def test_fill_the_queue_makes_the_longest_line_give_way(make_pool: MakePool) -> None:
    pool = make_pool(queue_limit=4)
    gate, first = await occupy(pool, "flood")
    flood = [start(pool, int, "flood") for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(HashingBusy):
        await pool.run(int, caller="flood")
    others = [start(pool, int, "other") for _ in range(3)]
    await asyncio.sleep(0)
    gate.let_go.set()
    answers = await asyncio.gather(first, *flood, *others, return_exceptions=True)
    assert [isinstance(answer, HashingBusy) for answer in answers] == [False] * 3 + [True] * 2 + [
        False
    ] * 2 + [True]
    assert pool.stats().shed_total == 4


async def test_finish_slow_work_lets_the_other_callers_go_first(make_pool: MakePool) -> None:
    pool = make_pool()
    loop = asyncio.get_running_loop()
    slow, next_of_a, next_of_b = (
        _Job(int, caller, pool._mailbox_of(loop), loop.create_future()) for caller in ("a", "a", "b")
    )
    for job in (next_of_a, next_of_b):
        pool._queue.push(job.caller, job)
    pool._mean_seconds = 1.0
    assert pool._next_after(slow, 100.0) is next_of_b
    assert pool._next_after(next_of_b, 1.0) is next_of_a


async def test_stats_of_an_idle_pool_are_zero(make_pool: MakePool) -> None:
    stats = make_pool(workers=3).stats()
    assert (stats.workers, stats.queued, stats.running, stats.done_total, stats.shed_total) == (3, 0, 0, 0, 0)
    assert stats.oldest_wait_seconds == 0.0


async def test_stats_of_a_busy_pool_show_who_waits(make_pool: MakePool) -> None:
    pool = make_pool()
    gate, first = await occupy(pool)
    second = start(pool, int)
    await asyncio.sleep(0)
    stats = pool.stats()
    assert (stats.queued, stats.running, stats.done_total) == (1, 1, 0)
    assert stats.oldest_wait_seconds > 0
    gate.let_go.set()
    await asyncio.gather(first, second)
    assert (pool.stats().running, pool.stats().done_total) == (0, 2)


async def test_close_refuses_what_waits_and_finishes_what_runs(make_pool: MakePool) -> None:
    pool = make_pool()
    gate, first = await occupy(pool)
    queued = start(pool, int)
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(pool.close))
    with pytest.raises(HashingBusy):
        await queued
    with pytest.raises(HashingBusy):
        await pool.run(int, caller="late")
    with pytest.raises(HashingBusy):
        pool.check_room("late")
    assert not closing.done()
    gate.let_go.set()
    assert await first == "done"
    await closing


async def test_close_a_pool_ends_its_threads(make_pool: MakePool) -> None:
    pool = make_pool()
    thread = await pool.run(threading.current_thread, caller="a")
    assert thread.is_alive()
    pool.close()
    assert not thread.is_alive()
    pool.close()


async def test_hand_back_results_that_are_ready_wakes_the_loop_once(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(workers=2)
    loop = asyncio.get_running_loop()
    wake_ups: list[Callable[[], object]] = []
    monkeypatch.setattr(loop, "call_soon_threadsafe", wake_ups.append)
    tasks = [start(pool, int) for _ in range(20)]
    await asyncio.sleep(0)
    pool._executor.shutdown()
    monkeypatch.undo()
    (wake_up,) = wake_ups
    loop.call_soon(wake_up)
    assert await asyncio.gather(*tasks) == [0] * 20


def test_run_on_one_loop_after_another_answers_on_each() -> None:
    pool = HashingPool(workers=1, queue_limit=1, queue_wait=HOUR)
    try:
        assert [asyncio.run(pool.run(lambda: 42, caller="a")) for _ in range(3)] == [42] * 3
    finally:
        pool.close()


def test_close_the_loop_before_the_work_is_done_is_survived() -> None:
    pool = HashingPool(workers=1, queue_limit=1, queue_wait=HOUR)
    gate = Gate()

    async def give_up() -> None:
        task = start(pool, gate)
        await gate.wait_begun()
        task.cancel()

    asyncio.run(give_up())
    gate.let_go.set()
    try:
        assert asyncio.run(pool.run(lambda: 42, caller="a")) == 42
    finally:
        pool.close()


def test_run_under_uvloop_works_alike() -> None:
    uvloop = pytest.importorskip("uvloop")
    pool = HashingPool(workers=2, queue_limit=100, queue_wait=HOUR)

    async def many() -> list[int]:
        return await asyncio.gather(*(pool.run(lambda: 42, caller=str(i % 3)) for i in range(30)))

    try:
        assert uvloop.run(many()) == [42] * 30
    finally:
        pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="niceness belongs to the thread on Linux alone")
async def test_work_runs_at_a_lower_priority_than_the_loop(make_pool: MakePool) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert await make_pool().run(niceness, caller="a") == min(niceness() + 10, 19)


async def test_work_without_leave_to_lower_its_priority_runs_all_the_same(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    assert await make_pool().run(lambda: 42, caller="a") == 42
