"""API keys over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.domain.keys import Scope
from tests.support.api import Api, error_of, faults_of
from tests.support.databases import execute, fetch_values, fingerprint

NEW = {"name": "gateway", "scopes": ["users:read"]}


async def test_create_key_shows_it_once_and_it_works_at_once(api: Api) -> None:
    root = await api.admin()
    admin = api.by(root)

    created = await admin.post("/v1/keys", NEW)
    key, shown = created.json()["key"], created.json()["api_key"]

    assert created.status_code == 201
    assert key.startswith(shown["prefix"])
    assert shown["prefix"] == key[:8]
    assert shown["scopes"] == ["users:read"]
    assert (shown["last_used_at"], shown["created_by"]) == (None, str(root.id))
    assert (await api.by(key).get("/v1/users")).status_code == 200
    listed = await admin.get("/v1/keys")
    assert [item["id"] for item in listed.json()["items"]] == [shown["id"]]
    assert key[8:] not in listed.text
    assert key[8:] not in str(await fetch_values(api.service.engine, "SELECT k::text FROM api_keys k"))


async def test_create_key_names_its_address_in_the_replayed_response_too(api: Api) -> None:
    admin = api.by(await api.admin())

    answers = [await admin.post("/v1/keys", NEW, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    shown = answers[0].json()["api_key"]

    assert [answer.headers["Location"] for answer in answers] == [f"/v1/keys/{shown['id']}"] * 2
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    read = await admin.get(answers[1].headers["Location"])
    assert (read.status_code, read.json()) == (200, shown)


async def test_get_key_that_has_expired_shows_it_and_unknown_ones_are_404(api: Api) -> None:
    admin = api.by(await api.admin())
    path = (await admin.post("/v1/keys", NEW)).headers["Location"]
    await execute(api.service.engine, "UPDATE api_keys SET expires_at = now() - interval '1 s'")

    assert (await admin.get(path)).json()["name"] == "gateway"
    for other in ("0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e", path.rpartition("/")[2].upper(), "me", "gateway"):
        assert error_of(await admin.get(f"/v1/keys/{other}")) == (404, "not_found")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "a" * 101}, "/name"),
        ({"name": "a\x00b"}, "/name"),
        ({"name": "a\u202eb"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["users:read", "users:read"]}, "/scopes"),
        ({"scopes": ["users:delete"]}, "/scopes/0"),
        ({"scopes": "users:read"}, "/scopes"),
        ({"expires_at": None}, "/expires_at"),
        ({"expires_at": 1795000000}, "/expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2036-01-01"}, "/expires_at"),
        ({"expires_at": "2036-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59.999999Z"}, "/expires_at"),
    ],
)
async def test_create_key_with_a_bad_body_names_the_error(
    api: Api, change: dict[str, Any], pointer: str
) -> None:
    admin = api.by(await api.admin())
    before = await fingerprint(api.service.engine)

    refused = await admin.post("/v1/keys", {**NEW, **change})

    assert [place for place, _ in faults_of(refused)] == [pointer]
    assert await fingerprint(api.service.engine) == before


async def test_use_key_after_its_end_is_rejected(api: Api) -> None:
    admin = api.by(await api.admin())
    expires_at = f"{datetime.now(UTC) + timedelta(days=365):%Y-%m-%dT%H:%M:%S.%fZ}"
    created = await admin.post("/v1/keys", {**NEW, "expires_at": expires_at})
    key = api.by(created.json()["key"])
    assert created.json()["api_key"]["expires_at"] == expires_at
    assert (await key.get("/v1/users")).status_code == 200

    await execute(api.service.engine, "UPDATE api_keys SET expires_at = now()")

    assert error_of(await key.get("/v1/users")) == (401, "invalid_token")


async def test_revoke_key_ends_it_for_good(api: Api) -> None:
    admin = api.by(await api.admin())
    created = (await admin.post("/v1/keys", NEW)).json()
    path = f"/v1/keys/{created['api_key']['id']}"

    assert (await admin.delete(path)).status_code == 204

    assert error_of(await api.by(created["key"]).get("/v1/users")) == (401, "invalid_token")
    assert error_of(await admin.delete(path)) == (404, "not_found")
    assert (await admin.get("/v1/keys")).json()["items"] == []


async def test_manage_keys_by_anybody_but_an_administrator_is_rejected(api: Api) -> None:
    callers = [(await api.account("ada")).token, await api.key(*Scope)]

    for caller in callers:
        assert error_of(await api.by(caller).post("/v1/keys", NEW)) == (403, "forbidden")
        assert error_of(await api.by(caller).get("/v1/keys")) == (403, "forbidden")
