"""Faults of the network between the service and PostgreSQL."""

import asyncio

import pytest

from harness.proxy import LostCommits
from tests.support.faults import FaultEnvironment, is_503, is_complete

ADA = {"login_id": "ada", "name": "Ada"}


@pytest.mark.parametrize("lost", [LostCommits.DONE, LostCommits.UNANSWERED])
async def test_create_with_a_lost_commit_reply_gets_outcome_unknown_and_is_safe_to_repeat(
    short_env: FaultEnvironment, lost: LostCommits
) -> None:
    root = await short_env.admin()
    key = {"Idempotency-Key": "ada-once"}
    short_env.proxy.lost_commits, short_env.proxy.commits_spared = (
        lost,
        1,
    )  # that of the look-up of a stored response
    response = await root.post("/v1/users", ADA, headers=key)
    short_env.proxy.lost_commits = None
    assert is_503(response, "outcome_unknown")
    assert await is_complete(short_env.database, "ada") is True

    again = await root.post("/v1/users", ADA, headers=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert await is_complete(short_env.database, "ada") is True
    assert short_env.proxy.commits_lost == 1


async def test_create_with_a_lost_commit_gets_outcome_unknown_and_leaves_nothing(
    env: FaultEnvironment,
) -> None:
    root = await env.admin()
    env.proxy.lost_commits = LostCommits.SENT
    response = await root.post("/v1/users", ADA)
    env.proxy.lost_commits = None
    assert is_503(response, "outcome_unknown")
    assert await is_complete(env.database, "ada") is False
    assert (await root.post("/v1/users", ADA)).status_code == 201


async def test_requests_on_a_silent_network_get_503_in_time_and_recover(
    short_env: FaultEnvironment,
) -> None:
    root = await short_env.admin()
    with short_env.proxy.silence():
        responses = await asyncio.gather(
            *(root.post("/v1/users", {"login_id": f"u{n}", "name": "U"}) for n in range(8)),
            *(root.get("/v1/users/me") for _ in range(8)),
        )
        assert (await short_env.api.get("/health/live")).status_code == 200
        assert (await short_env.api.get("/health/ready")).status_code == 503
    assert all(is_503(response, "database_unavailable") for response in responses)
    assert (await root.post("/v1/users", ADA)).status_code == 201
    assert (await root.get("/v1/users/me")).status_code == 200
    assert await short_env.database.fetch("SELECT login_id FROM users ORDER BY 1") == [("ada",), ("root",)]


@pytest.mark.parametrize(("how", "much"), [("latency_s", 0.02), ("bytes_per_second", 20_000)])
async def test_requests_on_a_slow_network_succeed(env: FaultEnvironment, how: str, much: float) -> None:
    root = await env.admin()
    setattr(env.proxy, how, much)
    assert (await root.get("/v1/users/me")).status_code == 200
    assert (await root.post("/v1/users", ADA)).status_code == 201


@pytest.mark.parametrize("limit_bytes", [1, 60, 400, 900, 2000])
async def test_create_with_a_connection_cut_at_a_byte_is_complete_or_absent(
    env: FaultEnvironment, limit_bytes: int
) -> None:
    root = await env.admin()
    env.proxy.cut_after_bytes = limit_bytes
    env.proxy.cut()
    await asyncio.sleep(0)
    response = await root.post("/v1/users", ADA)
    env.proxy.cut_after_bytes = None
    env.proxy.cut()
    await asyncio.sleep(0)
    assert response.status_code in {201, 503}
    whole = await is_complete(env.database, "ada")
    assert whole is not None
    if response.status_code == 201:
        assert whole
    assert (await root.get("/v1/users/me")).status_code == 200
    assert not env.leaks_connections


async def test_requests_after_every_connection_was_cut_succeed(env: FaultEnvironment) -> None:
    root = await env.admin()
    await asyncio.gather(*(root.get("/v1/users") for _ in range(8)))
    env.proxy.cut()
    responses = await asyncio.gather(
        *(root.post("/v1/users", {"login_id": f"u{n}", "name": "U"}) for n in range(4)),
        *(root.get("/v1/users/me") for _ in range(4)),
    )
    assert [response.status_code for response in responses] == [201] * 4 + [200] * 4
