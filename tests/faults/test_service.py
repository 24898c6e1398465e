"""Faults inside the service: cancellation, exceptions, clocks, schema changes."""

import ast
import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

import pytest
import structlog

from service.jobs.periodic import run_and_log
from service.observability.logging import LossyStream
from tests.support.api import PASSWORD, Api, error_of
from tests.support.databases import ROOT
from tests.support.faults import FaultEnvironment

_CLOCK_READS = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("time", "time")}
_MAY_READ_THE_CLOCK = {
    "service/security/ids.py",
    "service/observability/access_log.py",
}  # names, and the time of a line


async def test_requests_during_schema_changes_succeed(env: FaultEnvironment) -> None:
    root = await env.admin()
    done = asyncio.Event()

    async def use(number: int) -> list[int]:
        statuses: list[int] = []
        while not done.is_set():
            body = {"login_id": f"u{number}-{len(statuses)}", "name": "U"}
            statuses.append((await root.post("/v1/users", body)).status_code)
            statuses.append((await root.get("/v1/users")).status_code)
        return statuses

    users = [asyncio.create_task(use(number)) for number in range(3)]
    for _ in range(3):
        await env.database.run("ALTER TABLE users ADD COLUMN more int", "ALTER TABLE users DROP COLUMN more")
    done.set()
    statuses = [status for user in users for status in await user]
    assert len(statuses) >= 6
    assert set(statuses) == {200, 201}


async def test_cancelled_requests_are_complete_or_absent_and_leak_no_connection(
    env: FaultEnvironment,
) -> None:
    root = await env.admin()
    outcomes = set()
    for number in range(30):
        request = root.post("/v1/users", {"login_id": f"u{number}", "name": "U"})
        try:
            response = await asyncio.wait_for(request, 0.0008 * number)
        except TimeoutError:
            outcomes.add("cancelled")
        else:
            outcomes.add(str(response.status_code))
        assert not env.leaks_connections
    assert "cancelled" in outcomes
    [(users,), (events,)] = await env.database.fetch(
        "SELECT count(*) FROM users WHERE login_id <> 'root' UNION ALL SELECT count(*) FROM events"
    )
    assert users == events
    assert (await root.get("/v1/users/me")).status_code == 200


@pytest.mark.parametrize("layer", ["domain", "db", "security", "usecases", "api"])
def test_decisions_do_not_read_the_clock_of_the_process(layer: str) -> None:
    """A step of the process clock changes nothing: the database compares every expiry with its own."""
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "service" / layer).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in _CLOCK_READS
    ]
    assert set(readers) <= _MAY_READ_THE_CLOCK


async def create(root: Api, number: int) -> dict[str, str]:
    account: dict[str, str] = (await root.post("/v1/users", {"login_id": f"u{number}", "name": "U"})).json()
    return account


@pytest.mark.parametrize("days", [-1, 1])
async def test_requests_with_a_wrong_process_clock_succeed(
    api: Api, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    root = api.by(await api.admin())
    created = [await create(root, 0)]
    for name, per_second in (("time", 1), ("time_ns", 10**9)):
        true, off = getattr(time, name), days * 86400 * per_second
        monkeypatch.setattr(time, name, lambda true=true, off=off: true() + off)
    assert (await root.get("/v1/sessions/current")).status_code == 200
    session = (await api.account("ada")).token
    assert (await api.by(session).get("/v1/users/me")).status_code == 200
    created += [await create(root, number) for number in (1, 2, 3)]
    monkeypatch.undo()
    assert (await api.by(session).get("/v1/users/me")).status_code == 200
    created.append(await create(root, 4))
    times = [account["created_at"] for account in created]
    assert times == sorted(times)
    walked: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await root.get(f"/v1/users?sort=created_at&limit=1&q=u{cursor}")).json()
        walked += [item["login_id"] for item in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert walked == ["u0", "u1", "u2", "u3", "u4"]


async def test_request_raising_an_exception_with_a_secret_does_not_expose_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = api.by(await api.admin())

    def fail() -> None:
        raise KeyError("canary-secret") from ValueError(root.token)

    monkeypatch.setattr("service.usecases.users.new_id", fail)
    with structlog.testing.capture_logs() as lines:
        response = await root.post("/v1/users", {"login_id": "ada", "name": "canary", "password": PASSWORD})
    assert error_of(response) == (500, "internal_error")
    assert response.headers["Content-Type"] == "application/problem+json"
    [failure] = [line for line in lines if line["event"] == "request_failed"]
    assert failure["request_id"] == response.headers["X-Request-Id"]
    assert (failure["error"], failure["log_level"]) == ("builtins.KeyError", "error")
    for secret in ("canary", PASSWORD, root.token or ""):
        assert secret not in str(lines) + response.text
    monkeypatch.undo()
    assert (await root.post("/v1/users", {"login_id": "ada", "name": "Ada"})).status_code == 201


def test_log_on_a_full_disk_loses_the_lines_and_raises_nothing() -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        log = structlog.WriteLogger(cast(TextIO, LossyStream(full)))
        for _ in range(3):
            log.info("a line that does not fit")
        with suppress(OSError):
            full.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # so that closing does not complain


async def test_periodic_task_in_an_outage_is_postponed_and_a_failing_one_is_reported() -> None:
    async def fail(error: Exception) -> None:
        raise error

    with structlog.testing.capture_logs() as lines:
        await run_and_log("one", lambda: fail(ConnectionRefusedError()))
        await run_and_log("two", lambda: fail(ZeroDivisionError()))
    assert [(line["event"], line["task"]) for line in lines] == [
        ("periodic_task_postponed", "one"),
        ("periodic_task_failed", "two"),
    ]
    assert (lines[0]["code"], lines[0]["error"]) == (
        "database_unavailable",
        "builtins.ConnectionRefusedError",
    )
