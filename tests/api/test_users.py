"""Accounts over HTTP: who may do what, and what comes back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from service.domain.keys import Scope
from service.domain.users import UserRole, UserState
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, error_of, faults_of, serving
from tests.support.databases import execute, fetch_values, fingerprint
from tests.support.settings import settings_for_tests

NOBODY = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
NEW = {"login_id": "grace", "name": "Grace", "password": PASSWORD}


async def test_create_user_as_admin_answers_the_account(api: Api) -> None:
    admin = api.by(await api.admin())

    created = await admin.post("/v1/users", NEW)
    body = created.json()
    read = await admin.get(created.headers["Location"])

    assert created.status_code == 201
    assert body == {
        "id": str(UUID(body["id"])),
        "login_id": "grace",
        "name": "Grace",
        "role": "user",
        "state": "active",
        "created_at": body["created_at"],
        "updated_at": body["created_at"],
        "last_login_at": None,
        "email": None,
        "email_verified_at": None,
        "pending_email": None,
        "locale": None,
        "external_id": None,
        "metadata": {},
        "password_changed_at": body["created_at"],
        "factors": [],
    }
    assert UUID(body["id"]).version == 7
    assert len(body["created_at"]) == len("2026-11-23T09:30:00.000000Z")
    assert read.json() == body
    assert read.headers["ETag"] == created.headers["ETag"]


async def test_create_user_with_role_and_state_keeps_them(api: Api) -> None:
    key = api.by(await api.key(Scope.USERS_WRITE, Scope.ADMINS_WRITE))

    created = await key.post("/v1/users", {**NEW, "role": "admin", "state": "disabled"})

    assert (created.json()["role"], created.json()["state"]) == ("admin", "disabled")
    assert error_of(await api.log_in("grace")) == (401, "invalid_credentials")


async def test_create_user_without_password_lets_nobody_log_in(api: Api) -> None:
    admin = api.by(await api.admin())

    assert (await admin.post("/v1/users", {"login_id": "grace", "name": "Grace"})).status_code == 201
    assert error_of(await api.log_in("grace", "")) == (401, "invalid_credentials")


async def test_create_user_with_a_hash_lets_its_owner_log_in_and_renews_it(api: Api) -> None:
    admin = api.by(await api.admin())
    imported = await api.hash(PASSWORD)
    foreign = imported.replace("argon2id", "argon2i")

    assert faults_of(
        await admin.post("/v1/users", {"login_id": "g", "name": "G", "password_hash": foreign[:20]})
    )
    created = await admin.post("/v1/users", {"login_id": "g", "name": "G", "password_hash": imported})

    assert created.status_code == 201
    assert (await api.log_in("g")).status_code == 201


async def test_create_user_with_password_and_hash_is_refused(api: Api) -> None:
    admin = api.by(await api.admin())
    both = {**NEW, "password_hash": await api.hash(PASSWORD)}

    assert faults_of(await admin.post("/v1/users", both)) == [("/password_hash", "conflicting_fields")]


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("otter", "password_too_short"),
        ("p" * 1025, "password_too_long"),
        ("grace grace grace", "password_blocked"),
        ("mauve otter\x07 sings", "password_invalid_characters"),
    ],
)
async def test_create_user_with_a_bad_password_names_the_rule(api: Api, password: str, code: str) -> None:
    admin = api.by(await api.admin())

    refused = await admin.post("/v1/users", {**NEW, "password": password})

    assert ("/password", code) in faults_of(refused)
    assert password not in refused.text
    assert (await admin.post("/v1/users", NEW)).status_code == 201


async def test_create_user_with_several_faults_tells_all(api: Api) -> None:
    admin = api.by(await api.admin())

    refused = await admin.post("/v1/users", {"login_id": "-", "name": "\x00", "password": "x"})

    assert {pointer for pointer, _ in faults_of(refused)} == {"/login_id", "/name", "/password"}


@pytest.mark.parametrize("login_id", ["ada", "ADA", "aDa"])
async def test_create_user_with_a_taken_login_id_is_refused_in_any_case(api: Api, login_id: str) -> None:
    await api.account("ada")
    admin = api.by(await api.admin())

    assert error_of(await admin.post("/v1/users", {**NEW, "login_id": login_id})) == (
        409,
        "login_id_taken",
    )


@pytest.mark.parametrize(
    "login_id",
    [
        *("ＡＤＡ", "\u212aelvin", "ade\u0301", "a\u200dda", "a\u00adda", "\u202eada", "аda", "İda"),
        *("straße", "ς", "ﬁda", "", " ada", "ada ", "ada\n", ".ada", "a da", "a\x00da"),
        *("a" * 255, "a" + "\u0301" * 2000, "me", "ME", "current", "null", "undefined"),
    ],
)  # fmt: skip
async def test_create_user_with_what_is_no_login_id_is_refused(api: Api, login_id: str) -> None:
    await api.account("ada")
    admin = api.by(await api.admin())
    before = await fingerprint(api.service.engine)

    refused = await admin.post("/v1/users", {**NEW, "login_id": login_id})

    assert [pointer for pointer, _ in faults_of(refused)] == ["/login_id"]
    assert await fingerprint(api.service.engine) == before
    assert error_of(await api.log_in(login_id)) == (401, "invalid_credentials")


async def test_create_user_with_a_decomposed_name_stores_it_composed(api: Api) -> None:
    admin = api.by(await api.admin())

    created = await admin.post("/v1/users", {**NEW, "name": "Zoe\u0308"})

    assert created.json()["name"] == "Zo\u00eb"


@pytest.mark.parametrize("name", ["", "a\x00", "a\u202eb", "a\u0085", "a\uffffb", "a" * 201])
async def test_create_user_with_a_bad_name_is_refused(api: Api, name: str) -> None:
    admin = api.by(await api.admin())

    refused = await admin.post("/v1/users", {**NEW, "name": name})

    assert [pointer for pointer, _ in faults_of(refused)] == ["/name"]


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
async def test_update_user_with_null_is_refused(api: Api, field: str) -> None:
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


async def test_update_user_to_a_taken_login_id_is_refused(api: Api) -> None:
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


async def test_create_users_with_one_login_id_at_once_makes_one(api: Api) -> None:
    admin = api.by(await api.admin())

    creations = (admin.post("/v1/users", {"login_id": "Grace", "name": "G"}) for _ in range(20))
    answers = await asyncio.gather(*creations)

    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]


@pytest_asyncio.fixture
async def open_api(api: Api, shared_database: str) -> AsyncIterator[Api]:
    """The same tables, served with open registration."""
    async with (
        serving(settings_for_tests(registration="open"), shared_database) as running,
        running.client() as client,
    ):
        yield Api(client, running.service)


async def test_open_registration_lets_anybody_create_a_plain_account(api: Api, open_api: Api) -> None:
    assert error_of(await api.post("/v1/users", NEW)) == (401, "unauthenticated")

    created = await open_api.post("/v1/users", NEW)

    assert created.status_code == 201
    assert (created.json()["role"], created.json()["state"]) == ("user", "active")
    assert (await open_api.log_in("grace")).status_code == 201
    assert error_of(await open_api.by("rcs_" + "A" * 43).post("/v1/users", NEW)) == (
        401,
        "invalid_token",
    )


async def test_open_registration_lets_only_the_trusted_set_more(open_api: Api) -> None:
    ada, root = await open_api.account("ada"), await open_api.admin()
    weak, strong = await open_api.key(Scope.USERS_READ), await open_api.key(*Scope)
    untrusted: list[Account | str | None] = [None, ada, weak]
    trusted: list[Account | str] = [root, strong]
    password_hash = await open_api.hash(PASSWORD)
    person = {"login_id": "grace", "name": "Grace"}

    for field, value in {"role": "admin", "state": "active", "password_hash": password_hash}.items():
        password = {} if field == "password_hash" else {"password": PASSWORD}
        for caller in untrusted:
            refused = await open_api.by(caller).post("/v1/users", {**person, **password, field: value})
            assert faults_of(refused) == [(f"/{field}", "not_settable")]
    for caller in untrusted:
        assert faults_of(await open_api.by(caller).post("/v1/users", person)) == [
            ("/password", "missing_field")
        ]
    for number, by in enumerate(trusted):
        more = {**person, "login_id": f"grace{number}", "role": "admin", "password_hash": password_hash}
        assert (await open_api.by(by).post("/v1/users", more)).status_code == 201


async def test_open_registration_gives_no_way_around_a_password_change(open_api: Api) -> None:
    root = await open_api.account("root", role=UserRole.ADMIN, must_change=True)

    refused = await open_api.by(root).post("/v1/users", {**NEW, "role": "admin"})

    assert error_of(refused) == (403, "password_change_required")
    assert (await open_api.post("/v1/users", NEW)).status_code == 201
