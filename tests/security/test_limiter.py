"""Who is let in to hash, and in which order."""

import asyncio
from datetime import timedelta

import pytest

from service.domain.errors import HashingBusy
from service.security.hashing.limiter import HashingLimiter

PATIENT = timedelta(minutes=1)


class Visitor:
    """Goes in when it is let in, and leaves when it is told to."""

    def __init__(self, gate: HashingLimiter, caller: str = "here") -> None:
        self.is_inside = False
        self._end = asyncio.Event()
        self._work_seconds = 0.0
        self._gate = gate
        self.task = asyncio.create_task(self._visit(gate, caller))

    async def _visit(self, gate: HashingLimiter, caller: str) -> None:
        async with gate.acquire(caller):
            self.is_inside = True
            await self._end.wait()
            self._gate.note_work(self._work_seconds)
        self.is_inside = False

    def works(self, seconds: float) -> None:
        self._work_seconds = seconds

    def may_leave(self) -> None:
        self._end.set()

    async def leave(self) -> None:
        self.may_leave()
        await self.task

    async def hang_up(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def inside(visitors: list[Visitor]) -> list[bool]:
    return [visitor.is_inside for visitor in visitors]


def refused(visitors: list[Visitor]) -> list[bool]:
    done = [visitor.task for visitor in visitors if visitor.task.done()]
    assert all(isinstance(task.exception(), HashingBusy) for task in done)
    return [visitor.task in done for visitor in visitors]


async def crowd(gate: HashingLimiter, *callers: str) -> list[Visitor]:
    visitors = [Visitor(gate, caller) for caller in callers]
    await settle()
    return visitors


async def leave_all(visitors: list[Visitor]) -> None:
    for visitor in visitors:
        visitor.may_leave()
    await asyncio.gather(*(visitor.task for visitor in visitors), return_exceptions=True)


async def test_enter_lets_in_as_many_as_there_are_places() -> None:
    visitors = await crowd(HashingLimiter(queue_timeout=PATIENT, max_queue=9, permits=2), *"aaaa")
    assert inside(visitors) == [True, True, False, False]
    await visitors[1].leave()
    await settle()
    assert inside(visitors) == [True, False, True, False]
    await leave_all(visitors)


async def test_enter_takes_networks_in_turn() -> None:
    visitors = await crowd(HashingLimiter(queue_timeout=PATIENT, max_queue=9, permits=1), *"aaaab")
    for expected in (1, 4, 2, 3):
        await next(visitor for visitor in visitors if visitor.is_inside).leave()
        await settle()
        assert inside(visitors).index(True) == expected
    await visitors[3].leave()


@pytest.mark.parametrize(("seconds", "expected"), [(20.0, "bbbaaa"), (1.0, "ababab"), (0.0, "ababab")])
async def test_work_for_longer_than_usual_lets_the_other_networks_go_first(
    seconds: float, expected: str
) -> None:
    gate = HashingLimiter(queue_timeout=PATIENT, max_queue=9, permits=1)
    for _ in range(9):
        async with gate.acquire("usual"):
            gate.note_work(1.0)
    visitors = await crowd(gate, *"aaaabbb")
    visitors[0].works(seconds)
    order = ""
    for _ in range(6):
        await next(visitor for visitor in visitors if visitor.is_inside).leave()
        await settle()
        order += "aaaabbb"[inside(visitors).index(True)]
    assert order == expected
    await leave_all(visitors)


async def test_enter_a_full_line_makes_the_longest_give_way() -> None:
    gate = HashingLimiter(queue_timeout=PATIENT, max_queue=3, permits=1)
    flood = await crowd(gate, *"aaaaa")
    assert refused(flood) == [False, False, False, False, True]  # one inside, three wait
    others = await crowd(gate, *"bb")
    assert refused(flood + others) == [False, False, False, True, True, False, True]
    assert gate.shed_total == 3
    await leave_all(flood + others)


@pytest.mark.parametrize(("mean_seconds", "told"), [(0.01, 1), (4.0, 12), (1000.0, 60)])
async def test_enter_a_full_line_is_told_how_long_it_would_take_and_nobody_waits_longer(
    mean_seconds: float, told: int
) -> None:
    gate = HashingLimiter(queue_timeout=PATIENT, max_queue=2, permits=1)
    gate._mean_stay.note(mean_seconds)
    visitors = await crowd(gate, *"aaaa")
    refusal = visitors[3].task.exception()
    assert isinstance(refusal, HashingBusy)
    assert refusal.retry_after == told
    await leave_all(visitors)


async def test_enter_where_nobody_may_wait_is_let_in_while_there_is_a_place() -> None:
    gate = HashingLimiter(queue_timeout=timedelta(0), max_queue=0, permits=1)
    visitors = await crowd(gate, *"ab")
    assert inside(visitors) == [True, False]
    assert refused(visitors) == [False, True]
    await leave_all(visitors)


async def test_wait_too_long_is_refused_and_leaves_the_line() -> None:
    gate = HashingLimiter(queue_timeout=timedelta(milliseconds=1), max_queue=9, permits=1)
    (first,) = await crowd(gate, "a")
    with pytest.raises(HashingBusy):
        async with gate.acquire("a"):
            pytest.fail("there was no place")
    assert (gate.waiting, gate.shed_total) == (0, 1)
    await first.leave()
    async with gate.acquire("a"):
        pass


async def test_wait_is_told() -> None:
    gate = HashingLimiter(queue_timeout=PATIENT, max_queue=9, permits=1)
    assert (gate.waiting, gate.oldest_wait_seconds()) == (0, 0.0)
    visitors = await crowd(gate, *"aab")
    assert gate.waiting == 2
    assert gate.oldest_wait_seconds() > 0
    await leave_all(visitors)


@pytest.mark.parametrize("leaver", [0, 1])
async def test_hang_up_inside_or_waiting_loses_no_place(leaver: int) -> None:
    gate = HashingLimiter(queue_timeout=PATIENT, max_queue=9, permits=1)
    pair = await crowd(gate, *"aa")
    await pair.pop(leaver).hang_up()
    await settle()
    assert (inside(pair), gate.waiting) == ([True], 0)
    await leave_all(pair)
    visitors = await crowd(gate, *"aa")
    assert inside(visitors) == [True, False]
    await leave_all(visitors)


async def test_hang_up_in_the_breath_in_which_the_turn_comes_passes_it_on() -> None:
    first, second, third = await crowd(HashingLimiter(queue_timeout=PATIENT, max_queue=9, permits=1), *"aaa")
    first.may_leave()
    first.task.add_done_callback(lambda _: second.task.cancel())
    await first.task
    await settle()
    assert third.is_inside
    await third.leave()


async def test_hang_up_in_the_breath_of_the_refusal_gives_no_place_away() -> None:
    gate = HashingLimiter(queue_timeout=PATIENT, max_queue=1, permits=1)
    first, second = await crowd(gate, *"aa")
    gate._shed(gate._line.evict())
    await second.hang_up()
    third, fourth = await crowd(gate, *"aa")
    assert inside([first, third, fourth]) == [True, False, False]
    await leave_all([first, third, fourth])
