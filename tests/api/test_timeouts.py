"""One timer limits many requests, and its cancellations are told from anybody else's."""

import asyncio

import pytest

from service.api.http.timeouts import CoarseTimer, Deadline

TICK_S = 0.001
NEVER_S = 3600.0


async def run_limited(deadlines: CoarseTimer, limit_s: float, done: asyncio.Event) -> str:
    deadline = deadlines.start(limit_s)
    try:
        await done.wait()
    except asyncio.CancelledError:
        return "expired" if deadline.expired and deadline.consume_cancellation() else "cancelled"
    else:
        return "done"
    finally:
        deadlines.stop(deadline)


async def test_deadline_that_passes_cancels_its_task_alone() -> None:
    deadlines, done = CoarseTimer(TICK_S), asyncio.Event()
    patient = asyncio.create_task(run_limited(deadlines, NEVER_S, done))

    assert await asyncio.create_task(run_limited(deadlines, 0, done)) == "expired"
    done.set()
    assert await patient == "done"


async def test_deadline_with_another_cancellation_tells_it() -> None:
    task = asyncio.create_task(run_limited(CoarseTimer(TICK_S), NEVER_S, asyncio.Event()))
    await asyncio.sleep(0)
    task.cancel()

    assert await task == "cancelled"


async def test_deadline_with_a_second_cancellation_is_not_alone() -> None:
    task = asyncio.current_task()
    assert task is not None
    deadline = Deadline(task, 0)
    deadline.expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)

    assert not deadline.consume_cancellation()
    task.uncancel()


async def test_deadline_that_was_moved_does_not_pass() -> None:
    deadlines, moved = CoarseTimer(TICK_S), asyncio.Event()

    async def extend() -> str:
        deadline = deadlines.start(0)
        deadline.at_s += NEVER_S
        await moved.wait()
        deadlines.stop(deadline)
        return "done"

    extended = asyncio.create_task(extend())
    assert await asyncio.create_task(run_limited(deadlines, 0, moved)) == "expired"
    moved.set()
    assert await extended == "done"


def test_deadlines_in_a_second_event_loop_pass_there_too() -> None:
    deadlines, done = CoarseTimer(TICK_S), asyncio.Event()
    done.set()

    with asyncio.Runner() as runner:
        assert runner.run(run_limited(deadlines, NEVER_S, done)) == "done"
    with asyncio.Runner() as runner:
        assert runner.run(run_limited(deadlines, 0, asyncio.Event())) == "expired"


def test_deadlines_without_a_task_reject() -> None:
    async def start_without_a_task() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def start() -> None:
            try:
                CoarseTimer().start(NEVER_S)
            except RuntimeError as error:
                future.set_exception(error)

        asyncio.get_running_loop().call_soon(start)
        await future

    with pytest.raises(RuntimeError, match="no task"):
        asyncio.run(start_without_a_task())
