"""`Idempotency-Key`: the same request again happens once."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.api.idempotency import SECRET_FIELDS
from service.domain.keys import Scope
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, RunningService, error_of, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

NEW = {"login_id": "grace", "name": "Grace", "password": PASSWORD}
KEY = {"Idempotency-Key": "7f1c-once"}
HOLDS_THE_KEY = (
    "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
    " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
)


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    for _ in range(10_000):
        if await holds():
            return
    raise TimeoutError


async def count(api: Api, table: str) -> object:
    return await one_value(api, f"SELECT count(*) FROM {table}")


async def one_value(api: Api, statement: str) -> object:
    return (await fetch_values(api.service.background_engine, statement))[0][0]


async def test_repeat_create_user_returns_the_stored_response(api: Api) -> None:
    admin = api.by(await api.admin())

    first = await admin.post("/v1/users", NEW, headers=KEY)
    again = await admin.post("/v1/users", NEW, headers=KEY)

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    for name in ("Location", "ETag"):
        assert again.headers[name] == first.headers[name]


async def test_create_users_at_once_under_one_key_makes_one_and_gives_one_response(api: Api) -> None:
    admin = api.by(await api.admin())

    async def create() -> Any:
        while (answer := await admin.post("/v1/users", NEW, headers=KEY)).status_code == 409:
            assert error_of(answer) == (409, "request_in_progress")
            await asyncio.sleep(0)
        return answer

    answers = await asyncio.gather(*(create() for _ in range(20)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert await count(api, "users") == 2


async def test_repeat_create_user_after_a_restart_returns_the_stored_response(
    api: Api, shared_database: str
) -> None:
    root = await api.admin()
    first = await api.by(root).post("/v1/users", NEW, headers=KEY)

    async with serving(settings_for_tests(), shared_database) as restarted, restarted.client() as client:
        again = await Api(client, restarted.service).by(root).post("/v1/users", NEW, headers=KEY)

    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_repeat_create_user_while_it_runs_is_told_so(api: Api) -> None:
    admin = api.by(await api.admin())
    async with api.service.engine.begin() as blocker:
        await blocker.exec_driver_sql("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
        running = asyncio.create_task(admin.post("/v1/users", NEW, headers=KEY))
        await until(lambda: one_value(api, HOLDS_THE_KEY))
        refused = await admin.post("/v1/users", NEW, headers=KEY)

    assert error_of(refused) == (409, "request_in_progress")
    assert refused.headers["Retry-After"] == "1"
    assert (await running).status_code == 201


@pytest.mark.parametrize("other", [{**NEW, "name": "G"}, {**NEW, "login_id": "other"}])
async def test_use_an_idempotency_key_for_another_request_is_rejected(
    api: Api, other: dict[str, str]
) -> None:
    admin = api.by(await api.admin())
    assert (await admin.post("/v1/users", NEW, headers=KEY)).status_code == 201

    refused = await admin.post("/v1/users", other, headers=KEY)

    assert error_of(refused) == (422, "idempotency_key_reused")
    assert await count(api, "users") == 2


async def test_use_an_idempotency_key_of_another_caller_is_no_repetition(api: Api) -> None:
    admin, key = api.by(await api.admin()), api.by(await api.key(Scope.USERS_WRITE))
    assert (await admin.post("/v1/users", NEW, headers=KEY)).status_code == 201

    assert error_of(await key.post("/v1/users", NEW, headers=KEY)) == (409, "login_id_taken")


async def test_repeat_a_rejected_request_is_tried_again(api: Api) -> None:
    admin = api.by(await api.admin())
    taken = await api.account("grace")
    assert error_of(await admin.post("/v1/users", NEW, headers=KEY)) == (409, "login_id_taken")

    await admin.delete(f"/v1/users/{taken.id}")

    assert (await admin.post("/v1/users", NEW, headers=KEY)).status_code == 201


async def test_repeat_create_key_shows_the_key_no_more(api: Api) -> None:
    admin = api.by(await api.admin())
    body = {"name": "gateway", "scopes": ["users:read"]}

    first = (await admin.post("/v1/keys", body, headers=KEY)).json()
    again = await admin.post("/v1/keys", body, headers=KEY)

    assert again.status_code == 201
    assert again.json() == {"key": None, "api_key": first["api_key"]}
    assert again.headers["Idempotent-Replayed"] == "true"
    stored = await fetch_values(api.service.engine, "SELECT convert_from(body, 'UTF8') FROM idempotency_keys")
    assert first["key"][8:] not in str(stored)
    assert await count(api, "api_keys") == 1


async def test_keep_a_response_stores_no_password_in_any_readable_form(api: Api) -> None:
    admin = api.by(await api.admin())
    await admin.post("/v1/users", NEW, headers=KEY)

    stored = await fetch_values(
        api.service.engine, "SELECT digest, request_digest, headers::text, body FROM idempotency_keys"
    )

    assert len(stored) == 1
    assert PASSWORD not in str(stored)


async def test_digest_of_a_request_is_the_same_for_any_password(api: Api) -> None:
    """It is fast: a reader of the database could try passwords on it. Source: OWASP ASVS 5.0 11.4.2."""
    admin = api.by(await api.admin())
    digests = set()
    for secret in (
        {"password": PASSWORD},
        {"password": OTHER_PASSWORD},
        {"password_hash": await api.hash(PASSWORD)},
    ):
        body = {"login_id": "grace", "name": "Grace", **secret}
        assert (await admin.post("/v1/users", body, headers=KEY)).status_code == 201
        digests.add(await one_value(api, "SELECT request_digest FROM idempotency_keys"))
        await execute(api.service.engine, "DELETE FROM users WHERE login_id = 'grace'")

    assert len(digests) == 1


def test_bodies_of_idempotent_operations_have_no_secret_that_is_digested(running: RunningService) -> None:
    fields = {
        name
        for operation in running.app.operations
        if operation.is_idempotent_by_key and operation.body is not None
        for name in operation.body.__struct_fields__
    }

    assert {name for name in fields if re.search("passw|secret|token|hash", name)} == SECRET_FIELDS
    assert set(fields) >= SECRET_FIELDS


async def test_delete_user_takes_the_stored_response_along(api: Api) -> None:
    root, ada = await api.admin(), await api.admin("ada")
    created = await api.by(root).post("/v1/users", NEW, headers=KEY)
    made = await api.by(ada).post("/v1/keys", {"name": "ada's", "scopes": ["users:read"]}, headers=KEY)
    assert (made.status_code, await count(api, "idempotency_keys")) == (201, 2)

    assert (await api.by(root).delete(created.headers["Location"])).status_code == 204
    assert (await api.by(root).delete(f"/v1/users/{ada.id}")).status_code == 204

    assert await count(api, "idempotency_keys") == 0


async def test_idempotency_key_of_anonymous_callers_belongs_to_the_login_id(database: str) -> None:
    async with (
        serving(settings_for_tests(registration="open"), database) as running,
        running.client() as client,
    ):
        api = Api(client, running.service)
        first = await api.post("/v1/users", NEW, headers=KEY)
        neighbour = await api.post("/v1/users", {**NEW, "login_id": "hopper"}, headers=KEY)
        other = await api.post("/v1/users", {**NEW, "name": "G"}, headers=KEY)
        async with running.client(ip="198.51.100.1") as elsewhere:
            again = await Api(elsewhere, running.service).post("/v1/users", NEW, headers=KEY)

    assert (first.status_code, neighbour.status_code, again.status_code) == (201, 201, 201)
    assert again.content == first.content
    assert error_of(other) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("key", [b"", b"a" * 256, b"a b", b"caf\xc3\xa9", b"a\tb"])
async def test_use_a_malformed_idempotency_key_is_rejected(api: Api, key: bytes) -> None:
    admin = api.by(await api.admin())

    refused = await admin.post("/v1/users", NEW, headers={"Idempotency-Key": key})

    assert error_of(refused) == (400, "malformed_request")
    assert await count(api, "users") == 1
    longest = {"Idempotency-Key": "a" * 255}
    assert (await admin.post("/v1/users", NEW, headers=longest)).status_code == 201
