"""What bounds a stolen API key: an owner, an expiry, a scope of its own for administrators."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from service.domain.callers import OPERATOR
from service.domain.events import AuditContext
from service.domain.keys import Scope
from service.services import Services
from service.usecases.keys import create_key
from tests.support.api import OTHER_PASSWORD, Account, Api, error_of
from tests.support.databases import IS_WAITING, fetch_values, fingerprint

Send = Callable[[Api, Account, Account], Awaitable[httpx.Response]]
"""Called with the client, an administrator and a plain user."""

NEW = {"login_id": "eve", "name": "Eve"}
KEY = {"name": "gateway", "scopes": ["users:read"]}
OF_ADMIN: dict[str, Send] = {
    "rename": lambda api, admin, _: api.patch(f"/v1/users/{admin.id}", {"name": "Changed"}),
    "disable": lambda api, admin, _: api.patch(f"/v1/users/{admin.id}", {"state": "disabled"}),
    "demote": lambda api, admin, _: api.patch(f"/v1/users/{admin.id}", {"role": "user"}),
    "promote": lambda api, _, user: api.patch(f"/v1/users/{user.id}", {"role": "admin"}),
    "create": lambda api, *_: api.post("/v1/users", {**NEW, "role": "admin"}),
    "delete": lambda api, admin, _: api.delete(f"/v1/users/{admin.id}"),
    "set password": lambda api, admin, _: api.put(
        f"/v1/users/{admin.id}/password", {"new_password": OTHER_PASSWORD}
    ),
    "reset": lambda api, admin, _: api.post(f"/v1/users/{admin.id}/reset-tokens"),
    "end sessions": lambda api, admin, _: api.delete(f"/v1/users/{admin.id}/sessions"),
}


@pytest.mark.parametrize("what", OF_ADMIN)
async def test_key_changes_an_administrator_only_with_the_scope_for_it(api: Api, what: str) -> None:
    """Source: OWASP ASVS 5.0 8.2.3."""
    await api.admin()
    admin, user, send = await api.admin("other"), await api.account("victim"), OF_ADMIN[what]
    weak = [await api.key(Scope.USERS_READ, Scope.USERS_WRITE), await api.key(Scope.ADMINS_WRITE)]
    both = await api.key(Scope.USERS_WRITE, Scope.ADMINS_WRITE)
    before = await fingerprint(api.service.engine)

    for key in weak:
        assert error_of(await send(api.by(key), admin, user)) == (403, "forbidden")
    assert await fingerprint(api.service.engine) == before
    assert (await send(api.by(both), admin, user)).is_success


async def test_update_user_by_key_without_read_scope_gets_204_without_the_user(api: Api) -> None:
    ada = await api.account("ada")
    writer, both = await api.key(Scope.USERS_WRITE), await api.key(Scope.USERS_READ, Scope.USERS_WRITE)

    for change in ({}, {"name": "Changed"}):
        answer = await api.by(writer).patch(f"/v1/users/{ada.id}", change)
        assert (answer.status_code, answer.content, "ETag" in answer.headers) == (204, b"", False)
    shown = await api.by(both).patch(f"/v1/users/{ada.id}", {})

    assert (shown.status_code, shown.json()["name"]) == (200, "Changed")


async def test_list_keys_shows_who_created_each_and_null_for_the_command_line(api: Api) -> None:
    root = await api.admin()
    await api.key(Scope.USERS_READ)
    await api.by(root).post("/v1/keys", KEY)
    listed = (await api.by(root).get("/v1/keys")).json()["items"]
    assert [item["created_by"] for item in listed] == [None, str(root.id)]


@pytest.mark.parametrize("way", ["delete", "disable", "demote", "leave"])
async def test_key_is_revoked_with_the_administrator_who_created_it(
    api: Api, service: Services, way: str
) -> None:
    """Source: OWASP ASVS 5.0 7.4.2."""
    root, maker = api.by(await api.admin()), await api.admin("maker")
    made = (await api.by(maker).post("/v1/keys", KEY)).json()
    kept = (await root.post("/v1/keys", KEY)).json()["key"]
    path = f"/v1/users/{maker.id}"
    ways: dict[str, Callable[[], Awaitable[httpx.Response]]] = {
        "delete": lambda: root.delete(path),
        "disable": lambda: root.patch(path, {"state": "disabled"}),
        "demote": lambda: root.patch(path, {"role": "user"}),
        "leave": lambda: api.by(maker).delete("/v1/users/me"),
    }
    assert (await root.patch(path, {"name": "Still here"})).status_code == 200
    assert (await api.by(made["key"]).get("/v1/users")).status_code == 200

    assert (await ways[way]()).is_success

    assert error_of(await api.by(made["key"]).get("/v1/users")) == (401, "invalid_token")
    assert (await api.by(kept).get("/v1/users")).status_code == 200
    told = "SELECT subject_id::text FROM events WHERE action = 'key.revoked'"
    assert await fetch_values(service.engine, told) == [(made["api_key"]["id"],)]


@pytest.mark.parametrize("change", ["state = 'disabled'", "role = 'user'"])
async def test_create_key_after_losing_the_role_in_a_concurrent_transaction_gets_401(
    api: Api, service: Services, change: str
) -> None:
    """The creator is locked: a revocation comes before it, or after it and revokes the key."""
    root = await api.admin()
    async with service.engine.begin() as other:
        await other.exec_driver_sql(f"UPDATE users SET {change} WHERE login_id = 'root'")
        request = asyncio.create_task(api.by(root).post("/v1/keys", KEY))
        await _until_waiting(service)
    assert error_of(await request) == (401, "invalid_token")
    assert await fetch_values(service.engine, "SELECT 1 FROM api_keys") == []


async def _until_waiting(service: Services) -> None:
    async with asyncio.timeout(30):
        while await fetch_values(service.background_engine, IS_WAITING) == [(False,)]:
            await fetch_values(service.background_engine, "SELECT pg_sleep(0.01)::text")


@pytest.mark.parametrize(("days", "is_allowed"), [(729, True), (731, False)])
async def test_create_key_with_an_expiry_beyond_two_years_gets_422(
    api: Api, days: int, is_allowed: bool
) -> None:
    root = api.by(await api.admin())
    ((ends_at,),) = await fetch_values(
        api.service.engine,
        'SELECT to_char(now() + make_interval(days => :days), \'YYYY-MM-DD"T"HH24:MI:SS"Z"\')',
        days=days,
    )
    answer = await root.post("/v1/keys", {**KEY, "expires_at": ends_at})
    assert answer.status_code == (201 if is_allowed else 422)
    if not is_allowed:
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/expires_at"]


async def test_create_key_without_an_expiry_gets_two_years(api: Api, service: Services) -> None:
    await api.by(await api.admin()).post("/v1/keys", KEY)
    lasts = "SELECT expires_at - created_at = interval '730 days' FROM api_keys"
    assert await fetch_values(service.engine, lasts) == [(True,)]


async def test_list_events_by_key_needs_its_scope(api: Api) -> None:
    reader, other = await api.key(Scope.EVENTS_READ), await api.key(*(set(Scope) - {Scope.EVENTS_READ}))
    assert (await api.by(reader).get("/v1/events")).status_code == 200
    assert error_of(await api.by(other).get("/v1/events")) == (403, "forbidden")


async def test_introspect_key_returns_client_id_and_no_username(api: Api) -> None:
    """A key may have the name of a user: a backend that reads names would take it for that user."""
    await api.admin("admin")
    made = (await api.by(await api.admin()).post("/v1/keys", {**KEY, "name": "admin"})).json()
    asking = api.by(await api.key(Scope.SESSIONS_INTROSPECT))
    told = (await asking.post("/v1/introspect", {"token": made["key"]})).json()
    assert told["client_id"] == told["sub"] == made["api_key"]["id"]
    assert "username" not in told


async def test_create_key_on_the_command_line_has_no_expiry_and_no_creator(
    api: Api, service: Services
) -> None:
    async with service.database.transaction(caller=OPERATOR) as tx:
        _, key = await create_key(
            tx,
            name="gateway",
            scopes=(Scope.USERS_READ,),
            expires_at=None,
            context=AuditContext(OPERATOR),
            policies=service.policies,
        )
    assert (key.expires_at, key.created_by) == (None, None)
