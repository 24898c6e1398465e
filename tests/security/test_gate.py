"""The work around hashes, a few at a time."""

import asyncio
from datetime import timedelta

import pytest

from service.domain.errors import HashingBusy
from service.security.gate import Gate

PATIENT = timedelta(minutes=1)


class Visitor:
    """Goes in, may stand aside and come back, and leaves, each when it is told to."""

    def __init__(self, gate: Gate, caller: str = "here") -> None:
        self.is_inside = False
        self._hashes = False
        self._next, self._hashed, self._end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._visit(gate, caller))

    async def _visit(self, gate: Gate, caller: str) -> None:
        async with gate.entered(caller):
            self.is_inside = True
            await self._next.wait()
            if self._hashes:
                self.is_inside = False
                async with gate.aside():
                    await self._hashed.wait()
                self.is_inside = True
            await self._end.wait()
        self.is_inside = False

    async def step_aside(self) -> None:
        self._hashes = True
        self._next.set()
        await settle()

    async def come_back(self) -> None:
        self._hashed.set()
        await settle()

    def may_leave(self) -> None:
        for event in (self._next, self._hashed, self._end):
            event.set()

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


async def crowd(gate: Gate, *callers: str) -> list[Visitor]:
    visitors = [Visitor(gate, caller) for caller in callers]
    await settle()
    return visitors


async def test_enter_lets_in_as_many_as_there_are_places() -> None:
    visitors = await crowd(Gate(wait=PATIENT, limit=9, places=2), *"aaaa")
    assert inside(visitors) == [True, True, False, False]
    await visitors[1].leave()
    await settle()
    assert inside(visitors) == [True, False, True, False]
    for visitor in visitors:
        await visitor.leave()


async def test_enter_takes_networks_in_turn() -> None:
    visitors = await crowd(Gate(wait=PATIENT, limit=9, places=1), *"aaaab")
    for expected in (1, 4, 2, 3):
        await next(visitor for visitor in visitors if visitor.is_inside).leave()
        await settle()
        assert inside(visitors).index(True) == expected
    await visitors[3].leave()


async def test_stand_aside_for_a_hash_lets_the_next_one_in() -> None:
    first, second, third = await crowd(Gate(wait=PATIENT, limit=9, places=1), *"aaa")
    await first.step_aside()
    assert inside([first, second, third]) == [False, True, False]
    await first.come_back()
    assert not first.is_inside  # the only place is taken
    await second.leave()
    await settle()
    assert inside([first, second, third]) == [True, False, False]  # before the third, which never was inside
    await first.leave()
    await third.leave()


async def test_enter_a_full_line_is_refused_at_once() -> None:
    gate = Gate(wait=PATIENT, limit=1, places=1)
    visitors = await crowd(gate, *"aaa")
    with pytest.raises(HashingBusy):
        await visitors[2].task
    for visitor in visitors[:2]:
        await visitor.leave()


async def test_wait_too_long_is_refused_and_leaves_the_line() -> None:
    gate = Gate(wait=timedelta(milliseconds=1), limit=9, places=1)
    (first,) = await crowd(gate, "a")
    with pytest.raises(HashingBusy):
        async with gate.entered("a"):
            pytest.fail("there was no place")
    await first.leave()
    async with gate.entered("a"):
        pass


@pytest.mark.parametrize("moment", ["waiting", "inside", "aside", "returning"])
async def test_hang_up_at_any_moment_loses_no_place(moment: str) -> None:
    gate = Gate(wait=PATIENT, limit=9, places=1)
    first, second = await crowd(gate, *"aa")
    leaver = {"waiting": second}.get(moment, first)
    if moment in ("aside", "returning"):
        await first.step_aside()
    if moment == "returning":
        await first.come_back()
    await leaver.hang_up()
    await settle()
    await (first if leaver is second else second).leave()
    visitors = await crowd(gate, *"aa")
    assert inside(visitors) == [True, False]
    for visitor in visitors:
        await visitor.leave()


async def test_hang_up_in_the_breath_in_which_the_turn_comes_passes_it_on() -> None:
    first, second, third = await crowd(Gate(wait=PATIENT, limit=9, places=1), *"aaa")
    first.may_leave()
    first.task.add_done_callback(lambda _: second.task.cancel())
    await first.task
    await settle()
    assert third.is_inside
    await third.leave()
