"""Concurrent requests: the result is that of some sequential order."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from service.domain.keys import Scope
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api
from tests.support.databases import fetch_values

ROUNDS = 4
"""So few that failed logins stay below the limit of a network."""


async def concurrently(*requests: Awaitable[Any]) -> list[int]:
    return [response.status_code for response in await asyncio.gather(*requests)]


async def live_sessions(api: Api, account: Account) -> object:
    statement = "SELECT count(*) FROM sessions WHERE user_id = :id"
    return (await fetch_values(api.service.engine, statement, id=account.id))[0][0]


async def test_delete_a_user_many_times_concurrently_succeeds_once(api: Api) -> None:
    ada, key = await api.account("ada"), api.by(await api.key(Scope.USERS_WRITE))

    statuses = await concurrently(*(key.delete(f"/v1/users/{ada.id}") for _ in range(20)))

    assert sorted(statuses) == [204, *[404] * 19]


async def test_disable_a_user_during_its_logins_leaves_no_session(api: Api) -> None:
    key = api.by(await api.key(Scope.USERS_READ, Scope.USERS_WRITE))
    for number in range(ROUNDS):
        ada = await api.account(f"ada{number}")

        disable = key.patch(f"/v1/users/{ada.id}", {"state": "disabled"})
        statuses = await concurrently(*(api.log_in(ada.login_id) for _ in range(3)), disable)

        assert statuses[-1] == 200
        assert set(statuses[:-1]) <= {201, 401}
        assert await live_sessions(api, ada) == 0


async def test_set_a_password_during_logins_with_the_old_one_leaves_no_session(api: Api) -> None:
    key = api.by(await api.key(Scope.USERS_WRITE))
    for number in range(ROUNDS):
        ada = await api.account(f"ada{number}")

        change = key.put(f"/v1/users/{ada.id}/password", {"new_password": OTHER_PASSWORD})
        statuses = await concurrently(*(api.log_in(ada.login_id) for _ in range(3)), change)

        assert statuses[-1] == 204
        assert await live_sessions(api, ada) == 0
        assert (await api.log_in(ada.login_id)).status_code == 401


async def test_change_own_password_twice_concurrently_succeeds_once(api: Api) -> None:
    for number in range(ROUNDS):
        ada = await api.account(f"ada{number}")
        wanted = [f"{OTHER_PASSWORD} {word}" for word in ("one", "two")]

        changes = [{"current_password": PASSWORD, "new_password": password} for password in wanted]
        statuses = await concurrently(*(api.by(ada).put("/v1/users/me/password", body) for body in changes))

        assert sorted(statuses) == [204, 422]
        logins = [(await api.log_in(ada.login_id, password)).status_code for password in wanted]
        assert [status == 201 for status in logins] == [status == 204 for status in statuses]


async def test_log_out_while_the_session_is_used_ends_it(api: Api) -> None:
    for number in range(ROUNDS):
        ada = await api.account(f"ada{number}")
        as_ada = api.by(ada)

        uses = [as_ada.get("/v1/users/me") for _ in range(5)]
        statuses = await concurrently(*uses, as_ada.delete("/v1/sessions/current"))

        assert statuses[-1] == 204
        assert set(statuses[:-1]) <= {200, 401}
        assert (await as_ada.get("/v1/users/me")).status_code == 401


async def test_patch_two_fields_concurrently_keeps_both(api: Api) -> None:
    key = api.by(await api.key(Scope.USERS_READ, Scope.USERS_WRITE))
    for number in range(ROUNDS):
        ada = await api.account(f"ada{number}")
        path = f"/v1/users/{ada.id}"

        statuses = await concurrently(
            key.patch(path, {"name": "Both"}), key.patch(path, {"login_id": f"both{number}"})
        )

        assert statuses == [200, 200]
        assert await fetch_values(
            api.service.engine, "SELECT name, login_id FROM users WHERE id = :id", id=ada.id
        ) == [("Both", f"both{number}")]
