"""Introspection over HTTP, as RFC 7662 has it."""

from datetime import datetime
from urllib.parse import urlencode

import httpx
import pytest

from service.domain.keys import Scope
from service.domain.users import UserState
from tests.support.api import Api, error_of, faults_of
from tests.support.databases import execute, fetch_values

FORM = "application/x-www-form-urlencoded"


async def introspector(api: Api) -> Api:
    return api.by(await api.key(Scope.SESSIONS_INTROSPECT))


async def ask(api: Api, token: str) -> httpx.Response:
    return await api.request(
        "POST", "/v1/introspect", content=urlencode({"token": token}), headers={"Content-Type": FORM}
    )


async def test_introspect_a_session_shows_whose_it_is_in_form_and_json(api: Api) -> None:
    ada, gateway = await api.account("ada"), await introspector(api)
    session = (await api.by(ada).get("/v1/sessions/current")).json()["session"]
    ends = min(datetime.fromisoformat(session[name]) for name in ("expires_at", "idle_expires_at"))

    by_form = await ask(gateway, ada.token)
    by_json = await gateway.post("/v1/introspect", {"token": ada.token, "token_type_hint": "access_token"})

    assert by_form.status_code == 200
    told = by_form.json()
    assert told == {
        "active": True,
        "sub": str(ada.id),
        "sid": str(ada.session_id),
        "username": "ada",
        "name": "Ada",
        "role": "user",
        "auth_time": int(datetime.fromisoformat(session["created_at"]).timestamp()),
        "iat": int(datetime.fromisoformat(session["created_at"]).timestamp()),
        "exp": int(ends.timestamp()),
        "token_type": "Bearer",
        "scope": "user",
        "amr": ["pwd"],
        "acr": "1",
    }
    assert by_json.json() == told


async def test_introspect_a_key_shows_its_scopes(api: Api) -> None:
    gateway = await introspector(api)
    other = await api.key(Scope.USERS_READ, Scope.USERS_WRITE)

    told = (await ask(gateway, other)).json()

    assert told["active"] is True
    assert told["scope"] == "users:read users:write"
    assert told["client_id"] == told["sub"]
    assert "username" not in told
    assert "exp" not in told


async def test_introspect_what_is_not_valid_shows_only_that(api: Api) -> None:
    gateway = await introspector(api)
    due, gone, idle = (
        await api.account("due", must_change=True),
        await api.account("gone"),
        await api.account("idle"),
    )
    off = await api.account("off", state=UserState.DISABLED)
    await api.by(gone).delete("/v1/users/me")
    ended = "UPDATE sessions SET idle_expires_at = now() WHERE id = :id"
    await execute(api.service.engine, ended, id=idle.session_id)

    tokens = [due.token, gone.token, idle.token, off.token, "rcs_" + "A" * 43, "rck_x", "", "\x00", "é" * 100]
    tokens += ["x" * 5000, "\ufffd"]

    assert {(await ask(gateway, token)).text for token in tokens} == {'{"active":false}'}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"token_type_hint=access_token", 422),
        (b"token=" + b"x" * 60_000, 200),
        (b"token=a&token=b", 400),
        (b"token=%ff", 200),
        (b"token=\xff%", 200),
        (b"token", 200),
        (b"&token=a&&token_type_hint=" + b"x" * 200, 200),
        (b"token=a&extra=1", 200),
    ],
)
async def test_introspect_with_an_odd_form_is_read_strictly(api: Api, content: bytes, status: int) -> None:
    gateway = await introspector(api)

    answer = await gateway.request("POST", "/v1/introspect", content=content, headers={"Content-Type": FORM})

    assert answer.status_code == status
    assert status != 200 or answer.json() == {"active": False}


@pytest.mark.parametrize("charset", ["ISO-8859-1", "UTF-8", "x"])
async def test_introspect_ignores_the_charset_of_a_form(api: Api, charset: str) -> None:
    ada, gateway = await api.account("ada"), await introspector(api)

    answer = await gateway.request(
        "POST",
        "/v1/introspect",
        content=urlencode({"token": ada.token}),
        headers={"Content-Type": f"{FORM}; charset={charset}"},
    )

    assert answer.json()["active"] is True


async def test_introspect_without_a_token_names_the_field(api: Api) -> None:
    gateway = await introspector(api)

    assert faults_of(await gateway.post("/v1/introspect", {})) == [("/token", "missing_field")]


async def test_introspect_without_the_scope_is_rejected(api: Api) -> None:
    ada = await api.account("ada")
    callers = [ada.token, (await api.admin()).token, await api.key(Scope.USERS_READ, Scope.USERS_WRITE)]

    for caller in callers:
        assert error_of(await ask(api.by(caller), ada.token)) == (403, "forbidden")
    assert error_of(await ask(api, ada.token)) == (401, "invalid_client")


async def test_introspect_is_a_use_of_the_session_and_of_the_key(api: Api) -> None:
    """A user whose requests reach other services alone is not idle."""
    ada, gateway, other = await api.account("ada"), await introspector(api), await api.key(Scope.USERS_READ)
    engine, tracker = api.service.engine, api.service.last_used
    await execute(engine, "UPDATE sessions SET last_used_at = now() - interval '2 hours'")

    await ask(gateway, ada.token)
    await ask(gateway, other)
    await tracker.flush(api.service.database)

    fresh = "SELECT now() - last_used_at < interval '1 minute' FROM {}"
    assert await fetch_values(engine, fresh.format("sessions")) == [(True,)]
    assert await fetch_values(engine, fresh.format("api_keys")) == [(True,)] * 2


async def test_introspect_what_is_not_active_is_no_use_of_it(api: Api) -> None:
    due, gateway = await api.account("due", must_change=True), await introspector(api)
    await execute(api.service.engine, "UPDATE sessions SET last_used_at = now() - interval '2 hours'")

    await ask(gateway, due.token)
    await api.service.last_used.flush(api.service.database)

    used = "SELECT now() - last_used_at < interval '1 minute' FROM sessions"
    assert await fetch_values(api.service.engine, used) == [(False,)]
