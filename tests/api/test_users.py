"""Accounts over HTTP: reading, changing and deleting them, by whoever may."""

import asyncio
from typing import Any

import pytest

from service.domain.keys import Scope
from service.domain.users import UserRole, UserState
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, error_of, faults_of
from tests.support.databases import execute, fetch_values, fingerprint

NOBODY = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"


async def test_get_user_of_another_is_the_same_404_as_of_nobody(api: Api) -> None:
    ada, bob = await api.account("ada"), await api.account("bob")

    other = await api.by(bob).get(f"/v1/users/{ada.id}")
    nobody = await api.by(bob).get(f"/v1/users/{NOBODY}")

    assert error_of(other) == (404, "not_found")
    assert {**other.json(), "instance": ""} == {**nobody.json(), "instance": ""}
    assert (await api.by(ada).get(f"/v1/users/{ada.id}")).status_code == 200


async def test_me_stands_for_the_caller_in_every_method(api: Api) -> None:
    ada = await api.account("ada")
    as_ada = api.by(ada)
    passwords = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}

    assert (await as_ada.get("/v1/users/me")).json()["id"] == str(ada.id)
    assert (await as_ada.request("HEAD", "/v1/users/me")).status_code == 200
    assert (await as_ada.patch("/v1/users/me", {"name": "A"})).json()["name"] == "A"
    assert (await as_ada.put("/v1/users/me/password", passwords)).status_code == 204
    assert len((await as_ada.get("/v1/users/me/sessions")).json()["items"]) == 1
    assert (await as_ada.delete("/v1/users/me/sessions?keep=current")).status_code == 204
    assert (await as_ada.delete("/v1/users/me")).status_code == 204
    assert error_of(await as_ada.get("/v1/users/me")) == (401, "invalid_token")


async def test_me_for_a_key_stands_for_nobody(api: Api) -> None:
    key = api.by(await api.key(Scope.USERS_READ, Scope.USERS_WRITE))

    assert error_of(await key.get("/v1/users/me")) == (404, "not_found")
    assert error_of(await key.delete("/v1/users/me")) == (404, "not_found")


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json"])
async def test_update_user_changes_what_the_patch_names(api: Api, media_type: str) -> None:
    ada = await api.account("ada")
    admin = api.by(await api.admin())
    before = (await admin.get(f"/v1/users/{ada.id}")).json()

    changed = await admin.request(
        "PATCH", f"/v1/users/{ada.id}", content=b'{"login_id":"Ada2"}', headers={"Content-Type": media_type}
    )

    assert changed.status_code == 200
    assert changed.json() == {**before, "login_id": "ada2", "updated_at": changed.json()["updated_at"]}
    assert changed.json()["updated_at"] > before["updated_at"]
    assert (await admin.get(f"/v1/users/{ada.id}")).headers["ETag"] == changed.headers["ETag"]


async def test_update_user_with_nothing_changes_nothing(api: Api) -> None:
    ada = await api.account("ada")
    before = (await api.by(ada).get("/v1/users/me")).json()

    assert (await api.by(ada).patch("/v1/users/me", {})).json() == before


@pytest.mark.parametrize("field", ["name", "login_id", "role", "state"])
async def test_update_user_with_null_is_rejected(api: Api, field: str) -> None:
    ada = await api.account("ada")
    admin = api.by(await api.admin())

    refused = await admin.patch(f"/v1/users/{ada.id}", {field: None})

    assert faults_of(refused) == [(f"/{field}", "wrong_type")]


@pytest.mark.parametrize(
    ("field", "value"), [("login_id", "eve"), ("role", "admin"), ("state", "disabled"), ("role", "user")]
)
async def test_update_user_by_its_owner_may_change_the_name_alone(api: Api, field: str, value: str) -> None:
    ada = await api.account("ada")
    before = await fingerprint(api.service.engine)

    assert error_of(await api.by(ada).patch("/v1/users/me", {field: value})) == (403, "forbidden")
    assert await fingerprint(api.service.engine) == before
    assert (await api.by(ada).patch("/v1/users/me", {"name": "Countess"})).status_code == 200


async def test_update_user_to_a_taken_login_id_is_rejected(api: Api) -> None:
    ada = await api.account("ada")
    await api.account("bob")
    admin = api.by(await api.admin())

    refused = await admin.patch(f"/v1/users/{ada.id}", {"login_id": "BOB"})

    assert error_of(refused) == (409, "login_id_taken")


async def test_disable_user_ends_every_session(api: Api) -> None:
    ada = await api.account("ada")
    admin = api.by(await api.admin())
    assert (await api.by(ada).get("/v1/users/me")).status_code == 200

    assert (await admin.patch(f"/v1/users/{ada.id}", {"state": "disabled"})).json()["state"] == "disabled"

    assert error_of(await api.by(ada).get("/v1/users/me")) == (401, "invalid_token")
    assert (await admin.patch(f"/v1/users/{ada.id}", {"state": "active"})).status_code == 200
    assert error_of(await api.by(ada).get("/v1/users/me")) == (401, "invalid_token")


@pytest.mark.parametrize("change", [{"role": "user"}, {"state": "disabled"}, None])
async def test_last_admin_cannot_be_lost(api: Api, change: dict[str, Any] | None) -> None:
    root = await api.admin()
    await api.account("disabled", role=UserRole.ADMIN, state=UserState.DISABLED)
    key = api.by(await api.key(Scope.USERS_WRITE, Scope.ADMINS_WRITE))
    path = f"/v1/users/{root.id}"

    async def lose() -> Any:
        return await (key.delete(path) if change is None else key.patch(path, change))

    assert error_of(await lose()) == (409, "last_admin")
    assert (await api.by(root).get("/v1/users")).status_code == 200
    await api.admin("second")
    assert (await lose()).status_code in (200, 204)


async def test_last_admin_with_a_password_of_its_own_cannot_be_lost(api: Api) -> None:
    root, key = await api.admin(), api.by(await api.key(Scope.USERS_WRITE, Scope.ADMINS_WRITE))
    invited = await key.post("/v1/users", {"login_id": "invited", "name": "Invited", "role": "admin"})
    assert invited.status_code == 201
    await api.account("due", role=UserRole.ADMIN, must_change=True)

    assert error_of(await key.delete(f"/v1/users/{root.id}")) == (409, "last_admin")


@pytest.mark.parametrize("how", ["demote", "disable", "delete"])
async def test_admins_that_remove_each_other_at_once_leave_one(api: Api, how: str) -> None:
    admins = [await api.admin(f"root{number}") for number in range(4)]

    async def remove(by: Account, whom: Account) -> int:
        path, as_admin = f"/v1/users/{whom.id}", api.by(by)
        if how == "delete":
            return (await as_admin.delete(path)).status_code
        change = {"role": "user"} if how == "demote" else {"state": "disabled"}
        return (await as_admin.patch(path, change)).status_code

    await asyncio.gather(*(remove(by, whom) for by in admins for whom in admins if by is not whom))

    left = await fetch_values(
        api.service.engine, "SELECT count(*) FROM users WHERE role = 'admin' AND state = 'active'"
    )
    assert left >= [(1,)]


async def test_delete_user_removes_all_that_hangs_on_it(api: Api) -> None:
    ada = await api.account("ada")
    admin = api.by(await api.admin())
    assert (await admin.post(f"/v1/users/{ada.id}/reset-tokens")).status_code == 201
    assert (await api.log_in("ada")).status_code == 201

    assert (await admin.delete(f"/v1/users/{ada.id}")).status_code == 204

    assert error_of(await admin.delete(f"/v1/users/{ada.id}")) == (404, "not_found")
    assert error_of(await api.by(ada).get("/v1/users/me")) == (401, "invalid_token")
    for table in ("sessions", "devices", "reset_tokens"):
        left = await fetch_values(
            api.service.engine, f"SELECT count(*) FROM {table} WHERE user_id = :id", id=ada.id
        )
        assert left == [(0,)]


async def test_delete_user_by_its_owner_needs_a_recent_log_in(api: Api) -> None:
    ada = await api.account("ada")
    age = "UPDATE sessions SET created_at = created_at - interval '11 min' WHERE id = :id"
    await execute(api.service.engine, age, id=ada.session_id)

    assert error_of(await api.by(ada).delete("/v1/users/me")) == (403, "reauthentication_required")

    fresh = (await api.log_in("ada")).json()["token"]
    assert (await api.by(fresh).delete("/v1/users/me")).status_code == 204
