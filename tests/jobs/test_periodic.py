"""Periodic tasks."""

import asyncio
from datetime import timedelta

from structlog.testing import capture_logs

from service.domain.errors import OutcomeUnknown
from service.jobs.periodic import PeriodicTask, run_and_log, run_periodically


async def test_run_periodically_repeats_a_task_after_a_failure() -> None:
    runs = 0
    repeated = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ZeroDivisionError
        repeated.set()

    task = PeriodicTask("fails once", timedelta(hours=1), work)
    with capture_logs() as lines:
        async with run_periodically([task], jitter=lambda: 0.0), asyncio.timeout(60):
            await repeated.wait()
    assert [(line["event"], line["task"]) for line in lines] == [("periodic_task_failed", "fails once")]


async def test_run_periodically_ends_a_task_that_is_cancelled_during_commit() -> None:
    started = asyncio.Event()

    async def commit() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:  # as `Database` does
            raise OutcomeUnknown from None

    with capture_logs():
        async with asyncio.timeout(60):
            async with run_periodically([PeriodicTask("commits", timedelta(0), commit)]):
                await started.wait()


async def test_run_and_log_of_a_bug_logs_types_and_frames_without_messages() -> None:
    async def fail() -> None:
        raise ZeroDivisionError("hunter2")

    with capture_logs() as lines:
        await run_and_log("broken", fail)
    (line,) = lines
    assert (line["error"], line["trace"][0]["error"]) == ("builtins.ZeroDivisionError",) * 2
    assert "test_periodic.py" in line["trace"][0]["at"][-1]
    assert "hunter2" not in str(line)
