"""Races of logins with what revokes access, 30 rounds of each; `make prove-defences` runs 100."""

from typing import TypeVar

import pytest

from service.domain.users import UserRole, UserState
from service.services import Services
from tests.faults.racing import ROUNDS, clear_throttle, concurrently
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api
from tests.support.databases import execute, fetch_values

pytestmark = pytest.mark.usefixtures("_many_processes")

Item = TypeVar("Item")

THIRD_PASSWORD = "an entirely different phrase"
SPELLINGS = ["race", "RACE", "Race", "rAce", "raCe", "racE", "RAce", "raCE", "RaCe", "rAcE"]


async def status(api: Api, token: str) -> int:
    return (await api.by(token).get("/v1/users/me")).status_code


async def test_disable_during_logins_leaves_no_session(api: Api, service: Services) -> None:
    admin, ada = api.by(await api.admin()), await api.account("ada")
    outcomes = set()
    for number in range(ROUNDS):
        logins = [api.log_in("ada") for _ in range(2)]
        disabling = admin.patch(f"/v1/users/{ada.id}", {"state": "disabled"})
        *logged_in, disabled = await concurrently(*_alternating(number, logins), disabling)
        assert disabled.status_code == 200
        for response in logged_in:
            outcomes.add(response.status_code)
            if response.status_code == 201:
                assert await status(api, response.json()["token"]) == 401
        assert await _sessions_of(service, ada) == 0
        await execute(service.engine, "UPDATE users SET state = 'active' WHERE id = :id", id=ada.id)
        await clear_throttle(service)
    assert outcomes <= {201, 401}


async def test_change_password_during_logins_with_the_old_one_leaves_no_session_of_them(
    api: Api, service: Services
) -> None:
    ada = await api.account("ada")
    old, new = PASSWORD, OTHER_PASSWORD
    for number in range(ROUNDS):
        body = {"current_password": old, "new_password": new}
        changing = api.by(ada).put("/v1/users/me/password", body)
        logins = [api.log_in("ada", old) for _ in range(2)]
        *logged_in, changed = await concurrently(*_alternating(number, logins), changing)
        assert changed.status_code == 204, changed.text
        assert {response.status_code for response in logged_in} <= {201, 401}
        tokens = [response.json()["token"] for response in logged_in if response.status_code == 201]
        assert [await status(api, token) for token in tokens] == [401] * len(tokens)
        assert await _sessions_of(service, ada) == 1
        old, new = new, old
        await clear_throttle(service)


async def test_demote_each_other_concurrently_leaves_one_administrator(api: Api, service: Services) -> None:
    """Source: OWASP ASVS 5.0 15.4.2."""
    first, second = await api.admin("first"), await api.admin("second")
    for number in range(ROUNDS):
        demotion: dict[str, str] = {"role": "user"} if number % 10 else {"state": "disabled"}
        pair = ((first, second), (second, first))
        responses = await concurrently(
            *(api.by(one).patch(f"/v1/users/{other.id}", demotion) for one, other in pair)
        )
        assert min(response.status_code for response in responses) == 200
        assert {response.status_code for response in responses} <= {200, 401, 404, 409}
        assert await _active_admins(service) == 1
        await execute(service.engine, "UPDATE users SET role = 'admin', state = 'active'")
        first, second = [await _with_session(api, service, account) for account in (first, second)]


async def test_delete_and_demote_two_administrators_concurrently_leaves_one(
    api: Api, service: Services
) -> None:
    root = await api.admin("root")
    for number in range(ROUNDS // 2):
        other = await api.admin(f"other-{number}")
        demoting = api.by(other).patch(f"/v1/users/{root.id}", {"role": "user"})
        deleting = api.by(root).delete(f"/v1/users/{other.id}")
        responses = await concurrently(*_alternating(number, [demoting, deleting]))
        assert {response.status_code for response in responses} <= {200, 204, 401, 404, 409}
        assert await _active_admins(service) == 1
        await execute(service.engine, "DELETE FROM users WHERE id = :id", id=other.id)
        await execute(service.engine, "UPDATE users SET role = 'admin' WHERE id = :id", id=root.id)
        root = await _with_session(api, service, root)


async def test_remove_the_last_administrator_gets_409(api: Api, service: Services) -> None:
    root = await api.admin()
    await api.account("disabled", role=UserRole.ADMIN, state=UserState.DISABLED)
    path = f"/v1/users/{root.id}"
    for response in (
        await api.by(root).patch(path, {"role": "user"}),
        await api.by(root).patch(path, {"state": "disabled"}),
        await api.by(root).delete(path),
        await api.by(root).delete("/v1/users/me"),
    ):
        assert (response.status_code, response.json()["code"]) == (409, "last_admin")
    assert await _active_admins(service) == 1


async def test_create_one_login_id_fifty_times_concurrently_creates_one_user(
    api: Api, service: Services
) -> None:
    """Source: CVE-2019-19844."""
    admin = api.by(await api.admin())
    for number in range(4):
        responses = await concurrently(
            *(
                admin.post("/v1/users", {"login_id": f"{SPELLINGS[place % 10]}-{number}", "name": "R"})
                for place in range(50)
            )
        )
        assert sorted(response.status_code for response in responses) == [201] + [409] * 49
    assert await fetch_values(
        service.engine, "SELECT login_id FROM users WHERE name = 'R' ORDER BY login_id"
    ) == [(f"race-{number}",) for number in range(4)]


async def test_rename_two_users_to_one_login_id_concurrently_renames_one(api: Api) -> None:
    admin = api.by(await api.admin())
    pair = [await api.account(f"pair-{place}") for place in range(2)]
    for number in range(ROUNDS // 4):
        responses = await concurrently(
            *(admin.patch(f"/v1/users/{account.id}", {"login_id": f"Wanted-{number}"}) for account in pair)
        )
        assert sorted(response.status_code for response in responses) == [200, 409]


async def test_log_out_during_requests_rejects_every_later_request(api: Api, service: Services) -> None:
    await api.account("ada")
    for _ in range(ROUNDS // 2):
        token = (await api.log_in("ada")).json()["token"]
        session = api.by(token)
        used, ended, renamed = await concurrently(
            session.get("/v1/users/me"),
            session.delete("/v1/sessions/current"),
            session.patch("/v1/users/me", {"name": "Ada"}),
        )
        assert used.status_code in {200, 401}
        assert renamed.status_code in {200, 401}
        assert ended.status_code == 204
        await service.last_used.flush(service.database)
        assert await status(api, token) == 401


async def test_delete_during_logins_leaves_no_session_and_no_5xx(api: Api, service: Services) -> None:
    admin = api.by(await api.admin())
    for number in range(ROUNDS // 2):
        ada = await api.account("ada")
        assert (
            await api.log_in("ada")
        ).status_code == 201  # its network is known: failures belong to the user
        passwords = (PASSWORD, OTHER_PASSWORD)
        logins = [api.log_in("ada", password) for password in passwords]
        deleting = admin.delete(f"/v1/users/{ada.id}")
        *logged_in, deleted = await concurrently(*_alternating(number, logins), deleting)
        assert deleted.status_code == 204
        tokens = [response.json()["token"] for response in logged_in if response.status_code == 201]
        assert [await status(api, token) for token in tokens] == [401] * len(tokens)
        assert await _sessions_of(service, ada) == 0
        await clear_throttle(service)


async def test_change_password_twice_concurrently_sets_the_acknowledged_one(
    api: Api, service: Services
) -> None:
    ada = await api.account("ada")
    current = PASSWORD
    for _ in range(ROUNDS // 4):
        wanted = [word for word in (PASSWORD, OTHER_PASSWORD, THIRD_PASSWORD) if word != current]
        responses = await concurrently(
            *(
                api.by(ada).put("/v1/users/me/password", {"current_password": current, "new_password": new})
                for new in wanted
            )
        )
        assert sorted(response.status_code for response in responses) == [204, 422]
        current = wanted[[response.status_code for response in responses].index(204)]
        assert (await api.log_in("ada", current)).status_code == 201
        await clear_throttle(service)


async def test_log_in_concurrently_beyond_the_limits_keeps_two_hundred_sessions_and_twenty_devices(
    api: Api, service: Services
) -> None:
    ada = await api.account("ada")
    responses = await concurrently(*(api.log_in("ada") for _ in range(15)))
    assert {response.status_code for response in responses} == {201}
    await execute(
        service.engine,
        "INSERT INTO sessions (id, user_id, token_digest, expires_at, idle_expires_at)"
        " SELECT gen_random_uuid(), :user_id, sha256(n::text::bytea), now() + interval '1 day',"
        " now() + interval '1 day' FROM generate_series(1, 195) n",
        user_id=ada.id,
    )
    await execute(
        service.engine,
        "INSERT INTO devices (id, user_id, token_digest, network)"
        " SELECT gen_random_uuid(), :user_id, sha256(n::text::bytea), 'elsewhere'"
        " FROM generate_series(1, 19) n",
        user_id=ada.id,
    )
    await concurrently(*(api.log_in("ada") for _ in range(15)))
    assert await _sessions_of(service, ada) == 200
    assert await fetch_values(service.engine, "SELECT count(*) FROM devices") == [(20,)]


def _alternating(number: int, items: list[Item]) -> list[Item]:
    return items if number % 2 else items[::-1]


async def _sessions_of(service: Services, account: Account) -> object:
    rows = await fetch_values(
        service.engine, "SELECT count(*) FROM sessions WHERE user_id = :id", id=account.id
    )
    return rows[0][0]


async def _active_admins(service: Services) -> object:
    rows = await fetch_values(
        service.engine, "SELECT count(*) FROM users WHERE role = 'admin' AND state = 'active'"
    )
    return rows[0][0]


async def _with_session(api: Api, service: Services, account: Account) -> Account:
    """Log an account in again if it has lost its session."""
    if await status(api, account.token) == 200:
        return account
    await clear_throttle(service)
    opened = (await api.log_in(account.login_id)).json()
    return Account(account.id, account.login_id, opened["token"], opened["session"]["id"])
