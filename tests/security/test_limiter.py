"""Permits for hashing: how many, to whom next, and what happens to waiters that time out or are cancelled."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from service.domain.errors import HashingBusy
from service.security.hashing.limiter import HashingLimiter

LONG = timedelta(minutes=1)


class Holder:
    """A task that acquires a permit and holds it until `release`."""

    def __init__(self, limiter: HashingLimiter, flow: str, work_seconds: float = 0.0) -> None:
        self.flow = flow
        self.has_permit = False
        self.may_release = asyncio.Event()
        self.task = asyncio.create_task(self._run(limiter, work_seconds))

    async def _run(self, limiter: HashingLimiter, work_seconds: float) -> None:
        async with limiter.acquire(self.flow) as permit:
            self.has_permit = True
            try:
                await self.may_release.wait()
                permit.charge(work_seconds)
            finally:
                self.has_permit = False

    @property
    def is_rejected(self) -> bool:
        return self.task.done() and isinstance(self.task.exception(), HashingBusy)

    async def release(self) -> None:
        self.may_release.set()
        await self.task
        await run_ready_tasks()

    async def cancel(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task
        await run_ready_tasks()


async def run_ready_tasks() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Holders(list[Holder]):
    """Holders in the order in which they asked for a permit."""

    async def start(self, limiter: HashingLimiter, flows: str) -> list[Holder]:
        """Start one holder for each letter; the letter is its flow."""
        started = [Holder(limiter, flow) for flow in flows]
        self.extend(started)
        await run_ready_tasks()
        return started

    def with_permit(self) -> list[int]:
        return [index for index, holder in enumerate(self) if holder.has_permit]

    def rejected(self) -> list[int]:
        return [index for index, holder in enumerate(self) if holder.is_rejected]


@pytest.fixture
async def holders() -> AsyncIterator[Holders]:
    holders = Holders()
    yield holders
    for holder in holders:
        holder.may_release.set()
    await asyncio.gather(*(holder.task for holder in holders), return_exceptions=True)


def make_limiter(*, permits: int = 1, max_queue: int = 9, queue_timeout: timedelta = LONG) -> HashingLimiter:
    return HashingLimiter(total_permits=permits, max_queue=max_queue, queue_timeout=queue_timeout)


async def release_order(holders: Holders) -> str:
    """Release one permit holder after another; return the flows in the order of their permits."""
    order = ""
    while held := holders.with_permit():
        order += holders[held[0]].flow
        await holders[held[0]].release()
    return order


async def test_acquire_grants_as_many_permits_as_there_are(holders: Holders) -> None:
    await holders.start(make_limiter(permits=2), "aaaa")
    assert holders.with_permit() == [0, 1]
    await holders[1].release()
    assert holders.with_permit() == [0, 2]


async def test_acquire_serves_flows_round_robin(holders: Holders) -> None:
    await holders.start(make_limiter(), "aaaab")
    assert await release_order(holders) == "aabaa"


@pytest.mark.parametrize(("work_seconds", "order"), [(20.0, "abbbaaa"), (1.0, "aababab"), (0.0, "aababab")])
async def test_release_after_long_work_skips_the_flow_for_as_many_rounds(
    holders: Holders, work_seconds: float, order: str
) -> None:
    limiter = make_limiter()
    for _ in range(9):
        async with limiter.acquire("average") as permit:
            permit.charge(1.0)
    holders.append(Holder(limiter, "a", work_seconds))
    await holders.start(limiter, "aaabbb")
    assert await release_order(holders) == order


async def test_acquire_with_a_full_queue_rejects_the_longest_flow(holders: Holders) -> None:
    limiter = make_limiter(max_queue=3)
    await holders.start(limiter, "aaaaa")
    assert holders.rejected() == [4]  # one holds the permit, three wait
    await holders.start(limiter, "bb")
    assert holders.rejected() == [3, 4, 6]
    assert limiter.shed_total == 3


@pytest.mark.parametrize(("held_seconds", "retry_after"), [(0.01, 1), (4.0, 12), (1000.0, 60)])
async def test_acquire_with_a_full_queue_estimates_the_wait_up_to_the_timeout(
    holders: Holders, held_seconds: float, retry_after: int
) -> None:
    now = 0.0
    limiter = HashingLimiter(total_permits=1, max_queue=2, queue_timeout=LONG, clock=lambda: now)
    async with limiter.acquire("a"):
        now += held_seconds
    await holders.start(limiter, "aaaa")
    error = holders[3].task.exception()
    assert isinstance(error, HashingBusy)
    assert error.retry_after == retry_after


async def test_acquire_without_a_queue_grants_free_permits_only(holders: Holders) -> None:
    await holders.start(make_limiter(max_queue=0, queue_timeout=timedelta(0)), "ab")
    assert (holders.with_permit(), holders.rejected()) == ([0], [1])


async def test_wait_beyond_the_timeout_rejects_and_leaves_the_queue(holders: Holders) -> None:
    limiter = make_limiter(queue_timeout=timedelta(milliseconds=1))
    await holders.start(limiter, "a")
    with pytest.raises(HashingBusy):
        async with limiter.acquire("a"):
            pytest.fail("no permit was free")
    assert (limiter.waiting, limiter.shed_total) == (0, 1)
    await holders[0].release()
    async with limiter.acquire("a"):
        pass


async def test_statistics_count_waiters_and_the_oldest_wait(holders: Holders) -> None:
    limiter = make_limiter()
    assert (limiter.waiting, limiter.oldest_wait_seconds()) == (0, 0.0)
    await holders.start(limiter, "aab")
    assert limiter.waiting == 2
    assert limiter.oldest_wait_seconds() > 0


async def test_raise_total_permits_grants_them_to_waiters(holders: Holders) -> None:
    limiter = make_limiter(permits=1)
    await holders.start(limiter, "aaaa")
    assert holders.with_permit() == [0]
    limiter.total_permits = 3
    await run_ready_tasks()
    assert (limiter.total_permits, holders.with_permit()) == (3, [0, 1, 2])


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_cancel_a_holder_or_a_waiter_loses_no_permit(holders: Holders, cancelled: int) -> None:
    limiter = make_limiter()
    await holders.start(limiter, "aa")
    await holders[cancelled].cancel()
    assert (holders.with_permit(), limiter.waiting) == ([1 - cancelled], 0)
    await holders[1 - cancelled].release()
    await holders.start(limiter, "aa")
    assert holders.with_permit() == [2]


async def test_cancel_in_the_loop_iteration_of_the_grant_passes_the_permit_on(holders: Holders) -> None:
    first, second, third = await holders.start(make_limiter(), "aaa")
    first.task.add_done_callback(lambda _: second.task.cancel())
    await first.release()
    assert second.task.cancelled()
    assert third.has_permit


async def test_cancel_in_the_loop_iteration_of_the_rejection_frees_no_permit(holders: Holders) -> None:
    limiter = make_limiter(max_queue=2)
    _, _, evicted = await holders.start(limiter, "aaa")
    holders.append(Holder(limiter, "b"))
    asyncio.get_running_loop().call_soon(evicted.task.cancel)  # runs right after the step that evicts
    await run_ready_tasks()
    assert evicted.task.cancelled()
    assert limiter.shed_total == 1
    assert holders.with_permit() == [0]
