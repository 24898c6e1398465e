"""Logins and sessions over HTTP."""

from datetime import datetime

import httpx
import pytest

from service.domain.keys import Scope
from service.domain.users import UserState
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, error_of
from tests.support.databases import execute, fetch_values

NOBODY = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"


async def test_log_in_returns_session_user_and_tokens(api: Api) -> None:
    await api.account("ada")

    answer = await api.post(
        "/v1/sessions",
        {"login_id": "ADA", "password": PASSWORD},
        headers={"User-Agent": "proof/1\x00\xe9".encode("latin-1")},
    )
    body = answer.json()

    assert answer.status_code == 201
    assert body["token"].startswith("rcs_")
    assert body["device_token"].startswith("rcd_")
    assert len(body["token"]) == len("rcs_") + 43
    assert body["user"]["login_id"] == "ada"
    assert body["user"]["last_login_at"] == body["session"]["created_at"]
    assert body["session"]["current"] is True
    assert body["session"]["user_agent"] == "proof/1"
    assert body["session"]["ip"] == "127.0.0.1"
    mine = await api.by(body["token"]).get("/v1/sessions/current")
    assert mine.json()["session"]["id"] == body["session"]["id"]


async def test_log_in_stores_no_token(api: Api) -> None:
    await api.account("ada")
    body = (await api.log_in("ada")).json()

    tokens = [body[name][4:] for name in ("token", "device_token")]
    forms = [*tokens, *(token.encode().hex() for token in tokens)]  # as text, and as bytes
    for table in ("sessions", "devices"):
        rows = str(await fetch_values(api.service.engine, f"SELECT t::text FROM {table} t"))
        assert body["user"]["id"] in rows
        assert [form for form in forms if form in rows] == []


def without_id(answer: httpx.Response, text: str) -> str:
    return text.replace(answer.headers["X-Request-Id"], "")


async def test_log_in_fails_in_one_way_whatever_the_reason(api: Api) -> None:
    await api.account("ada")
    await api.account("off", state=UserState.DISABLED)
    await api.account("bare", password=None)
    attempts = {
        "ada": OTHER_PASSWORD,
        "nobody": PASSWORD,
        "off": PASSWORD,
        "bare": "",
        "not a login id": PASSWORD,
        "": "",
        "a" * 1000: "\x00",
    }

    answers = [
        await api.post("/v1/sessions", {"login_id": login_id, "password": password})
        for login_id, password in attempts.items()
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({without_id(answer, answer.text) for answer in answers}) == 1
    assert len({without_id(answer, str(answer.headers.raw)) for answer in answers}) == 1
    assert error_of(answers[0]) == (401, "invalid_credentials")
    assert (await api.log_in("ada")).status_code == 201


async def test_log_in_with_a_known_device_gets_its_token_again(api: Api) -> None:
    await api.account("ada")
    first = (await api.log_in("ada")).json()["device_token"]

    assert (await api.log_in("ada", device_token=first)).json()["device_token"] == first
    assert (await api.log_in("ada", device_token="rcd_" + "A" * 43)).json()["device_token"] != first


async def test_log_in_with_too_long_a_body_is_rejected_before_reading_it(api: Api) -> None:
    assert error_of(await api.log_in("ada", "p" * 8 * 1024)) == (413, "body_too_large")


async def test_log_out_ends_the_session_that_asks_alone(api: Api) -> None:
    ada = await api.account("ada")
    other = (await api.log_in("ada")).json()["token"]

    assert (await api.by(ada).delete("/v1/sessions/current")).status_code == 204

    assert error_of(await api.by(ada).get("/v1/sessions/current")) == (401, "invalid_token")
    assert (await api.by(other).get("/v1/sessions/current")).status_code == 200


@pytest.mark.parametrize("column", ["expires_at", "idle_expires_at"])
async def test_use_session_after_its_end_is_rejected(api: Api, column: str) -> None:
    ada = await api.account("ada")
    assert (await api.by(ada).get("/v1/sessions/current")).status_code == 200

    ended = f"UPDATE sessions SET {column} = now() - interval '1 second' WHERE id = :id"
    await execute(api.service.engine, ended, id=ada.session_id)

    assert error_of(await api.by(ada).get("/v1/sessions/current")) == (401, "invalid_token")
    assert (await api.by(await api.admin()).get(f"/v1/users/{ada.id}/sessions")).json()["items"] == []


async def test_list_sessions_shows_the_own_ones_without_tokens(api: Api) -> None:
    ada, bob = await api.account("ada"), await api.account("bob")
    token = (await api.log_in("ada")).json()["token"]

    listed = await api.by(token).get("/v1/users/me/sessions")
    items = listed.json()["items"]

    assert [item["current"] for item in items] == [False, True]
    assert {item["user_id"] for item in items} == {str(ada.id)}
    assert items == sorted(items, key=lambda item: item["created_at"])
    assert "rcs_" not in listed.text
    assert error_of(await api.by(bob).get(f"/v1/users/{ada.id}/sessions")) == (404, "not_found")
    as_admin = api.by(await api.admin())
    assert len((await as_admin.get(f"/v1/users/{ada.id}/sessions")).json()["items"]) == 2
    assert error_of(await as_admin.get(f"/v1/users/{NOBODY}/sessions")) == (404, "not_found")


async def test_end_session_of_another_is_the_same_404_as_of_nobody(api: Api) -> None:
    ada, bob = await api.account("ada"), await api.account("bob")

    other = await api.by(bob).delete(f"/v1/sessions/{ada.session_id}")
    nobody = await api.by(bob).delete(f"/v1/sessions/{NOBODY}")

    assert {**other.json(), "instance": ""} == {**nobody.json(), "instance": ""}
    assert error_of(other) == (404, "not_found")
    assert (await api.by(ada).delete(f"/v1/sessions/{ada.session_id}")).status_code == 204
    assert (await api.by(await api.admin()).delete(f"/v1/sessions/{bob.session_id}")).status_code == 204
    assert error_of(await api.by(bob).get("/v1/users/me")) == (401, "invalid_token")


async def test_get_session_by_the_address_of_the_login_shows_it(api: Api) -> None:
    await api.account("ada")
    opened = await api.log_in("ada")
    body = opened.json()

    read = await api.by(body["token"]).get(opened.headers["Location"])

    assert opened.headers["Location"] == f"/v1/sessions/{body['session']['id']}"
    assert (read.status_code, read.json()) == (200, body["session"])
    assert "rcs_" not in read.text


async def test_get_session_of_another_is_the_same_404_as_of_nobody(api: Api) -> None:
    ada, bob = await api.account("ada"), await api.account("bob")
    as_admin = api.by(await api.admin())

    other = await api.by(bob).get(f"/v1/sessions/{ada.session_id}")
    nobody = await api.by(bob).get(f"/v1/sessions/{NOBODY}")

    assert error_of(other) == (404, "not_found")
    assert {**other.json(), "instance": ""} == {**nobody.json(), "instance": ""}
    assert (await as_admin.get(f"/v1/sessions/{ada.session_id}")).json()["current"] is False
    await execute(
        api.service.engine,
        "UPDATE sessions SET idle_expires_at = now() - interval '1 s' WHERE id = :id",
        id=ada.session_id,
    )
    assert error_of(await as_admin.get(f"/v1/sessions/{ada.session_id}")) == (404, "not_found")


async def test_end_sessions_ends_all_or_all_others(api: Api) -> None:
    ada = await api.account("ada")
    others = [(await api.log_in("ada")).json()["token"] for _ in range(2)]

    assert (await api.by(ada).delete("/v1/users/me/sessions?keep=current")).status_code == 204
    assert [(await api.by(token).get("/v1/users/me")).status_code for token in others] == [401, 401]
    assert (await api.by(ada).get("/v1/users/me")).status_code == 200

    assert (await api.by(ada).delete("/v1/users/me/sessions")).status_code == 204
    assert error_of(await api.by(ada).get("/v1/users/me")) == (401, "invalid_token")


async def test_end_sessions_by_a_key_ends_all_of_a_user(api: Api) -> None:
    ada = await api.account("ada")
    key = api.by(await api.key(Scope.USERS_WRITE))

    assert (await key.delete(f"/v1/users/{ada.id}/sessions?keep=current")).status_code == 204
    assert error_of(await api.by(ada).get("/v1/users/me")) == (401, "invalid_token")
    assert error_of(await key.delete(f"/v1/users/{NOBODY}/sessions")) == (404, "not_found")


@pytest.mark.parametrize("keep", ["null", "all", "", "Current"])
async def test_end_sessions_with_a_misspelt_keep_ends_none(api: Api, keep: str) -> None:
    ada = await api.account("ada")

    assert (await api.by(ada).delete(f"/v1/users/me/sessions?keep={keep}")).status_code == 422
    assert (await api.by(ada).get("/v1/users/me")).status_code == 200


async def test_log_in_beyond_two_hundred_sessions_ends_the_longest_unused(api: Api) -> None:
    ada = await api.account("ada")
    more = """
        INSERT INTO sessions
            (id, user_id, token_digest, created_at, last_used_at, expires_at, idle_expires_at)
        SELECT gen_random_uuid(), :id, sha256(n::text::bytea), now() - interval '1 hour',
               now() - n * interval '1 second', now() + interval '1 day', now() + interval '1 day'
        FROM generate_series(1, 199) n
        """
    await execute(api.service.engine, "UPDATE sessions SET created_at = created_at - interval '1 hour'")
    await execute(api.service.engine, more, id=ada.id)

    assert (await api.log_in("ada")).status_code == 201

    left = await fetch_values(
        api.service.engine, "SELECT count(*), max(now() - last_used_at) < interval '199 s' FROM sessions"
    )
    assert left == [(200, True)]
    assert (await api.by(ada).get("/v1/users/me")).status_code == 200


async def test_use_session_with_a_password_to_change_allows_only_that(api: Api) -> None:
    ada = await api.account("ada", must_change=True)
    as_ada = api.by(ada)
    due = (403, "password_change_required")

    for path in ("/v1/users/me", "/v1/sessions/current", "/v1/users/me/sessions", f"/v1/users/{NOBODY}"):
        assert error_of(await as_ada.get(path)) == due
    assert error_of(await as_ada.delete("/v1/users/me")) == due
    assert error_of(await as_ada.patch("/v1/users/me", {"name": "A"})) == due
    passwords = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert (await as_ada.put("/v1/users/me/password", passwords)).status_code == 204
    assert (await as_ada.get("/v1/users/me")).status_code == 200


async def test_log_out_with_a_password_to_change_is_allowed(api: Api) -> None:
    ada = await api.account("ada", must_change=True)

    assert (await api.by(ada).delete("/v1/sessions/current")).status_code == 204


async def test_session_of_an_administrator_lasts_shorter(api: Api) -> None:
    spans = []
    for account in (await api.account("ada"), await api.admin()):
        session = (await api.by(account).get("/v1/sessions/current")).json()["session"]
        starts, ends = (datetime.fromisoformat(session[name]) for name in ("created_at", "expires_at"))
        spans.append((ends - starts).total_seconds() / 3600)

    assert [round(span) for span in spans] == [30 * 24, 12]
