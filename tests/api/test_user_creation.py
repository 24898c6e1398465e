"""Creating accounts over HTTP, by administrators and in open registration."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio

from service.domain.keys import Scope
from service.domain.users import UserRole
from tests.support.api import PASSWORD, Account, Api, error_of, faults_of, serving
from tests.support.databases import fingerprint
from tests.support.settings import settings_for_tests

NEW = {"login_id": "grace", "name": "Grace", "password": PASSWORD}


async def test_create_user_as_admin_returns_the_user(api: Api) -> None:
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


async def test_create_user_with_password_and_hash_is_rejected(api: Api) -> None:
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


async def test_create_user_with_several_errors_shows_all(api: Api) -> None:
    admin = api.by(await api.admin())

    refused = await admin.post("/v1/users", {"login_id": "-", "name": "\x00", "password": "x"})

    assert {pointer for pointer, _ in faults_of(refused)} == {"/login_id", "/name", "/password"}


@pytest.mark.parametrize("login_id", ["ada", "ADA", "aDa"])
async def test_create_user_with_a_taken_login_id_is_rejected_in_any_case(api: Api, login_id: str) -> None:
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
async def test_create_user_with_what_is_no_login_id_is_rejected(api: Api, login_id: str) -> None:
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
async def test_create_user_with_a_bad_name_is_rejected(api: Api, name: str) -> None:
    admin = api.by(await api.admin())

    refused = await admin.post("/v1/users", {**NEW, "name": name})

    assert [pointer for pointer, _ in faults_of(refused)] == ["/name"]


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


async def test_open_registration_lets_anybody_create_a_plain_user(api: Api, open_api: Api) -> None:
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
