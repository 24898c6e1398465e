"""Faults between the service and PostgreSQL."""

import asyncio

import pytest

from harness.proxy import LostCommits
from tests.faults.conftest import Stage, is_clear

ADA = {"login_id": "ada", "name": "Ada"}


@pytest.mark.parametrize("lost", [LostCommits.DONE, LostCommits.UNANSWERED])
async def test_create_when_the_reply_to_commit_is_lost_tells_so_and_is_repeated_safely(
    stage: Stage, lost: LostCommits
) -> None:
    root = await stage.admin()
    key = {"Idempotency-Key": "ada-once"}
    stage.proxy.lost_commits, stage.proxy.commits_spared = lost, 1  # of the look for a stored answer
    answer = await root.post("/v1/users", ADA, headers=key)
    stage.proxy.lost_commits = None
    assert is_clear(answer, "outcome_unknown")
    assert await stage.seen.is_whole("ada") is True

    again = await root.post("/v1/users", ADA, headers=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert await stage.seen.is_whole("ada") is True
    assert stage.proxy.commits_lost == 1


async def test_create_when_the_commit_is_lost_tells_so_and_leaves_nothing(patient_stage: Stage) -> None:
    root = await patient_stage.admin()
    patient_stage.proxy.lost_commits = LostCommits.SENT
    answer = await root.post("/v1/users", ADA)
    patient_stage.proxy.lost_commits = None
    assert is_clear(answer, "outcome_unknown")
    assert await patient_stage.seen.is_whole("ada") is False
    assert (await root.post("/v1/users", ADA)).status_code == 201


async def test_requests_while_the_network_is_silent_end_in_time_and_recover(stage: Stage) -> None:
    root = await stage.admin()
    with stage.proxy.silence():
        answers = await asyncio.gather(
            *(root.post("/v1/users", {"login_id": f"u{n}", "name": "U"}) for n in range(8)),
            *(root.get("/v1/users/me") for _ in range(8)),
        )
        assert (await stage.api.get("/health/live")).status_code == 200
        assert (await stage.api.get("/health/ready")).status_code == 503
    assert all(is_clear(answer, "database_unavailable") for answer in answers)
    assert (await root.post("/v1/users", ADA)).status_code == 201
    assert (await root.get("/v1/users/me")).status_code == 200
    assert await stage.seen.fetch("SELECT login_id FROM users ORDER BY 1") == [("ada",), ("root",)]


@pytest.mark.parametrize(("how", "much"), [("latency_s", 0.02), ("bytes_per_second", 20_000)])
async def test_requests_over_a_slow_network_succeed(patient_stage: Stage, how: str, much: float) -> None:
    root = await patient_stage.admin()
    setattr(patient_stage.proxy, how, much)
    assert (await root.get("/v1/users/me")).status_code == 200
    assert (await root.post("/v1/users", ADA)).status_code == 201


@pytest.mark.parametrize("limit_bytes", [1, 60, 400, 900, 2000])
async def test_create_when_the_connection_ends_at_a_byte_leaves_all_or_nothing(
    patient_stage: Stage, limit_bytes: int
) -> None:
    root = await patient_stage.admin()
    patient_stage.proxy.cut_after_bytes = limit_bytes
    patient_stage.proxy.cut()
    await asyncio.sleep(0)
    answer = await root.post("/v1/users", ADA)
    patient_stage.proxy.cut_after_bytes = None
    patient_stage.proxy.cut()
    await asyncio.sleep(0)
    assert answer.status_code in {201, 503}
    whole = await patient_stage.seen.is_whole("ada")
    assert whole is not None
    if answer.status_code == 201:
        assert whole
    assert (await root.get("/v1/users/me")).status_code == 200
    assert not patient_stage.misses_connections


async def test_requests_after_every_connection_was_cut_see_nothing_of_it(patient_stage: Stage) -> None:
    root = await patient_stage.admin()
    await asyncio.gather(*(root.get("/v1/users") for _ in range(8)))
    patient_stage.proxy.cut()
    answers = await asyncio.gather(
        *(root.post("/v1/users", {"login_id": f"u{n}", "name": "U"}) for n in range(4)),
        *(root.get("/v1/users/me") for _ in range(4)),
    )
    assert [answer.status_code for answer in answers] == [201] * 4 + [200] * 4
