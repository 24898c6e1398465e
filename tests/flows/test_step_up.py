"""What bounds a stolen session: a recent login for powerful operations, and what a new login replaces."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from service.domain.keys import Scope
from service.domain.users import UserRole
from service.services import Services
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, error_of
from tests.support.databases import execute, fetch_values, fingerprint

Send = Callable[[Api, "Scene"], Awaitable[httpx.Response]]


TOO_OLD = (403, "reauthentication_required")
NEW = {"login_id": "eve", "name": "Eve"}
KEY = {"name": "gateway", "scopes": ["users:read"]}


class Scene:
    """The objects of the operations."""

    def __init__(self, victim: Account, admin: Account, key_id: str) -> None:
        self.victim, self.admin, self.key_id = victim, admin, key_id


async def scene_of(api: Api) -> Scene:
    victim, admin = await api.account("victim"), await api.admin("other")
    made = await api.by(admin).post("/v1/keys", KEY)
    return Scene(victim, admin, made.json()["api_key"]["id"])


def on_victim(method: str, path: str = "", json: Any = None) -> Send:
    options = {} if json is None else {"json": json}
    return lambda api, scene: api.request(method, f"/v1/users/{scene.victim.id}{path}", **options)


NEEDS_RECENT_LOGIN: dict[str, Send] = {
    "create a key": lambda api, _: api.post("/v1/keys", KEY),
    "revoke a key": lambda api, scene: api.delete(f"/v1/keys/{scene.key_id}"),
    "create an administrator": lambda api, _: api.post("/v1/users", {**NEW, "role": "admin"}),
    "change a role": on_victim("PATCH", json={"role": "admin"}),
    "change a login id": on_victim("PATCH", json={"login_id": "mine"}),
    "change one's own login id": lambda api, _: api.patch("/v1/users/me", {"login_id": "mine"}),
    "set a password": on_victim("PUT", "/password", {"new_password": OTHER_PASSWORD}),
    "create a reset token": on_victim("POST", "/reset-tokens"),
    "remove another's factors": on_victim("DELETE", "/factors"),
    "end another's sessions": on_victim("DELETE", "/sessions"),
    "end another's session": lambda api, scene: api.delete(f"/v1/sessions/{scene.victim.session_id}"),
    "delete a user": on_victim("DELETE"),
    "delete oneself": lambda api, _: api.delete("/v1/users/me"),
}
NEEDS_NONE: dict[str, Send] = {
    "read": lambda api, _: api.get("/v1/users"),
    "create a user": lambda api, _: api.post("/v1/users", NEW),
    "change a name": on_victim("PATCH", json={"name": "Changed"}),
    "disable": on_victim("PATCH", json={"state": "disabled"}),
    "list keys": lambda api, _: api.get("/v1/keys"),
    "end one's own sessions": lambda api, _: api.delete("/v1/users/me/sessions?keep=current"),
    "change one's own password": lambda api, _: api.put(
        "/v1/users/me/password", {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    ),
}


async def age(api: Api, account: Account, span: str) -> None:
    aged = (
        "UPDATE sessions SET created_at = created_at - CAST(CAST(:span AS text) AS interval) WHERE id = :id"
    )
    await execute(api.service.engine, aged, span=span, id=account.session_id)


@pytest.mark.parametrize("what", NEEDS_RECENT_LOGIN)
async def test_powerful_operation_with_a_login_ten_minutes_old_gets_403(api: Api, what: str) -> None:
    """Source: OWASP ASVS 5.0 7.5.1, 7.5.2."""
    root, scene, send = await api.admin(), await scene_of(api), NEEDS_RECENT_LOGIN[what]
    await age(api, root, "10 minutes")
    before = await fingerprint(api.service.engine)

    assert error_of(await send(api.by(root), scene)) == TOO_OLD
    assert await fingerprint(api.service.engine) == before

    token = (await api.by(root).log_in("root")).json()["token"]
    assert (await send(api.by(token), scene)).is_success


@pytest.mark.parametrize("what", NEEDS_NONE)
async def test_other_operation_with_an_old_login_succeeds(api: Api, what: str) -> None:
    root, scene = await api.admin(), await scene_of(api)
    await age(api, root, "11 hours")
    assert (await NEEDS_NONE[what](api.by(root), scene)).is_success


async def test_powerful_operation_by_key_needs_no_login(api: Api) -> None:
    scene, key = await scene_of(api), await api.key(*Scope)
    for what in ("set a password", "create a reset token", "change a role", "end another's sessions"):
        assert (await NEEDS_RECENT_LOGIN[what](api.by(key), scene)).is_success, what


async def status(api: Api, token: str) -> int:
    return (await api.by(token).get("/v1/users/me")).status_code


async def test_log_in_with_a_session_of_the_same_user_ends_that_session(api: Api) -> None:
    """Source: OWASP ASVS 5.0 7.2.4."""
    ada, bob = await api.account("ada"), await api.account("bob")

    assert (await api.by(ada).log_in("ada", OTHER_PASSWORD)).status_code == 401
    assert await status(api, ada.token) == 200
    assert (await api.by(bob).log_in("ada")).status_code == 201
    assert await status(api, bob.token) == 200
    again = await api.by(ada).log_in("ada")

    assert again.status_code == 201
    assert (await status(api, ada.token), await status(api, again.json()["token"])) == (401, 200)
    assert (await api.by(ada).log_in("ada")).status_code == 201  # a session that has ended is ignored


async def test_log_in_that_ends_a_session_is_audited(api: Api, service: Services) -> None:
    ada = await api.account("ada")
    await api.by(ada).log_in("ada")
    actions = await fetch_values(service.engine, "SELECT action, subject_id FROM events ORDER BY action")
    assert actions == [("login.succeeded", ada.id), ("session.ended", ada.id)]


async def test_change_own_password_forgets_all_devices_except_that_of_the_session(
    api: Api, service: Services
) -> None:
    """Source: OWASP ASVS 5.0 6.5.6."""
    ada = await api.account("ada")
    mine, thiefs = [(await api.log_in("ada")).json() for _ in range(2)]
    bob = await api.account("bob")
    await api.log_in("bob")
    assert await fetch_values(service.engine, "SELECT count(*) FROM devices") == [(3,)]

    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert (await api.by(mine["token"]).put("/v1/users/me/password", body)).status_code == 204

    left = "SELECT user_id, id = (SELECT device_id FROM sessions WHERE user_id = :ada) FROM devices"
    found = set(await fetch_values(service.engine, left, ada=ada.id))
    assert {(ada.id, True)} == {row for row in found if row[0] == ada.id}
    assert bob.id in {row[0] for row in found}
    assert thiefs["device_token"] != mine["device_token"]


async def test_log_in_with_a_device_token_records_the_device_of_the_session(
    api: Api, service: Services
) -> None:
    await api.account("ada")
    first = (await api.log_in("ada")).json()
    await api.log_in("ada", device_token=first["device_token"])
    rows = "SELECT count(*), count(DISTINCT device_id) FROM sessions WHERE device_id IS NOT NULL"
    assert await fetch_values(service.engine, rows) == [(2, 1)]


async def test_wrong_passwords_in_one_session_do_not_block_the_change_in_another(api: Api) -> None:
    ada = await api.account("ada")
    stolen = (await api.log_in("ada")).json()["token"]
    wrong = {"current_password": OTHER_PASSWORD, "new_password": "an entirely different phrase"}
    answers = [await api.by(stolen).put("/v1/users/me/password", wrong) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [422] * 5 + [429] * 2

    right = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert (await api.by(ada).put("/v1/users/me/password", right)).status_code == 204
    assert await status(api, stolen) == 401


async def test_change_own_role_with_an_old_login_gets_403(api: Api) -> None:
    await api.admin()
    ada = await api.account("ada", role=UserRole.ADMIN)
    await age(api, ada, "10 minutes")
    assert error_of(await api.by(ada).patch("/v1/users/me", {"role": "user"})) == TOO_OLD


async def test_change_own_role_keeps_the_session_that_did_it(api: Api) -> None:
    await api.admin()
    ada = await api.account("ada", role=UserRole.ADMIN)
    other = (await api.log_in("ada")).json()["token"]
    assert (await api.by(ada).patch("/v1/users/me", {"role": "user"})).status_code == 200
    assert (await status(api, ada.token), await status(api, other)) == (200, 401)
