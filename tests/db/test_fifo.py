import asyncio

import pytest

from service.db.core.fifo import FifoPool


async def waiting(pool: FifoPool[str], wait_timeout: float = 60) -> "asyncio.Task[str]":
    task = asyncio.create_task(pool.acquire(wait_timeout))
    await asyncio.sleep(0)
    return task


async def cancel(task: "asyncio.Task[str]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_acquire_prefers_the_item_returned_last() -> None:
    pool = FifoPool(["a", "b"])
    assert [await pool.acquire(0), await pool.acquire(0)] == ["b", "a"]
    pool.release("b")
    pool.release("a", lend_last=True)
    assert [await pool.acquire(0), await pool.acquire(0)] == ["b", "a"]


async def test_release_serves_the_longest_waiting_request() -> None:
    pool = FifoPool(["a"])
    item = await pool.acquire(0)
    first, second = await waiting(pool), await waiting(pool)
    assert (pool.free, pool.waiting) == ([], 2)
    pool.release(item)
    newcomer = await waiting(pool)
    assert await first == "a"
    pool.release("a")
    assert await second == "a"
    assert not newcomer.done()
    pool.release("a")
    assert await newcomer == "a"


async def test_acquire_beyond_wait_timeout_raises_timeout_error() -> None:
    pool = FifoPool(["a"])
    item = await pool.acquire(0)
    results = await asyncio.gather(*(pool.acquire(0.01) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError] * 3
    pool.release(item)
    assert pool.free == ["a"]


async def test_acquire_cancelled_while_waiting_is_skipped() -> None:
    pool = FifoPool(["a"])
    item = await pool.acquire(0)
    cancelled, next_one = await waiting(pool), await waiting(pool)
    await cancel(cancelled)
    pool.release(item)
    assert await next_one == "a"


async def test_acquire_cancelled_when_granted_passes_the_item_on() -> None:
    pool = FifoPool(["a"])
    item = await pool.acquire(0)
    cancelled, next_one = await waiting(pool), await waiting(pool)
    pool.release(item)
    await cancel(cancelled)
    assert await next_one == "a"


async def test_close_stops_the_timer() -> None:
    pool = FifoPool(["a"])
    item = await pool.acquire(0)
    served = await waiting(pool, 0.01)
    pool.release(item)
    assert await served == "a"
    pool.close()
    pool.close()
